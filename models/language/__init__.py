"""Language: sentence embeddings, and where their weights come from."""
