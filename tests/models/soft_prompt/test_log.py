"""What may be known of a user, what is predicted, and who is asked about."""

from collections import Counter

import polars as pl
import pytest
from toy_choosers import choosers, dataset

from features.events import ItemId
from features.frames import hold_out_last, ordered
from models.soft_prompt.log import Split, log_of, split_of
from models.soft_prompt.tasks import Asking

HISTORIES = {"long": [f"i{place % 7}" for place in range(60)], "short": ["i1", "i2", "i3"], "ten": ["i4", "i5"] * 5}
CATEGORIES = {f"i{place}": [kind] for place, kind in enumerate(["War", "Drama", "Crime", "Comedy"] * 2)}
EVERYBODY = Asking(train=1.0, validation=0.0)


def test_the_last_events_are_kept_and_a_fifth_of_a_short_history() -> None:
    data = dataset(HISTORIES, CATEGORIES)
    log = log_of(data, EVERYBODY)
    assert dict(zip(log.past.users, log.cut_U.tolist(), strict=True)) == {"long": 50, "short": 2, "ten": 8}
    known = log.known(data.events)
    assert Counter(known["user"]) == {"long": 50, "short": 2, "ten": 8}
    assert known.filter(pl.col("user") == "short")["item"].to_list() == ["i1", "i2"]


def test_with_one_event_kept_an_encoder_of_leave_one_out_knows_the_same() -> None:
    data = dataset(HISTORIES, CATEGORIES)
    known = log_of(data, Asking(last=1, train=1.0, validation=0.0)).known(data.events)
    assert known.equals(hold_out_last(ordered(data.events)).history)


def test_users_are_parted_by_their_ids_alone() -> None:
    asking = Asking()
    counts = Counter(split_of(f"user-{number}", asking) for number in range(4000))
    assert {split: counts[split] / 4000 for split in Split} == pytest.approx(
        {Split.TRAIN: 0.7, Split.VALIDATION: 0.1, Split.TEST: 0.2}, abs=0.02
    )
    histories, categories = choosers(users=50)
    log = log_of(dataset(histories, categories))
    assert log.splits == tuple(split_of(user, asking) for user in sorted(histories))
    assert {log.splits[user] for user in log.users_of(Split.TEST)} == {Split.TEST}


def test_popularity_is_of_known_events_of_training_users() -> None:
    asking = Asking(train=0.5, validation=0.0, last=2)
    histories, categories = choosers(users=40)
    log = log_of(dataset(histories, categories), asking)
    known = Counter(
        item
        for user, chosen in histories.items()
        if split_of(user, asking) is Split.TRAIN
        for item in chosen[: len(chosen) - min(2, len(chosen) // 5)]
    )
    assert log.popularity_N.tolist() == [known[item] for item in log.vocabulary.items]
    of_kind = Counter(kind for item, count in known.items() for kind in categories[item] * count)
    assert log.popularity_G.tolist() == [of_kind[kind] for kind in log.categories_G]
    assert log.popularity_G.tolist() == sorted(log.popularity_G.tolist(), reverse=True)


def test_a_category_of_most_items_is_not_asked_about() -> None:
    with_all = {item: [*kinds, "Film"] for item, kinds in CATEGORIES.items()}
    assert set(log_of(dataset(HISTORIES, with_all), EVERYBODY).categories_G) == {"War", "Drama", "Crime", "Comedy"}


def test_names_are_cleaned_and_what_reads_the_same_is_one_category() -> None:
    dirty = CATEGORIES | {"i0": ["Wa\u200br"], "i1": ["Dra\nma", "\u202e"]}
    data = dataset(HISTORIES, dirty)
    titled = data.items.with_columns(title=pl.when(pl.col("item") == "i1").then(pl.lit("\u200b")).otherwise("title"))
    log = log_of(type(data)(data.name, data.events, titled), EVERYBODY)
    assert set(log.categories_G) == {"War", "Drama", "Crime", "Comedy", "Dra ma"}
    assert log.names_N[log.vocabulary.items.index(ItemId("i1"))] == "i1"
