"""Sequence encoders: neural networks that read a history and point at the next item."""
