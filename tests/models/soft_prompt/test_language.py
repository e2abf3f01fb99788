from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from toy_llama import toy_llama
from toy_sequences import CPU
from transformers import AutoModelForCausalLM

from features.errors import InvalidInput, WeightsRefused
from models.device import Device
from models.soft_prompt import language as soft_language
from models.soft_prompt.language import Language, told_apart
from models.soft_prompt.layout import Asked, laid_out

QUESTIONS = [("likes what", [" war", " love and war", " jazz"]), ("this user likes", [" jazz", " w", " war war"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


def asked_of(language: Language) -> list[Asked]:
    return [language.asked(prompt, answers, 2) for prompt, answers in QUESTIONS]


def softs(count: int, language: Language, tokens: int = 2) -> torch.Tensor:
    return torch.randn(count, tokens, language.width, generator=torch.Generator().manual_seed(0)) * language.norm / 5


@torch.no_grad()
def scored(language: Language, soft: torch.Tensor, asked: list[Asked]) -> torch.Tensor:
    rows = laid_out(asked)
    return language.log_likelihoods(soft, language.words(rows), rows)


@torch.no_grad()
def one_at_a_time(folder: Path, soft: torch.Tensor, asked: list[Asked]) -> list[float]:
    """By transformers' own forward, an answer a call."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for row, (question, answers) in enumerate(asked):
        for answer in answers:
            words = model.get_input_embeddings()(torch.tensor([[*question, *answer]]))
            logits = model(inputs_embeds=torch.cat((soft[row : row + 1], words), dim=1)).logits[0]
            chances = logits.log_softmax(dim=-1)[soft.shape[1] + len(question) - 1 : -1]
            found.append(float(chances.gather(1, torch.tensor(answer)[:, None]).sum()))
    return found


@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_answers_score_together_as_they_do_one_at_a_time(folder: Path, tokens: int) -> None:
    language = Language(folder, CPU)
    asked, soft = asked_of(language), softs(2, language, tokens)
    torch.testing.assert_close(
        scored(language, soft, asked), torch.tensor(one_at_a_time(folder, soft, asked)), rtol=1e-5, atol=1e-4
    )


def test_a_row_scores_alone_as_in_a_batch_and_knows_no_other(folder: Path) -> None:
    language = Language(folder, CPU)
    asked, soft = asked_of(language), softs(2, language)
    whole = scored(language, soft, asked).view(2, -1)
    for row in range(2):
        torch.testing.assert_close(
            scored(language, soft[row : row + 1], asked[row : row + 1]), whole[row], rtol=0, atol=1e-5
        )
    torch.testing.assert_close(
        scored(language, soft.flip(0), asked).view(2, -1)[0], scored(language, soft[1:], asked[:1])
    )


def test_no_gradient_passes_between_rows(folder: Path) -> None:
    language = Language(folder, CPU)
    asked, soft = asked_of(language), softs(2, language).requires_grad_()
    rows = laid_out(asked)
    language.log_likelihoods(soft, language.words(rows), rows)[:3].sum().backward()
    assert soft.grad is not None
    assert soft.grad[0].abs().sum() > 0
    assert not soft.grad[1].any()


def test_nothing_before_an_answer_hangs_on_it(folder: Path) -> None:
    language = Language(folder, CPU)
    states = []
    for answer in (" war", " love and war"):
        rows = laid_out([language.asked("likes what", [answer], 2)])
        inputs = torch.cat((softs(1, language), language.words(rows)), dim=1)
        read = language.model.get_decoder()(inputs_embeds=inputs).last_hidden_state
        states.append(read[0, : 2 + int((rows.parts_BT == 0).sum())])
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-5)


def test_the_last_token_of_an_answer_is_never_read(folder: Path) -> None:
    one, other = (laid_out([([5, 6], [[7, 8, last]])]).tokens_BT.tolist() for last in (9, 10))
    assert one == other == [[5, 6, 7, 8]]


def test_a_new_lora_changes_nothing_and_a_trained_one_is_added(folder: Path, tmp_path: Path) -> None:
    frozen, tuned = Language(folder, CPU), Language(folder, CPU, rank=2)
    asked, soft = asked_of(frozen), softs(2, frozen)
    torch.testing.assert_close(scored(tuned, soft, asked), scored(frozen, soft, asked))
    assert not frozen.updates
    assert not frozen.parts()
    with torch.no_grad():
        for update in tuned.updates:
            update.add_(0.05)
    for name, part in tuned.parts().items():
        (tmp_path / name).write_bytes(part)
    again = Language(folder, CPU, lora=tmp_path)
    torch.testing.assert_close(scored(again, soft, asked), scored(tuned, soft, asked), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scored(again, soft, asked), scored(frozen, soft, asked))


def test_precision_is_the_devices(folder: Path) -> None:
    language = Language(folder, Device("cpu", bf16=True))
    asked, soft = asked_of(language), softs(2, language).requires_grad_()
    rows = laid_out(asked)
    assert language.words(rows).dtype == torch.bfloat16
    found = language.log_likelihoods(soft, language.words(rows), rows)
    found.sum().backward()
    assert found.dtype == soft.grad.dtype == torch.float32  # type: ignore[union-attr]
    plain = scored(Language(folder, CPU), soft.detach(), asked)
    assert (found.detach() - plain).abs().max() < 1


def test_what_the_model_cannot_read_is_refused(folder: Path, tmp_path: Path) -> None:
    language = Language(folder, CPU)
    for prompt, answers in (("", [" war"]), ("likes " * 300, [" war"])):
        with pytest.raises(InvalidInput, match="question"):
            language.asked(prompt, answers, 1)
    with pytest.raises(WeightsRefused):
        Language(tmp_path / "nowhere", CPU)


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 3])
def test_a_question_that_stands_before_scores_as_one_text_with_the_soft_prompt(folder: Path, tokens: int) -> None:
    """By transformers' own forward over [question][soft prompt][answer], an answer a call."""
    language = Language(folder, CPU)
    asked, soft = asked_of(language), softs(2, language, tokens)
    rows = laid_out([((), answers) for _, answers in asked])
    found = language.log_likelihoods(soft, language.words(rows), rows, language.known([words for words, _ in asked]))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    embed, wanted = model.get_input_embeddings(), []
    for row, (question, answers) in enumerate(asked):
        for answer in answers:
            parts = (embed(torch.tensor([question])), soft[row : row + 1], embed(torch.tensor([answer])))
            chances = model(inputs_embeds=torch.cat(parts, dim=1)).logits[0].log_softmax(dim=-1)
            behind = chances[len(question) + tokens - 1 : -1]
            wanted.append(float(behind.gather(1, torch.tensor(answer)[:, None]).sum()))
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-5, atol=1e-4)


def test_an_answer_weighs_as_much_behind_the_cue_with_a_lora_beside_it_or_in_it(folder: Path, tmp_path: Path) -> None:
    tuned = Language(folder, CPU, rank=2)
    answers = [answer for _, some in asked_of(tuned) for answer in some]
    frozen = Language(folder, CPU).priors(answers)
    with torch.no_grad():
        for update in tuned.updates:
            update.add_(0.05)
    for name, part in tuned.parts().items():
        (tmp_path / name).write_bytes(part)
    for language in (tuned, Language(folder, CPU, lora=tmp_path)):
        torch.testing.assert_close(language.priors(answers), frozen)
    assert frozen.tolist() == pytest.approx([float(scored_alone(folder, answer)) for answer in answers], abs=1e-4)


@torch.no_grad()
def scored_alone(folder: Path, answer: Sequence[int]) -> float:
    """Behind "\\nAnswer:", by transformers' own forward."""
    language = Language(folder, CPU)
    cue = language.tokens.plain("\nAnswer:")
    chances = language.model(torch.tensor([[*cue, *answer]])).logits[0].log_softmax(dim=-1)[len(cue) - 1 : -1]
    return float(chances.gather(1, torch.tensor(answer)[:, None]).sum())


def test_of_answers_as_much_is_read_as_tells_them_apart() -> None:
    assert told_apart([[1, 2, 3], [1, 4, 5], [6, 7]]) == [[1, 2], [1, 4], [6]]
    assert told_apart([[1, 2], [1, 2, 3], [4]]) == [[1, 2], [1, 2, 3], [4]]  # an answer that begins another stays whole
    assert told_apart([[1, 2, 3]]) == [[1, 2, 3]]
    assert told_apart([[1, 2], [1, 2]]) == [[1, 2], [1, 2]]


def test_no_more_weights_of_answers_are_kept_than_there_is_room_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language = Language(folder, CPU)
    answers = [[5], [6], [7], [8], [9]]
    whole = language.priors(answers)
    monkeypatch.setattr(soft_language, "PRIORS", 3)
    torch.testing.assert_close(language.priors([*answers, [10]])[:5], whole)
    assert len(language._priors) == 3
    torch.testing.assert_close(language.priors(answers), whole)
