"""A model tuned on one user's words for one request, and then as it was."""

from pathlib import Path

import pytest
import torch
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import InvalidInput
from models.soft_prompt.language import Language
from models.stream_adapter.costs import alone
from models.stream_adapter.own_context import OwnContext, OwnContextTuner

pytestmark = pytest.mark.usefixtures("one_thread")

SAID = "The user likes this user likes this user likes this."


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return Language(toy_llama(tmp_path_factory.mktemp("llm") / "toy"), CPU)


@pytest.fixture(scope="module")
def tuner(language: Language) -> OwnContextTuner:
    return OwnContextTuner(language, OwnContext(rank=2, steps=3, learning_rate=1e-2))


def likelihood(language: Language, text: str) -> float:
    first, *rest = language.tokens.plain(text)
    return float(alone(language, ([first], [rest]))[0])


def test_what_was_read_becomes_likelier_and_the_model_is_then_as_it_was(
    language: Language, tuner: OwnContextTuner
) -> None:
    before = likelihood(language, SAID)
    with tuner.tuned(SAID):
        assert likelihood(language, SAID) > before + 0.1
    assert likelihood(language, SAID) == before
    with pytest.raises(ZeroDivisionError), tuner.tuned(SAID):
        raise ZeroDivisionError
    assert likelihood(language, SAID) == before


def test_an_update_changes_nothing_before_it_has_learnt_and_nothing_of_no_words(
    language: Language, tuner: OwnContextTuner, tmp_path: Path
) -> None:
    frozen = likelihood(Language(toy_llama(tmp_path / "toy"), CPU), SAID)
    assert likelihood(language, SAID) == pytest.approx(frozen, rel=1e-6)
    with tuner.tuned(""):
        assert likelihood(language, SAID) == pytest.approx(frozen, rel=1e-6)


def test_answers_are_lifted_over_the_frozen_weights_and_not_over_those_just_tuned(
    language: Language, tuner: OwnContextTuner, tmp_path: Path
) -> None:
    answers = [language.tokens.plain(" likes this")]
    frozen = Language(toy_llama(tmp_path / "toy"), CPU).priors(answers)
    with tuner.tuned(SAID):
        torch.testing.assert_close(language.priors(answers), frozen)


def test_the_same_words_make_the_same_update(language: Language, tuner: OwnContextTuner) -> None:
    found = []
    for _ in range(2):
        with tuner.tuned(SAID):
            found.append(likelihood(language, SAID))
    assert found[0] == found[1]


def test_only_the_updates_learn(language: Language, tuner: OwnContextTuner) -> None:
    weights = {name: one.clone() for name, one in language.model.state_dict().items() if "lora" not in name}
    with tuner.tuned(SAID):
        for name, one in language.model.state_dict().items():
            assert "lora" in name or torch.equal(one, weights[name])
    assert tuner.numbers == 2 * 2 * (32 + 32 + 32 + 16)  # layers, rank, inputs and outputs of q and v


def test_more_than_the_model_reads_is_refused(tuner: OwnContextTuner) -> None:
    with pytest.raises(InvalidInput, match="history"), tuner.tuned("word " * 300):
        pass
