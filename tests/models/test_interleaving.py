from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.interleaving import NOBODY, Draft, team_draft

RANKING = st.lists(st.integers(0, 12), unique=True, max_size=10)


def draft(first: list[object], second: list[object], most: int, seed: str = "") -> Draft[object]:
    [only] = team_draft([first], [second], [most], [seed])
    return only


def test_two_rounds_by_hand_have_four_outcomes_each_as_likely() -> None:
    """a b c and b d e: whoever begins takes its best; the first team never gets b, unless it comes to it too late."""
    found = Counter(draft(["a", "b", "c"], ["b", "d", "e"], 4, f"r-{number}") for number in range(2000))
    assert {("".join(one.items), one.teams) for one in found} == {
        ("abcd", (0, 1, 0, 1)),
        ("abdc", (0, 1, 1, 0)),
        ("bacd", (1, 0, 0, 1)),
        ("badc", (1, 0, 1, 0)),
    }
    assert all(times == pytest.approx(500, abs=75) for times in found.values())  # 3.9 standard errors


def test_what_one_ranking_cannot_compete_for_counts_for_nobody() -> None:
    shown = draft(["a"], ["b", "c", "d"], 10)
    assert sorted(zip(shown.items, shown.teams, strict=True))[:2] == [("a", 0), ("b", 1)]
    assert (shown.items[2:], shown.teams[2:]) == (("c", "d"), (NOBODY, NOBODY))
    assert draft([], ["b", "c"], 10) == Draft(("b", "c"), (NOBODY, NOBODY))
    assert draft([], [], 10) == Draft((), ())


def test_a_batch_has_one_draft_for_each_pair_in_order() -> None:
    pairs = [(["a", "b"], ["c"], 2, "x"), (["a"], ["a"], 1, "y"), ([], ["q"], 1, "z")]
    firsts, seconds, most, seeds = (list(part) for part in zip(*pairs, strict=True))
    assert team_draft(firsts, seconds, most, seeds) == [draft(*pair) for pair in pairs]
    with pytest.raises(ValueError, match="zip"):
        team_draft(firsts, seconds, most, ["x"])


def test_the_coins_of_a_seed_are_the_same_everywhere() -> None:
    shown = draft(list("abcdefgh"), list("ijklmnop"), 16, "r-1bbfa8bd-0")
    assert "".join(map(str, shown.teams)) == "0110011010011001"


@given(RANKING, RANKING, st.integers(0, 12), st.text(max_size=8))
def test_a_draft_is_fair_and_whole(first: list[int], second: list[int], most: int, seed: str) -> None:
    shown = draft(first, second, most, seed)
    assert len(shown.items) == len(set(shown.items)) == len(shown.teams) == min(most, len({*first, *second}))
    assert shown == draft(first, second, most, seed)
    for place, (item, team) in enumerate(zip(shown.items, shown.teams, strict=True)):
        before = set(shown.items[:place])
        left = [[one for one in ranking if one not in before] for ranking in (first, second)]
        if team == NOBODY:
            assert [] in left  # nobody's only where one ranking is exhausted
            assert item == (left[0] or left[1])[0]
        else:
            assert item == left[team][0]  # each team picks its best that is left
            sizes = [shown.teams[: place + 1].count(side) for side in (0, 1)]
            assert abs(sizes[0] - sizes[1]) <= 1


def test_it_does_not_matter_which_ranking_is_called_the_first() -> None:
    first, second = list("abcd"), list("cbxy")
    there, back = Counter(), Counter()
    for number in range(4000):
        one, other = draft(first, second, 3, f"r-{number}"), draft(second, first, 3, f"q-{number}")
        there.update(zip(one.items, one.teams, strict=True))
        back.update(zip(other.items, (1 - team for team in other.teams), strict=True))
    assert there.keys() == back.keys()
    assert all(there[credited] == pytest.approx(back[credited], abs=180) for credited in there)  # 4 standard errors


def test_of_one_ranking_twice_either_team_is_credited_as_often_at_every_place() -> None:
    items = list(range(10))
    drafts = team_draft([items] * 4000, [items] * 4000, [10] * 4000, [f"r-{number}" for number in range(4000)])
    assert all(one.items == tuple(items) for one in drafts)
    for place in range(10):
        assert sum(one.teams[place] for one in drafts) == pytest.approx(2000, abs=125)  # 4 standard errors
