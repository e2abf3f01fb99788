"""Reports of experiments, on logs of a few lines whose answers one sees."""

import polars as pl
import pytest

from models.outcomes import EXPOSURES, OUTCOMES, attributed, report_interleaving, report_split

DAY = 86_400.0
HALVES = {"old": 0.5, "new": 0.5}


def exposures(*rows: tuple[str, str, str | None, str] | tuple[str, str, str | None, str, str]) -> pl.DataFrame:
    """(recommendation, user, variant, items a letter each, teams a letter each), all shown at time 0."""
    return pl.DataFrame(
        [
            (
                recommendation,
                user,
                variant,
                list(items),
                [{"o": "old", "n": "new", "-": None}[team] for team in teams[0]] if teams else None,
                f"model-{variant}",
                0.0,
            )
            for recommendation, user, variant, items, *teams in rows
        ],
        EXPOSURES,
        orient="row",
    )


def outcomes(*rows: tuple[str, str, str | None] | tuple[str, str, str | None, float]) -> pl.DataFrame:
    """(recommendation, user, item, time), each an event of its own."""
    return pl.DataFrame(
        [
            (f"e{place}", recommendation, user, item, *(at or [1.0]))
            for place, (recommendation, user, item, *at) in enumerate(rows)
        ],
        OUTCOMES,
        orient="row",
    )


SHOWN = exposures(
    ("r1", "ann", "old", "abc"),
    ("r2", "ann", "old", "abc"),
    ("r3", "bob", "old", "abc"),
    ("r4", "cem", "new", "abc"),
    ("r5", "dov", "new", "abc"),
    ("r6", "dov", "new", "abc"),
    ("r7", "dov", "new", "abc"),
)


def test_a_split_by_hand() -> None:
    found = report_split(
        SHOWN, outcomes(("r1", "ann", "a"), ("r4", "cem", "b"), ("r4", "cem", "c"), ("r5", "dov", "a")), DAY, HALVES
    )
    old, new = found["variants"]["old"], found["variants"]["new"]
    assert {name: old[name] for name in ("users", "exposures", "clicked", "outcomes", "share")} == {
        "users": 2,
        "exposures": 3,
        "clicked": 1,
        "outcomes": 1,
        "share": 0.5,
    }
    assert (new["users"], new["exposures"], new["clicked"], new["outcomes"]) == (2, 4, 2, 3)
    assert old["models"] == {"model-old": 3}
    rates = ("click_through", "user_rate", "outcomes_per_user")
    assert [old[rate]["value"] for rate in rates] == pytest.approx([1 / 3, (1 / 2 + 0) / 2, 1 / 2])
    assert [new[rate]["value"] for rate in rates] == pytest.approx([2 / 4, (1 + 1 / 3) / 2, 3 / 2])
    [(pair, compared)] = found["comparisons"].items()
    assert pair == "new - old"
    assert [compared[rate]["value"] for rate in rates] == pytest.approx([1 / 2 - 1 / 3, 2 / 3 - 1 / 4, 1.0])
    # the users' rates: 1/2 and 0 against 1 and 1/3; variances 1/8 and 2/9, halved for two users each
    half = 1.96 * ((1 / 8 + 2 / 9) / 2) ** 0.5
    assert compared["user_rate"]["high"] == pytest.approx(5 / 12 + half, rel=1e-4)
    assert found["sample_ratio"] == {
        "observed": {"old": 2, "new": 2},
        "expected": HALVES,
        "p": 1.0,
        "mismatch": False,
    }
    assert set(found["left_out"].values()) == {0}


def test_an_outcome_counts_for_its_exposure_only() -> None:
    counted, left_out = attributed(
        SHOWN,
        outcomes(
            ("r1", "ann", "a"),
            ("r1", "bob", "a"),  # somebody else's list
            ("r1", "ann", "z"),  # not in the list
            ("r1", "ann", None),
            ("r1", "ann", "b", DAY + 1),  # too late
            ("r1", "ann", "c", DAY),
            ("r3", "bob", "a", -5.0),  # a clock that is slow
            ("r9", "ann", "a"),  # of no list in the experiment
        ),
        DAY,
    )
    assert counted.select("recommendation", "item").rows() == [("r3", "a"), ("r1", "a"), ("r1", "c")]
    assert left_out == {"outcomes_of_other_users": 1, "outcomes_of_other_items": 2, "outcomes_after_the_window": 1}


def test_an_event_that_stands_in_the_log_twice_counts_once() -> None:
    twice = pl.concat([outcomes(("r1", "ann", "a"))] * 2)
    assert report_split(SHOWN, twice, DAY, HALVES)["variants"]["old"]["outcomes"] == 1


def test_who_was_in_two_variants_is_in_neither_and_is_counted() -> None:
    shown = pl.concat([SHOWN, exposures(("r8", "ann", "new", "abc"))])
    found = report_split(shown, outcomes(("r1", "ann", "a"), ("r8", "ann", "a")), DAY, HALVES)
    assert found["left_out"]["users_in_two_variants"] == 1
    assert found["left_out"]["exposures_of_users_in_two_variants"] == 3
    assert {name: one["users"] for name, one in found["variants"].items()} == {"old": 1, "new": 2}
    assert found["variants"]["new"]["outcomes"] == 0


def test_a_split_that_is_off_is_a_mismatch() -> None:
    shown = exposures(*((f"r{number}", f"u{number}", "old" if number < 70 else "new", "a") for number in range(100)))
    ratio = report_split(shown, outcomes(), DAY, HALVES)["sample_ratio"]
    assert ratio["mismatch"]
    assert ratio["p"] == pytest.approx(6.3e-5, rel=0.01)  # chi-square 16, one degree
    assert not report_split(shown, outcomes(), DAY, {"old": 0.7, "new": 0.3})["sample_ratio"]["mismatch"]
    assert report_split(shown, outcomes(), DAY, {"old": 0.5, "new": None})["sample_ratio"] is None


def test_an_experiment_that_nobody_has_seen_yet_has_a_report_without_figures() -> None:
    found = report_split(exposures(), outcomes(), DAY, HALVES)
    assert found["variants"]["new"]["click_through"] == {"value": None, "low": None, "high": None}
    assert found["comparisons"]["new - old"]["click_through"]["p"] is None
    assert found["sample_ratio"]["mismatch"] is False
    assert report_interleaving(exposures(), outcomes(), DAY, ["old", "new"])["exposures"] == 0


def test_an_interleaving_by_hand() -> None:
    shown = exposures(
        ("r1", "ann", None, "abc", "onn"),
        ("r2", "ann", None, "abc", "non"),
        ("r3", "bob", None, "abc", "on-"),
        ("r4", "cem", None, "abc", "on-"),
        ("r5", "dov", None, "abc", "non"),
    )
    found = report_interleaving(
        shown,
        outcomes(
            ("r1", "ann", "b"),
            ("r1", "ann", "b"),  # the same item again is no second credit
            ("r1", "ann", "a"),
            ("r1", "ann", "c"),  # 2 to 1 for the new one
            ("r2", "ann", "a"),  # and 1 to 0
            ("r3", "bob", "a"),  # for the old one
            ("r3", "bob", "c"),  # for nobody
            ("r4", "cem", "a"),
            ("r4", "cem", "b"),  # a tie
            ("r5", "eva", "a"),  # somebody else's list
        ),
        DAY,
        ["old", "new"],
    )
    assert found["exposures"] == 5
    assert found["users"] == 4
    assert found["variants"] == {
        "old": {"placed": 5, "credited": 3, "wins": 1},
        "new": {"placed": 8, "credited": 4, "wins": 2},
    }
    compared = found["comparisons"]["new - old"]
    assert {name: compared[name] for name in ("wins", "losses", "ties", "users_for", "users_against")} == {
        "wins": 2,
        "losses": 1,
        "ties": 1,
        "users_for": 1,
        "users_against": 1,
    }
    assert compared["preference"]["value"] == pytest.approx((2 - 1) / 4)
    # leads 2 of 2, -1 of 1, 0 of 1; above 1/4 of their lists: 1.5, -1.25, -.25; 4/3 lists a user
    variance = (1.5**2 + 1.25**2 + 0.25**2) / 2 / (4 / 3) ** 2 / 3
    assert compared["preference"]["low"] == pytest.approx(0.25 - 1.96 * variance**0.5, rel=1e-4)
    assert compared["sign_p"] == 1.0
    assert found["left_out"]["outcomes_of_other_users"] == 1


@pytest.mark.parametrize("names", [["user", "items"], ["lead", "first"], ["recommendation", "teams"]])
def test_variants_may_be_called_like_columns(names: list[str]) -> None:
    first, second = names
    split = exposures(("r1", "ann", first, "a"), ("r2", "bob", second, "a"))
    found = report_split(split, outcomes(("r2", "bob", "a")), DAY, dict.fromkeys(names, 0.5))
    assert found["variants"][second]["clicked"] == 1
    teams = exposures(("r1", "ann", None, "ab", "on")).with_columns(teams=pl.Series([names]))
    wins = report_interleaving(teams, outcomes(("r1", "ann", "b")), DAY, names)["variants"]
    assert (wins[first]["wins"], wins[second]["wins"]) == (0, 1)
