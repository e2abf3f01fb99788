from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_favourites import CATEGORIES, favourites, frozen, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import BundleRefused, InvalidInput, WeightsRefused
from models.soft_prompt import prompter, trained
from models.soft_prompt.aligning import align
from models.soft_prompt.language import Language
from models.soft_prompt.layout import laid_out
from models.soft_prompt.reading import pasts_of
from models.soft_prompt.trained import Aligned

DATA = favourites(users=16, kind="sasrec")
PASTS = pasts_of(DATA.events, DATA.questions)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


def new(folder: Path, **more: object) -> Aligned:
    torch.manual_seed(0)
    return Aligned(quick(**{"kind": "query", "tokens": 2, **more}), DATA.encoder, Language(folder, CPU))


@pytest.mark.parametrize("style", ["words", "letters"])
def test_choices_are_scored_in_the_order_of_the_questions_whatever_the_batches(
    folder: Path, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = new(folder, style=style)
    questions = [replace(one, text="likes what " * (1 + one.user % 3)) for one in DATA.questions]
    whole = aligned.scores(questions, PASTS)
    assert whole.shape == (len(questions), len(CATEGORIES))
    for row, (question, past) in enumerate(zip(questions, PASTS, strict=True)):
        np.testing.assert_allclose(aligned.scores([question], [past])[0], whole[row], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(trained, "TOKENS", 1)
    np.testing.assert_allclose(aligned.scores(questions, PASTS), whole, rtol=1e-4, atol=1e-4)


def test_choices_of_different_numbers_are_refused(folder: Path) -> None:
    first, second = DATA.questions[:2]
    with pytest.raises(InvalidInput, match="numbers of choices"):
        new(folder).scores([first, replace(second, choices=second.choices[:3])], PASTS[:2])


def test_prompts_are_those_that_are_scored_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = new(folder)
    soft = aligned.prompts(PASTS)
    assert soft.shape == (len(PASTS), 2, 32)
    assert soft.dtype == np.float32
    monkeypatch.setattr(prompter, "USERS", 5)
    np.testing.assert_allclose(aligned.prompts(PASTS), soft, rtol=1e-5, atol=1e-5)
    language = aligned.language
    asked = [aligned.asked(one) for one in DATA.questions]
    rows = laid_out([((), answers) for _, answers in asked])
    with torch.no_grad():
        before = language.read(*language.embedded([words for words, _ in asked]))
        scores = language.log_likelihoods(torch.from_numpy(soft), language.words(rows), rows, before)
        scores -= language.priors([answer for _, answers in asked for answer in answers])
    np.testing.assert_allclose(scores.view(len(PASTS), -1), aligned.scores(DATA.questions, PASTS), rtol=1e-4, atol=1e-4)


def test_instructed_prompts_are_made_for_a_question(folder: Path) -> None:
    aligned = new(folder, kind="instructed")
    with pytest.raises(InvalidInput, match="question"):
        aligned.prompts(PASTS)
    one, other = (aligned.prompts(PASTS, [text] * len(PASTS)) for text in ("likes what", "what likes"))
    assert not np.allclose(one, other)


@pytest.mark.parametrize("more", [{}, {"tune_encoder": True, "lora": 2}, {"source": "constant"}, {"kind": "dept"}])
def test_what_is_saved_reads_back(folder: Path, tmp_path: Path, more: dict[str, object]) -> None:
    aligned = align(DATA, folder, quick(**{"kind": "query", "tokens": 2, **more}), device=CPU)
    aligned.save(tmp_path / "soft-prompt")
    read = Aligned.load(tmp_path / "soft-prompt", DATA.encoder, folder, CPU)
    assert read.config == aligned.config
    assert read.said["curves"] == aligned.said["curves"]
    np.testing.assert_allclose(read.prompts(PASTS), aligned.prompts(PASTS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        read.scores(DATA.questions, PASTS), aligned.scores(DATA.questions, PASTS), rtol=1e-3, atol=1e-3
    )
    assert str(folder) not in (tmp_path / "soft-prompt" / "manifest.json").read_text()


def test_another_encoder_another_language_model_or_a_damaged_part_is_refused(folder: Path, tmp_path: Path) -> None:
    new(folder).save(tmp_path / "soft-prompt")
    with pytest.raises(WeightsRefused, match="another encoder"):
        Aligned.load(tmp_path / "soft-prompt", frozen(DATA.events, "hstu"), folder, CPU)
    with pytest.raises(WeightsRefused, match="another language model"):
        Aligned.load(tmp_path / "soft-prompt", DATA.encoder, toy_llama(tmp_path / "other", seed=1), CPU)
    (tmp_path / "soft-prompt" / "soft-prompt.safetensors").write_bytes(b"")
    with pytest.raises(BundleRefused):
        Aligned.load(tmp_path / "soft-prompt", DATA.encoder, folder, CPU)


def test_a_version_is_of_what_was_learned(folder: Path) -> None:
    aligned = new(folder)
    before = aligned.version
    assert before.startswith("query-2@")
    assert new(folder).version == before
    with torch.no_grad():
        aligned.adapter.log_norms_K1.add_(0.1)
    assert aligned.version != before
