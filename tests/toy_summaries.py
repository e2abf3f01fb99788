"""Twenty films, odd ones Drama and even ones Comedy, and histories of them whose facts one tells by eye."""

from features.events import ItemId
from features.items import Item
from models.summaries.computing import items_frame

FILMS = [
    Item(ItemId(str(number)), f"Film {number} (1999)", categories=("Drama" if number % 2 else "Comedy",))
    for number in range(20)
]
ITEMS = items_frame(FILMS)
