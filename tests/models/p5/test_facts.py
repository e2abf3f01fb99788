"""Explanations from facts: which are told, and that they are true."""

from hypothesis import given
from hypothesis import strategies as st

from models.p5.facts import Evidence, Manner, evidence, manner_of, sentence, true_sentences

KINDS = ["Comedy", "Drama", "War", "Western"]
kinds = st.lists(st.sampled_from(KINDS), unique=True)
earlier = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), kinds), max_size=8)


def test_what_shares_most_is_told_with_the_newest_that_shares_the_same() -> None:
    found = evidence(
        ["Comedy", "Drama"],
        [(1, 5, ["Comedy", "Drama"]), (2, 4, ["Drama", "War", "Comedy"]), (3, 5, ["Comedy"]), (4, 5, ["War"])],
    )
    assert found == Evidence(Manner.HIGH, ("Comedy", "Drama"), (2, 1))
    assert sentence(found, ["Two", "One"]) == "You rated Two and One high and this is Comedy and Drama too."


def test_what_shares_less_is_not_told_beside_it() -> None:
    assert evidence(["Comedy", "Drama"], [(1, 5, ["Comedy", "Drama"]), (3, 5, ["Comedy"])]) == Evidence(
        Manner.HIGH, ("Comedy", "Drama"), (1,)
    )


def test_an_item_is_told_once() -> None:
    assert evidence(["War"], [(1, 5, ["War"]), (1, 5, ["War"])]) == Evidence(Manner.HIGH, ("War",), (1,))


def test_only_what_was_rated_alike_is_told_together() -> None:
    found = evidence(["War"], [(1, 5, ["War"]), (2, 0, ["War"]), (3, 1, ["War"])])
    assert found == Evidence(Manner.LOW, ("War",), (3,))
    assert sentence(found, ["Three"]) == "You rated Three low and this is War too."
    unrated = evidence(["War"], [(1, 3, ["War"]), (2, 0, ["War"])])
    assert unrated == Evidence(Manner.HAD, ("War",), (2, 1))
    assert sentence(unrated, ["Two", "One"]) == "You had Two and One before and this is War too."


def test_nothing_shared_is_nothing_told() -> None:
    assert evidence(["War"], [(1, 5, ["Drama"])]) is None
    assert evidence([], [(1, 5, ["Drama"])]) is None
    assert evidence(["War"], []) is None


@given(kinds, earlier)
def test_every_item_told_was_had_so_and_has_every_category_told(
    item: list[str], told: list[tuple[int, int, list[str]]]
) -> None:
    found = evidence(item, told)
    assert (found is None) == all(set(item).isdisjoint(names) for _, _, names in told)
    if found is None:
        return
    assert found.categories
    assert set(found.categories) <= set(item)
    assert 1 <= len(found.items) == len(set(found.items)) <= 2
    for row in found.items:
        assert any(
            one == row and manner_of(stars) is found.manner and set(found.categories) <= set(names)
            for one, stars, names in told
        )


def test_every_true_sentence_is_told_and_no_other() -> None:
    earlier = [("A", 5, {"War", "Drama"}), ("B", 4, {"War"}), ("C", 1, {"Drama"}), ("D", 5, {"Comedy"})]
    assert set(true_sentences(["Drama", "War"], earlier)) == {
        "You rated A high and this is Drama too.",
        "You rated A high and this is War too.",
        "You rated A high and this is Drama and War too.",
        "You rated B high and this is War too.",
        "You rated A and B high and this is War too.",
        "You rated B and A high and this is War too.",
        "You rated C low and this is Drama too.",
    }


@given(st.data())
def test_what_is_told_of_an_item_is_among_what_is_true(data: st.DataObject) -> None:
    kinds = st.lists(st.sampled_from(["War", "Drama", "Comedy"]), unique=True)
    item = data.draw(kinds)
    earlier = data.draw(st.lists(st.tuples(st.integers(0, 5), kinds), max_size=5))
    rated = [(row, stars, names) for row, (stars, names) in enumerate(earlier)]
    found = evidence(item, rated)
    true = set(true_sentences(item, [(f"T{row}", stars, names) for row, stars, names in rated]))
    assert (found is None) == (not true)
    if found is not None:
        assert sentence(found, [f"T{row}" for row in found.items]) in true
