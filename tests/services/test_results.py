"""What is kept for users: fresh or not, the last used first, gone with the user."""

from features.events import UserId, user_digest
from features.profile import Position
from services.results import Key, Result, Results

ANN, BOB = UserId("ann"), UserId("bob")


def key(user: UserId = ANN, model: str = "m1", family: str = "rating", asked: bytes = b"alien") -> Key:
    return Key(user, model, family, asked)


def result(value: str, offset: int, oldest: float | None = 100.0) -> Result:
    return Result(value, Position("log", 0, offset), oldest)


def test_a_result_is_fresh_for_the_history_that_it_was_made_of_and_for_no_other() -> None:
    results = Results()
    results.put(key(), result("4 stars", 7))
    assert results.fresh(key(), Position("log", 0, 7)) == result("4 stars", 7)
    for as_of in (Position("log", 0, 8), Position("log", 0, 6), Position("log", 1, 7), Position("new", 0, 7), None):
        assert results.fresh(key(), as_of) is None
    assert results.latest(key()) == result("4 stars", 7)


def test_somebody_nobody_has_heard_of_has_results_until_something_is_heard() -> None:
    results = Results()
    results.put(key(), Result("3 stars", None, None))
    assert results.fresh(key(), None) is not None
    assert results.fresh(key(), Position("log", 0, 0)) is None


def test_another_user_question_family_or_model_has_another_result() -> None:
    results = Results()
    results.put(key(), result("4 stars", 7))
    for other in (key(BOB), key(model="m2"), key(family="direct"), key(asked=b"brazil")):
        assert results.latest(other) is None


def test_the_results_that_were_used_longest_ago_go_first() -> None:
    results = Results(most=2)
    results.put(key(asked=b"1"), result("a", 1))
    results.put(key(asked=b"2"), result("b", 1))
    results.latest(key(asked=b"1"))
    results.put(key(asked=b"3"), result("c", 1))
    assert len(results) == 2
    assert results.latest(key(asked=b"2")) is None
    assert results.latest(key(asked=b"1")) is not None
    results.put(key(asked=b"1"), result("d", 2))  # the same again takes no room
    assert len(results) == 2


def test_nothing_is_left_of_an_erased_user() -> None:
    results = Results()
    for asked in (b"1", b"2"):
        results.put(key(asked=asked), result("a", 1))
    results.put(key(model="m2"), result("b", 1))
    results.put(key(BOB), result("c", 1))
    results.erase(user_digest(ANN), 200.0)
    assert len(results) == 1
    assert results.latest(key(BOB)) is not None
    assert "ann" not in repr(vars(results))


def test_what_was_being_made_of_erased_events_is_not_kept_and_what_is_made_of_later_ones_is() -> None:
    results = Results()
    results.erase(user_digest(ANN), 200.0)
    results.put(key(), result("of before", 1, oldest=200.0))
    assert results.latest(key()) is None
    results.put(key(), result("of after", 2, oldest=200.5))
    assert results.latest(key()) is not None
    results.put(key(asked=b"2"), Result("of nothing", None, None))
    assert results.latest(key(asked=b"2")) is not None
    results.erase(user_digest(ANN), 150.0)  # the same order once more, of a clock that is behind
    results.put(key(), result("of before", 1, oldest=180.0))
    assert results.latest(key()) is None


def test_results_of_models_that_are_not_in_use_are_dropped() -> None:
    results = Results()
    results.put(key(), result("a", 1))
    results.put(key(model="m2"), result("b", 1))
    results.keep_models({"m2"})
    assert results.latest(key()) is None
    assert results.of(ANN, "rating") == [key(model="m2")]


def test_a_users_results_of_a_family_can_be_asked_for() -> None:
    results = Results()
    results.put(key(), result("a", 1))
    results.put(key(family="generated", asked=b""), result("b", 1))
    assert results.of(ANN, "generated") == [key(family="generated", asked=b"")]
    assert results.of(BOB, "generated") == []
