"""The error tree: drawn as it is, each error the stdlib's too, each of one piece after pickling."""

import pickle
import re
from pathlib import Path

import pytest

from features import errors
from features.errors import InvalidFile, InvalidInput, TasteprintError

ARGUMENTS: dict[type[TasteprintError], tuple[object, ...]] = {
    InvalidInput: ("3.user_id", "is empty; send 1 to 128 characters"),
    InvalidFile: (Path("ratings.csv"), 7, "has no user"),
}
TREE = dict(re.findall(r"^[├└]── (\w+) \((\w+)\)", errors.__doc__ or "", re.MULTILINE))


def every_error() -> list[type[TasteprintError]]:
    """All below the root, wherever in the tree they stand."""
    found: list[type[TasteprintError]] = []
    pending = [TasteprintError]
    while pending:
        below = pending.pop().__subclasses__()
        found += below
        pending += below
    return sorted((error for error in found if error.__module__ == "features.errors"), key=lambda error: error.__name__)


def made(error: type[TasteprintError]) -> TasteprintError:
    return error(*ARGUMENTS.get(error, ("the thing given, and what would do",)))


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    assert set(TREE) == {error.__name__ for error in every_error()}


@pytest.mark.parametrize("error", every_error())
def test_an_error_is_the_one_of_the_standard_library_that_is_drawn_beside_it(error: type[TasteprintError]) -> None:
    expected = __builtins__[TREE[error.__name__]]  # type: ignore[index]
    assert issubclass(error, expected)
    with pytest.raises(expected):
        raise made(error)


@pytest.mark.parametrize("error", every_error())
def test_an_error_survives_pickling_with_all_it_says(error: type[TasteprintError]) -> None:
    before = made(error)
    after = pickle.loads(pickle.dumps(before))  # noqa: S301 - our own bytes
    assert type(after) is error
    assert str(after) == str(before)
    assert after.args == before.args
    assert vars(after) == vars(before)


@pytest.mark.parametrize("error", every_error())
def test_an_error_says_what_it_was_given(error: type[TasteprintError]) -> None:
    said = str(made(error))
    assert said
    assert all(str(argument) in said for argument in made(error).args)


@pytest.mark.parametrize("error", every_error())
def test_an_error_says_in_a_line_what_it_stands_for(error: type[TasteprintError]) -> None:
    assert error.__doc__
    assert error.__doc__.splitlines()[0].endswith((".", ";"))


def test_an_error_of_the_whole_names_no_field_and_no_line() -> None:
    assert str(InvalidInput("", "is empty")) == "is empty"
    assert str(InvalidFile(Path("a.csv"), 0, "is empty")) == "a.csv: is empty"
    assert str(InvalidFile(Path("a.csv"), 3, "is empty")) == "a.csv, line 3: is empty"
