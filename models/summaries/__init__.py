"""Summaries of users that can be trusted: facts first, words second, every word checked against the facts."""
