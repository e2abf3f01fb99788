from hashlib import sha256
from pathlib import Path

import pytest

from features.errors import UnknownName
from models.language.weights import MINILM, SMOLLM2, WEIGHTS, find_weights, pull_weights


def test_weights_that_nobody_knows_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=MINILM):
        pull_weights("gpt-17", tmp_path)


def test_weights_that_were_not_pulled_are_not_found_and_not_fetched(tmp_path: Path) -> None:
    assert find_weights(MINILM, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_weights_on_the_index_are_the_published_ones(minilm: Path) -> None:
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert sha256((minilm / "model.safetensors").read_bytes()).hexdigest() == published
    assert find_weights(MINILM, minilm.parents[1]) == minilm


@pytest.mark.parametrize("name", [MINILM, SMOLLM2])
def test_what_is_pulled_says_whose_it_is(name: str) -> None:
    assert WEIGHTS[name].license == "Apache-2.0"
    assert WEIGHTS[name].source.startswith("https://")
