"""A few questions with the answers wanted, short enough to be learnt in a second."""

from models.language.generator import Message, Role
from models.language.tuning import Pair


def said(question: str, answer: str) -> Pair:
    return Pair((Message(Role.SYSTEM, "Say it."), Message(Role.USER, question)), answer)


PAIRS = [said(genre, f"likes {genre}") for genre in ("war", "crime", "drama", "horror")]
