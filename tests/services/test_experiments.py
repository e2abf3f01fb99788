"""Experiments as the settings name them, and the variants they give to users."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.events import UserId
from services.experiments import Experiment, assign
from services.settings import load_settings

USERS = [UserId(f"user-{number}") for number in range(20_000)]


def split(salt: str = "", **shares: float) -> Experiment:
    variants = {name: {"bundle": "current", "share": share} for name, share in shares.items()}
    return Experiment.model_validate({"name": "toy", "variants": variants, "salt": salt})


def assigned(experiment: Experiment) -> list[str]:
    return [assign(user, experiment) for user in USERS]


def test_users_fall_to_the_variants_by_their_shares() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    for salt in ("one", "two", "three"):
        found = Counter(assigned(split(salt, **shares)))
        statistic = sum((found[name] - 20_000 * share) ** 2 / (20_000 * share) for name, share in shares.items())
        assert statistic < 16.27  # chi-square, three degrees: one seed in a thousand is above


def test_experiments_with_different_salts_assign_independently() -> None:
    pairs = Counter(zip(assigned(split("one", a=0.5, b=0.5)), assigned(split("two", a=0.25, b=0.75)), strict=True))
    expected = {("a", "a"): 2500, ("a", "b"): 7500, ("b", "a"): 2500, ("b", "b"): 7500}
    assert sum((pairs[pair] - number) ** 2 / number for pair, number in expected.items()) < 16.27


def test_the_salt_is_the_name_unless_another_is_given() -> None:
    assert assigned(split(a=0.5, b=0.5)) == assigned(split("toy", a=0.5, b=0.5))
    assert assigned(split(a=0.5, b=0.5)) != assigned(split("other", a=0.5, b=0.5))


def test_who_is_in_the_last_variant_stays_when_its_share_grows() -> None:
    few, many = assigned(split(a=0.6, b=0.3, c=0.1)), assigned(split(a=0.5, b=0.2, c=0.3))
    assert {after for before, after in zip(few, many, strict=True) if before == "c"} == {"c"}
    assert {before for before, after in zip(few, many, strict=True) if after == "a"} == {"a"}


def test_every_process_assigns_alike() -> None:
    code = (
        "from services.experiments import Experiment, assign\n"
        "half = {'bundle': 'current', 'share': .5}\n"
        "toy = Experiment.model_validate({'name': 'toy', 'variants': {'a': half, 'b': half}})\n"
        "print(''.join(assign(f'user-{number}', toy) for number in range(1000)), end='')"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    ).stdout
    assert said == "".join(assigned(split(a=0.5, b=0.5))[:1000])
    assert said.startswith(
        "abaabaababababaabbabbbbaaabbbbabbaababba"
    )  # and every release: users must not change sides when the server is upgraded


@given(st.text(min_size=1), st.lists(st.integers(1, 20), min_size=2, max_size=8))
def test_anybody_falls_to_one_of_the_variants(user: str, parts: list[int]) -> None:
    shares = {f"v{place}": part / sum(parts) for place, part in enumerate(parts)}
    assert assign(UserId(user), split(**shares)) in shares


TOML = """
[experiment]
name = "counts-or-popular"

[experiment.variants]
control = { bundle = "current", share = 0.8 }
plain = { bundle = "popular", share = 0.2 }
"""


@pytest.fixture
def home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own_home.mkdir()
    monkeypatch.setenv("TASTEPRINT_HOME", str(own_home))
    return own_home


def test_an_experiment_is_a_table_of_the_settings_file(home: Path) -> None:
    assert load_settings().experiment is None
    (home / "tasteprint.toml").write_text(TOML)
    experiment = load_settings().experiment
    assert experiment is not None
    assert (experiment.name, experiment.kind, experiment.names) == ("counts-or-popular", "split", ("control", "plain"))
    assert experiment.variants["plain"].share == 0.2


HALF = {"bundle": "current", "share": 0.5}
BARE = {"bundle": "current"}


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"variants": {"a": HALF, "b": {"bundle": "popular", "share": 0.4}}}, "experiment", "shares sum to 0.9"),
        ({"variants": {"a": HALF, "b": BARE}}, "experiment", "every variant of a split needs a share"),
        ({"variants": {"a": HALF}}, "experiment.variants", "at least 2"),
        ({"variants": {f"v{n}": {"bundle": "current", "share": 1 / 9} for n in range(9)}}, "experiment.variants", "8"),
        ({"variants": {"A b": HALF, "b": HALF}}, "experiment.variants.A b.[key]", "pattern"),
        ({"variants": {"a": HALF, "b": {"bundle": "../x", "share": 0.5}}}, "experiment.variants.b.bundle", "pattern"),
        ({"variants": {"a": HALF, "b": {"bundle": "x", "share": 0}}}, "experiment.variants.b.share", "greater than 0"),
        ({"kind": "interleave", "variants": {"a": HALF, "b": BARE}}, "experiment", "without shares"),
        ({"kind": "interleave", "variants": {"a": BARE, "b": BARE, "c": BARE}}, "experiment", "exactly two"),
        ({"kind": "bandit"}, "experiment.kind", "'split' or 'interleave'"),
        ({"name": "Not a slug"}, "experiment.name", "pattern"),
        ({"colour": "red"}, "experiment.colour", "not permitted"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused_by_the_name_of_its_field(
    home: Path, changed: dict[str, object], field: str, said: str
) -> None:
    given = {"name": "toy", "variants": {"a": HALF, "b": HALF}} | changed
    with pytest.raises(InvalidInput, match=said) as refused:
        load_settings(experiment=given)
    assert refused.value.field == field
