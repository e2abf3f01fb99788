"""Which bundle is in use: moved, journalled, undone, never torn between two who move it."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.errors import PromotionRefused
from services.promotions import current_name, in_use_before, journal, put_into_use
from services.settings import Settings
from tests.services.conftest import NOW


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return Settings(home=own_home)


def promote(settings: Settings, *names: str) -> None:
    for name in names:
        put_into_use(settings, name, current_name(settings), NOW, who="ann@here")


def roll_back(settings: Settings) -> str:
    current = current_name(settings)
    [name, *_] = in_use_before(journal(settings), current)
    put_into_use(settings, name, current, NOW, rollback=True, who="ann@here")
    return name


def test_before_the_first_nothing_is_in_use_and_nothing_journalled(settings: Settings) -> None:
    assert current_name(settings) is None
    assert journal(settings) == []
    assert in_use_before([], None) == []


def test_a_promotion_says_who_when_from_to_and_why(settings: Settings) -> None:
    promote(settings, "one")
    put_into_use(settings, "two", "one", NOW, forced=True, figures={"ndcg@10": 0.1}, reason="because", who="bob@there")
    first, second = map(json.loads, (settings.home / "models" / "promotions.jsonl").read_text().splitlines())
    assert (first["from"], first["to"], first["kind"]) == (None, "one", "first")
    assert second == {
        "at": datetime.fromtimestamp(NOW, UTC).isoformat(timespec="milliseconds"),
        "who": "bob@there",
        "from": "one",
        "to": "two",
        "kind": "promote",
        "forced": True,
        "figures": {"ndcg@10": 0.1},
        "reason": "because",
    }
    assert current_name(settings) == "two"


def test_who_promotes_is_the_user_of_this_machine_when_nobody_is_named(settings: Settings) -> None:
    promotion = put_into_use(settings, "one", None, NOW)
    assert promotion is not None
    assert "@" in promotion.who


def test_what_is_in_use_already_is_not_journalled_again(settings: Settings) -> None:
    promote(settings, "one", "one")
    assert len(journal(settings)) == 1


def test_a_second_rollback_goes_one_further_back(settings: Settings) -> None:
    promote(settings, "one", "two", "three")
    assert roll_back(settings) == "two"
    assert roll_back(settings) == "one"
    assert in_use_before(journal(settings), "one") == []
    promote(settings, "three")
    assert roll_back(settings) == "one"


def test_a_bundle_that_came_back_is_undone_to_what_was_between(settings: Settings) -> None:
    promote(settings, "one", "two", "one")
    assert roll_back(settings) == "two"
    assert roll_back(settings) == "one"


def test_a_name_that_was_in_use_before_there_was_a_journal_can_be_gone_back_to(settings: Settings) -> None:
    (settings.home / "models").mkdir(parents=True)
    (settings.home / "models" / "current").write_text("ancient\n")
    promote(settings, "one")
    assert roll_back(settings) == "ancient"


def test_a_promotion_that_was_journalled_and_did_not_happen_is_not_gone_back_to(settings: Settings) -> None:
    promote(settings, "one", "two", "three")
    (settings.home / "models" / "current").write_text("two\n")  # the crash came before the name was changed
    assert roll_back(settings) == "one"


def test_a_line_that_was_cut_short_is_left_out_and_spoils_no_other(settings: Settings) -> None:
    promote(settings, "one", "two")
    path = settings.home / "models" / "promotions.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # as is a line of something else
    path.write_bytes(b'5\n{"who": "ann"}\n' + path.read_bytes())
    promote(settings, "three")
    assert [promotion.to for promotion in journal(settings)] == ["one", "three"]
    assert current_name(settings) == "three"


def test_of_two_who_promote_at_once_one_is_told_of_the_other(settings: Settings) -> None:
    promote(settings, "start")

    def attempt(number: int) -> bool:
        try:
            return put_into_use(settings, f"bundle-{number}", "start", NOW) is not None
        except PromotionRefused as refused:
            assert "has come into use" in str(refused)  # noqa: PT017 - which one raises is a matter of time
            return False

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(attempt, range(8)))
    assert sum(done) == 1
    assert [promotion.to for promotion in journal(settings)] == ["start", f"bundle-{done.index(True)}"]
    assert current_name(settings) == f"bundle-{done.index(True)}"
