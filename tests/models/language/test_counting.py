"""Counting tokens: a bound that no tokenizer exceeds, and a tokenizer's own count."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from features.errors import WeightsRefused
from models.language.counting import most_tokens, tokens_by


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["space wars", "space love"] * 9, trainer)
    return tokenizer


@given(text=st.text())
def test_no_text_takes_more_tokens_than_the_bound(byte_level: Tokenizer, text: str) -> None:
    assert len(byte_level.encode(text).ids) <= most_tokens([text])[0]


def test_nothing_takes_no_tokens() -> None:
    assert most_tokens(["", "ab", "é"]) == [0, 3, 3]


def test_a_tokenizer_counts_its_own_tokens(byte_level: Tokenizer, tmp_path: Path) -> None:
    byte_level.enable_truncation(2)
    byte_level.enable_padding(length=9)
    byte_level.save(str(tmp_path / "tokenizer.json"))
    byte_level.no_truncation()
    byte_level.no_padding()
    count = tokens_by(tmp_path / "tokenizer.json")
    assert count(["space wars space", "", "q"]) == [len(byte_level.encode("space wars space").ids), 0, 2]


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsRefused, match=r"tokenizer\.json of the model"):
        tokens_by(tmp_path / "tokenizer.json")
