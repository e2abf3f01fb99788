import polars as pl
import pytest

from features.errors import InvalidInput
from models.summaries.checking import check
from models.summaries.fact import FactKind
from models.summaries.instructing import TAUGHT_PROMPT, fenced
from models.summaries.lessons import Lessons, held_out, lessons, stretches

TITLES = ("Alien (1979)", "Heat (1995)", "Fargo (1996)", "Brazil (1985)", "Jaws (1975)", "Crumb (1994)")
GENRES = (["War"], ["Crime", "Drama"], ["Crime"], ["Sci-Fi"], ["Horror"], ["Documentary"])
ITEMS = pl.DataFrame(
    {
        "item": [str(item) for item in range(30)],
        "title": [f"{TITLES[item % 6][:-7]} {item} {TITLES[item % 6][-6:]}" for item in range(30)],
        "categories": [GENRES[item % 6] for item in range(30)],
    }
)


def rated(users: int = 12, each: int = 24) -> pl.DataFrame:
    """Everybody rates war and crime high, horror low."""
    rows = [
        (
            f"e{user}-{number}",
            f"user {user}",
            str((user + number) % 30),
            float(5 - (user + number) % 5),
            3600.0 * number,
        )
        for user in range(users)
        for number in range(each)
    ]
    return pl.DataFrame(rows, ["event_id", "user", "item", "value", "at"], orient="row")


def users_of(lesson: Lessons) -> set[str]:
    """Whose events bear the facts out."""
    return {
        event.split("-")[0].removeprefix("e") for facts in lesson.facts for fact in facts for event in fact.evidence
    }


def test_nobody_who_is_held_out_is_in_a_lesson_or_measured_by() -> None:
    events = rated()
    taught, measured = lessons(events, ITEMS, TAUGHT_PROMPT, each=10)
    held = {user.removeprefix("user ") for user in held_out(events["user"])}
    assert len(held) == 7
    assert not users_of(taught) & held
    changed = events.with_columns(
        pl.when(pl.col("user").is_in([f"user {user}" for user in held])).then(1.0).otherwise("value").alias("value")
    )
    again, measured_again = lessons(changed, ITEMS, TAUGHT_PROMPT, each=10)
    assert again(0) == taught(0)
    assert measured_again == measured


def test_who_is_measured_by_is_in_no_lesson() -> None:
    taught, _ = lessons(rated(), ITEMS, TAUGHT_PROMPT, each=10)
    assert len(users_of(taught)) == 4  # of five that are not held out


def test_who_is_held_out_depends_on_ids_alone() -> None:
    ids = [f"user {number}" for number in range(2000)]
    assert held_out(ids) == held_out(ids[::-1])
    assert len(held_out(ids)) == 500
    assert len(held_out(ids[:10])) == 6
    assert set(held_out(ids, 50)) <= set(held_out(ids))


def test_a_round_is_the_same_every_time_and_no_other_round() -> None:
    taught, _ = lessons(rated(), ITEMS, TAUGHT_PROMPT, each=40)
    assert taught(3) == taught(3)
    assert len({pair.answer for pair in (*taught(3), *taught(4))}) > 60


def test_every_answer_says_all_of_its_facts_and_nothing_else() -> None:
    taught, _ = lessons(rated(), ITEMS, TAUGHT_PROMPT, each=200)
    for (facts, text), pair in zip(taught.drawn(0), taught(0), strict=True):
        verdict = check(text, facts)
        assert (verdict.problems, verdict.missing) == ((), ())
        assert (pair.messages[-1].content, pair.answer) == (fenced(facts), text)


def test_some_names_are_copied_and_some_are_of_no_item() -> None:
    taught, _ = lessons(rated(), ITEMS, TAUGHT_PROMPT, each=300)
    names = {
        name for facts, _ in taught.drawn(0) for fact in facts if fact.kind is FactKind.FAVOURITE for name in fact.names
    }
    assert names & set(taught.titles)
    assert names - set(taught.titles)


def test_stretches_are_parts_of_one_history_in_its_order() -> None:
    events = rated(users=2)
    parts = stretches(events, seed=0).partition_by("user", as_dict=True)
    assert len(parts) == 2 * 5
    for (user,), part in parts.items():
        whole = events.filter(pl.col("user") == " ".join(str(user).split(" ")[:2])).sort("at")["event_id"].to_list()
        ids = part.sort("at")["event_id"].to_list()
        first = whole.index(ids[0])
        assert ids == whole[first : first + len(ids)]
        assert len(ids) >= 10


def test_a_short_history_is_told_whole() -> None:
    assert stretches(rated(users=1, each=9), seed=0).height == 9


def test_too_few_events_are_no_lessons() -> None:
    with pytest.raises(InvalidInput):
        lessons(rated(users=1, each=1), ITEMS, TAUGHT_PROMPT, each=1)
