"""A user's stream turned into a change of a frozen language model's weights."""
