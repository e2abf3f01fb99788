"""User soft prompts: a history in a handful of vectors that prompt a frozen language model, measured by questions."""
