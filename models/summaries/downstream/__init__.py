"""What summaries are judged by: one small T5 a task that reads every form of prompt about a user, and answers."""
