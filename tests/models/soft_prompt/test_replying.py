"""Answers behind a soft prompt: the likeliest choice, and the likeliest words, as training laid them out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_favourites import favourites, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import InvalidInput
from models.soft_prompt import replying
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Rows
from models.soft_prompt.questions import put
from models.soft_prompt.reading import pasts_of
from models.soft_prompt.replying import Ask, replies
from models.soft_prompt.trained import Aligned

DATA = favourites(users=8, kind="sasrec")
PASTS = pasts_of(DATA.events, DATA.questions)


def new(folder: Path, **more: object) -> Aligned:
    torch.manual_seed(0)
    aligned = Aligned(quick(**{"kind": "query", "tokens": 2, **more}), DATA.encoder, Language(folder, CPU))
    if aligned.adapter.update is not None:  # of nothing at first
        torch.nn.init.normal_(aligned.adapter.update.up_RW)
    return aligned


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


@pytest.mark.parametrize("more", [{}, {"kind": "dept"}, {"style": "letters"}])
def test_choices_are_scored_as_in_training(folder: Path, more: dict[str, object]) -> None:
    aligned = new(folder, **more)
    soft = aligned.prompts(PASTS)
    asks = [
        Ask(aligned, soft_KW, *put(question.text, question.choices, aligned.config.style))
        for question, soft_KW in zip(DATA.questions, soft, strict=True)
    ]
    scores = aligned.scores(DATA.questions, PASTS)
    for question, reply, expected in zip(DATA.questions, replies(asks, 1), scores, strict=True):
        np.testing.assert_allclose(reply.lifts, expected, rtol=1e-4, atol=1e-4)
        best = int(expected.argmax())
        assert reply.text == ("ABCD"[best] if "style" in more else question.choices[best])
        assert reply.is_finished


@pytest.mark.parametrize("kind", ["query", "dept"])
def test_words_are_the_likeliest_token_after_token(folder: Path, kind: str) -> None:
    aligned = new(folder, kind=kind)
    language = aligned.language
    prompt, answers = put("likes what", (), "words")
    assert (prompt, answers) == ("likes what", ())
    soft = aligned.prompts(PASTS[:3])
    embed = language.model.get_input_embeddings()
    for soft_KW, reply in zip(soft, replies([Ask(aligned, one, prompt) for one in soft], 6), strict=True):
        tokens = language.tokens.plain(prompt)
        assert reply.input_tokens == len(tokens) + len(language.cue)
        words = embed(torch.tensor([tokens + language.cue]))
        words = aligned.adapter.reworded(words, torch.ones(1, words.shape[1], dtype=torch.bool))
        told = torch.cat((words, torch.from_numpy(soft_KW[None])), dim=1)
        written: list[int] = []
        with torch.no_grad():
            for _ in range(6):
                token = int(language.model(inputs_embeds=told).logits[0, -1].argmax())
                if token in language.tokens.special:
                    break
                written.append(token)
                told = torch.cat((told, embed(torch.tensor([[token]]))), dim=1)
        assert reply.text == language.tokens.text(written)
        assert (reply.output_tokens, reply.is_finished) == (len(written), len(written) < 6)


def test_users_are_answered_by_their_own_prompts(folder: Path) -> None:
    aligned = new(folder)
    prompt, answers = put("likes what", ("war", "love"), "words")
    soft = aligned.prompts(PASTS[:4])
    together = replies([Ask(aligned, one, prompt, answers) for one in soft], 1)
    alone = [replies([Ask(aligned, one, prompt, answers)], 1)[0] for one in soft]
    assert together == alone
    assert len({reply.lifts for reply in together}) == 4


@pytest.mark.parametrize("tokens", [1, 9])
def test_many_choices_are_scored_a_part_at_a_time_to_the_same(
    folder: Path, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = new(folder, kind="dept")
    [soft_KW] = aligned.prompts(PASTS[:1])
    ask = Ask(aligned, soft_KW, *put("likes what", ("war", "love and war", "space", "jazz", "love"), "words"))
    [together] = replies([ask], 1)
    read: list[int] = []
    likelihoods = Language.log_likelihoods

    def counted(self: Language, soft: torch.Tensor, words: torch.Tensor, rows: Rows, *more: Any) -> torch.Tensor:
        read.append(len(rows.target_A))
        return likelihoods(self, soft, words, rows, *more)

    monkeypatch.setattr(Language, "log_likelihoods", counted)
    monkeypatch.setattr(replying, "TOKENS", tokens)
    [parted] = replies([ask], 1)
    longest = max(len(aligned.language.tokens.plain(answer)) + 1 for answer in ask.answers)
    assert len(read) > 1
    assert max(read) <= max(tokens, longest)
    assert (parted.text, parted.input_tokens, parted.output_tokens) == (
        *(together.text, together.input_tokens, together.output_tokens),
    )
    np.testing.assert_allclose(parted.lifts, together.lifts, rtol=1e-4, atol=1e-4)


def test_what_is_not_wanted_is_left(folder: Path) -> None:
    aligned = new(folder)
    [soft_KW] = aligned.prompts(PASTS[:1])
    asked: list[int] = []

    def is_wanted(place: int) -> bool:
        asked.append(place)
        return len(asked) <= 2

    [reply] = replies([Ask(aligned, soft_KW, "likes what")], 50, is_wanted)
    assert reply.output_tokens <= 2
    assert not (reply.is_finished and reply.output_tokens == 2)


def test_what_is_longer_than_the_model_reads_is_refused(folder: Path) -> None:
    aligned = new(folder)
    [soft_KW] = aligned.prompts(PASTS[:1])
    for ask in (Ask(aligned, soft_KW, "likes what" * 200), Ask(aligned, soft_KW, "likes", (" what" * 300,))):
        with pytest.raises(InvalidInput, match="question"):
            replies([ask], 4)


def test_there_are_no_more_letters_than_letters() -> None:
    with pytest.raises(InvalidInput, match="letters"):
        put("likes what", [str(number) for number in range(27)], "letters")
