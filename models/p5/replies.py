"""What a P5 replies to exams in one wording of their task.

Next items come from a search along all ids, without those that the user has had; a pick, a verdict and stars from the
probabilities of all that may be answered; texts are written word by word, the likeliest each time.
Shapes: B prompts, T tokens of a prompt, W words that may answer, A tokens of an answer, X exams.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.p5.beam import beam_search
from models.p5.corpus import Corpus
from models.p5.decoder import CachedDecoder
from models.p5.drawing import PICKS
from models.p5.exams import Exam
from models.p5.questions import STARS, worded
from models.p5.scoring import score_candidates
from models.p5.templates import Task, Template
from models.p5.text import generate_text
from models.p5.tokens import END, PAD
from models.p5.trained import BEAMS, P5
from models.p5.words import Words

K: Final = 10  # items that are searched for
TEXT_TOKENS: Final = 64  # of the longest text that is written

# The words that may answer; of a verdict, the one that says yes comes first.
ANSWERS: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.STARS: STARS[1:],
    Task.REVIEW_STARS: STARS[1:],
    Task.LIKES: ("like", "dislike"),
    **dict.fromkeys((Task.GIVES, Task.IS_NEXT, Task.SUITS), ("yes", "no")),
}


class Reply(NamedTuple):
    """tokens: of what is answered, with the end where it has one; of the likeliest where several may answer.

    value: of items, the target's rank, K + 1 when it was not found; of stars, their mean; of a verdict, the probability
    of its first word. text: what is written, where it is free.
    """

    tokens: tuple[int, ...]
    value: float = float("nan")
    text: str = ""


def replies(p5: P5, corpus: Corpus, exams: Sequence[Exam], template: Template) -> list[Reply]:
    """One reply an exam, in their order. corpus: of the users who are asked, with all they have had."""
    found: list[Reply | None] = [None] * len(exams)
    for places, states_BTD, mask_BT in read(p5, [worded(one.question, template) for one in exams]):
        some = [exams[place] for place in places]
        if template.task is Task.NEXT:
            said = _next(p5, corpus, some, states_BTD, mask_BT)
        elif template.task in PICKS:
            said = _picked(p5, some, states_BTD, mask_BT)
        elif template.task in ANSWERS:
            said = _chosen(p5, ANSWERS[template.task], states_BTD, mask_BT)
        else:
            said = _written(p5, states_BTD, mask_BT)
        for place, one in zip(places, said, strict=True):
            found[place] = one
    return [one for one in found if one is not None]


def read(p5: P5, prompts: Sequence[Words]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """(places, states_BTD, mask_BT): the prompts in batches of about one length, by their places.

    A prompt that is too long loses its last words, as in training.
    """
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    at_once = p5.at_once(BEAMS)
    for first in range(0, len(order), at_once):
        places = order[first : first + at_once]
        yield places, *p5.read([prompts[place] for place in places], cut=True)


@torch.inference_mode()
def log_probabilities(decoder: CachedDecoder, states_BTD: Tensor, mask_BT: Tensor, answers_BWA: Tensor) -> Tensor:
    """log_probabilities_BW of answers, token by token behind each prompt, all in one run; padded with PAD behind."""
    users, count, length = answers_BWA.shape
    tree = decoder.read(states_BTD, mask_BT, room=1 + count * (length - 1))
    places_BW = tree.grow(answers_BWA.new_full((users, 1), PAD)).expand(users, count)
    before = [places_BW]  # the node that each token follows
    for tokens_BW in answers_BWA.unbind(2)[:-1]:
        places_BW = tree.grow(tokens_BW, places_BW)
        before.append(places_BW)
    tokens_BX = answers_BWA.transpose(1, 2).flatten(1)
    steps_BX = decoder.log_probabilities_of(decoder.run(tree), torch.cat(before, dim=1), tokens_BX)
    return steps_BX.masked_fill(tokens_BX == PAD, 0.0).view(users, length, count).sum(dim=1)


def padded(answers: Sequence[Sequence[Sequence[int]]], device: torch.device) -> Tensor:
    """answers_BWA from each prompt's answers, as many for every prompt."""
    width = max(len(tokens) for own in answers for tokens in own)
    rows = [[[*tokens, *[PAD] * (width - len(tokens))] for tokens in own] for own in answers]
    return torch.tensor(rows, dtype=torch.int64, device=device)


def _next(p5: P5, corpus: Corpus, exams: Sequence[Exam], states_BTD: Tensor, mask_BT: Tensor) -> list[Reply]:
    seen = [corpus.had(one.user) for one in exams]
    found = beam_search(p5.decoder, states_BTD, mask_BT, p5.trie, beams=max(BEAMS, K), k=K, seen=seen)
    said = []
    for one, rows_K in zip(exams, found.rows_BK.tolist(), strict=True):
        rank = rows_K.index(one.item) + 1 if one.item in rows_K else K + 1
        said.append(Reply(_item(p5, rows_K[0]), float(rank)))
    return said


def _picked(p5: P5, exams: Sequence[Exam], states_BTD: Tensor, mask_BT: Tensor) -> list[Reply]:
    given = [np.array(one.question.values["candidates"], np.int64) for one in exams]
    said = []
    for one, rows, scores in zip(
        exams, given, score_candidates(p5.decoder, states_BTD, mask_BT, p5.trie, given), strict=True
    ):
        rank = int((scores >= scores[rows == one.item]).sum())  # what ties with the target stands before it
        said.append(Reply(_item(p5, rows[scores.argmax()].item()), float(rank)))
    return said


def _chosen(p5: P5, words: Sequence[str], states_BTD: Tensor, mask_BT: Tensor) -> list[Reply]:
    tokens = [p5.tokenizer.encode((word,))[0] for word in words]
    answers_BWA = padded([tokens], states_BTD.device).expand(len(states_BTD), -1, -1)
    logs_BW = log_probabilities(p5.decoder, states_BTD, mask_BT, answers_BWA)
    shares_BW: NDArray[np.float64] = functional.softmax(logs_BW.double(), dim=1).cpu().numpy()
    values_B = shares_BW @ np.arange(1.0, 1 + len(words)) if words == STARS[1:] else shares_BW[:, 0]
    best_B = shares_BW.argmax(axis=1).tolist()
    return [Reply(tuple(tokens[best]), value) for best, value in zip(best_B, values_B.tolist(), strict=True)]


def _written(p5: P5, states_BTD: Tensor, mask_BT: Tensor) -> list[Reply]:
    texts = generate_text(p5.decoder, states_BTD, mask_BT, most=TEXT_TOKENS, allowed=p5.text_tokens)
    return [Reply((*tokens, END)[:TEXT_TOKENS], text=p5.tokenizer.decode(tokens)) for tokens in texts]


def _item(p5: P5, row: int) -> tuple[int, ...]:
    """An item's tokens; where no item was left, nothing but the end."""
    return tuple(p5.tokenizer.encode((row,))[0][:-1]) if row >= 0 else (END,)
