"""What summaries say, held against the events by a witness that shares no code with them."""

import random

import polars as pl
import pytest
from faithfulness import Witness
from toy_histories import DAY, FILMS, films, told

from features.datasets import load
from features.profile import Position, UserSummary
from models.summaries.computing import facts_of
from models.summaries.fact import digest
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.summarising import restated
from models.summaries.wording import STYLES, from_template
from services.settings import load_settings

NAMES = ["Drama", "War", "Comedy", "Sci-Fi", "Film-Noir", "Children's"]
USERS = 500  # of MovieLens


def unsupported(events: pl.DataFrame, items: pl.DataFrame, styles: int) -> list[tuple[str, str]]:
    """(user, sentence) of every sentence, of every kind of summary, that the events do not bear out."""
    about = {item: (title, names) for item, title, names in items.select("item", "title", "categories").iter_rows()}
    columns = ("user", "event_id", "item", "value", "at")
    theirs = events.select(columns).rows_by_key("user")
    found = []
    for user, facts in facts_of(events, items).items():
        witness = Witness(theirs[user], about)
        for kind in SummaryKind:
            for style in range(styles):
                text = " ".join(claim.text for claim in from_template(chosen(facts, kind), style))
                found += [(user, sentence) for sentence in witness.unsupported(text)]
    return found


@pytest.mark.parametrize("is_rated", [True, False])
def test_nothing_is_said_of_drawn_users_that_their_events_do_not_bear_out(is_rated: bool) -> None:
    chance = random.Random(7)
    shelf = FILMS | {
        f"i{place}": (f"Title {place} ({chance.choice([1951, 1984, 1995, 1999])})", chance.sample(NAMES, 2))
        for place in range(150)
    }
    ratings = [1.0, 2.0, 2.5, 3.0, 4.0, 4.5, 5.0, 5.0] if is_rated else [None]
    histories = {
        f"u{user}": [
            (chance.choice(list(shelf)[: 20 * (1 + user % 8)]), chance.choice(ratings))
            for _ in range(chance.choice([1, 4, 12, 40, 120]))
        ]
        for user in range(40)
    }
    for step in (30.0, 0.26 * DAY, 7 * DAY):
        assert not unsupported(told(histories, step), films(shelf), STYLES)


def test_what_is_kept_while_more_events_arrive_is_borne_out_by_them() -> None:
    chance, is_moved = random.Random(11), False
    about = {item: (title, names) for item, (title, names) in FILMS.items()}
    ratings = [(item, chance.choice([2.0, 3.0, 4.0, 5.0])) for _ in range(12) for item in chance.sample(list(FILMS), 8)]
    drawn = [chance.sample(ratings, 32) for _ in range(6)]
    events = told({f"{user}-{most}": drawn[user][:most] for user in range(6) for most in range(8, 32)})
    facts = facts_of(events, films())
    theirs = events.select("user", "event_id", "item", "value", "at").rows_by_key("user")
    held: dict[tuple[int, SummaryKind], UserSummary] = {}
    for user in range(6):
        for most in range(8, 32):
            witness = Witness(theirs[f"{user}-{most}"], about)
            for kind in SummaryKind:
                told_now, now = chosen(facts[f"{user}-{most}"], kind), Position("log", 0, most)
                before = held.get((user, kind))
                if before and before.facts == digest(told_now):
                    is_moved |= bool(witness.unsupported(before.text))
                    held[user, kind] = restated(before, told_now, now)
                    assert not witness.unsupported(held[user, kind].text)
                else:
                    claims = from_template(told_now, 1 + user % 3)
                    held[user, kind] = UserSummary(kind, claims, digest(told_now), "toy", "toy", 0.0, now)
    assert is_moved  # what was said before was not


def test_nothing_is_said_of_users_of_movielens_that_their_events_do_not_bear_out() -> None:
    home = load_settings().home
    if not (home / "datasets" / "ml-100k").exists():
        pytest.skip(f"ml-100k is not under {home}: `tasteprint data pull ml-100k` brings it")
    data = load("ml-100k", home)
    users = data.events["user"].unique().sort().head(USERS)
    events = data.events.filter(pl.col("user").is_in(users.implode()))
    assert not unsupported(events, data.items, 1)
