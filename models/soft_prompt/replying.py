"""Answers of a language model behind a user's soft prompt, laid out as it was trained: the choice with the greatest
lift, or words of the model's own, the likeliest token of each place.

    [question, choices, "Answer:"][soft prompt][answer]

Shapes: K vectors of a prompt, W of the language model's embeddings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from models.language.generator import Completion, IsWanted, always
from models.soft_prompt.layout import laid_out
from models.soft_prompt.trained import TOKENS, Aligned


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """prompt: what is read before the soft prompt. answers: one of which is wanted; of none, the model's own words.
    Both as `put` (models/soft_prompt/questions.py) gives them."""

    aligned: Aligned
    soft_KW: NDArray[np.float32]
    prompt: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply(Completion):
    """input_tokens: of the words alone. lifts: of the answers, in their order (Language.lifts); of which `text` has
    the greatest."""

    lifts: tuple[float, ...] = ()


def replies(asks: Sequence[Ask], most: int, is_wanted: IsWanted = always) -> list[Reply]:
    """One an ask, in their order, of at most `most` tokens where they are the model's own words. is_wanted: asked again
    and again, of the place of an ask; what is not wanted is left as it is.

    Raises InvalidInput for a question that is longer than the model reads.
    """
    return [
        _chosen(ask) if ask.answers else _written(ask, most, partial(is_wanted, place))
        for place, ask in enumerate(asks)
    ]


@torch.inference_mode()
def _chosen(ask: Ask) -> Reply:
    language, tokens = ask.aligned.language, len(ask.soft_KW)
    question, answers = language.asked(ask.prompt, ask.answers, tokens)
    before = ask.aligned.before([question])
    soft_BKW = torch.from_numpy(ask.soft_KW[None]).to(language.device.name)
    found: list[float] = []
    for some in parts(answers):
        asked = [((), some)]
        rows = laid_out(asked).to(language.device.name)
        chances_F = language.log_likelihoods(soft_BKW, language.words(rows), rows, before)
        found += language.lifts(chances_F, asked).tolist()
    best = int(np.argmax(found))
    return Reply(ask.answers[best].strip(), len(question), len(answers[best]), True, tuple(found))


def parts(answers: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """As many answers together as have TOKENS: each token has logits of the whole vocabulary, and 200 titles of 200
    characters would take gigabytes."""
    some: list[Sequence[int]] = []
    for answer in answers:
        if some and sum(map(len, some)) + len(answer) > TOKENS:
            yield some
            some = []
        some.append(answer)
    yield some


@torch.inference_mode()
def _written(ask: Ask, most: int, is_wanted: Callable[[], bool]) -> Reply:
    language = ask.aligned.language
    question, _ = language.asked(ask.prompt, [" "], len(ask.soft_KW) + most)
    soft_BKW = torch.from_numpy(ask.soft_KW[None]).to(language.model.get_input_embeddings().weight)
    given = {"inputs_embeds": soft_BKW}
    written: list[int] = []
    is_finished, cache = False, DynamicCache(ask.aligned.before([question]).layers)
    while len(written) < most and is_wanted():
        with language.device.autocast():
            said = language.model(**given, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, token = said.past_key_values, int(said.logits[0, -1].argmax())
        if token in language.tokens.special:  # the end, and whatever else is no word
            is_finished = True
            break
        written.append(token)
        given = {"input_ids": torch.tensor([[token]], device=soft_BKW.device)}
    return Reply(language.tokens.text(written), len(question), len(written), is_finished)
