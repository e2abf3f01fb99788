"""What an answer costs, by how long its user's history is, what an update costs, and what it changes besides.

An answer is timed beside the same question to the model alone, one after the other, so that the two can be compared
under any load. Shapes: Z sizes of a history, N users.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.encoders.data import EncoderData
from models.soft_prompt.language import Language
from models.soft_prompt.layout import Asked, laid_out
from models.soft_prompt.questions import Question
from models.soft_prompt.reading import Past

SIZES: Final = (0, 256, 1024, 4096)  # tokens of a history in words
UPDATED: Final = 1024  # tokens of the history that an update comes to
REPEATS: Final = 5
# About nobody, and nothing that anybody chose: what an update does to the likelihood of this it should not do.
TEXT: Final = (
    "Water boils at a lower temperature on a mountain than by the sea, because the air above it weighs less. A kettle "
    "in a hut at three thousand metres sings at about ninety degrees, and potatoes take longer there. To multiply two "
    "fractions, multiply their upper numbers and then their lower ones; the result is often made simpler by dividing "
    "both by what they have in common. The bridge was closed on Tuesday for repairs and opened again before noon."
)


class Answering(Protocol):
    """An arm that is ready to answer."""

    def ready(self, past: Past) -> Callable[[Question], object]:
        """Answers about a user of this past, with what is kept of the user between requests at hand, and of the
        question nothing."""
        ...

    def plain(self, question: Question) -> object:
        """The answer of the model alone, to which the user is unknown."""
        ...

    def update(self, past: Past) -> tuple[float, int] | None:
        """(seconds, bytes) of bringing what is kept of a user up to a few more events at the end of this past, and of
        all that is kept; None where nothing is."""
        ...

    def drift(self, pasts: Sequence[Past], question: Question) -> tuple[list[float], float] | None:
        """(how much likelier a token of TEXT is by the model of each past, the largest change of any score of
        `question` when it is asked for somebody without a past beside them, or after them); None of a model that stays
        as it is."""
        ...


def measured(
    arm: Answering, question: Question, events: EncoderData, counts_N: NDArray[np.int64], pasts: Sequence[Past]
) -> dict[str, NDArray[np.float64]]:
    """latency_Z and plain_Z, in seconds; update: (seconds, bytes), drift_N and others: largest change, each empty where
    there is none.

    events: whose, one after another, make up histories of any size. counts_N: tokens of each item in words. pasts: of
    users by whose updates the drift is measured.
    """
    latency_Z, plain_Z = [], []
    for tokens in SIZES:
        answer = arm.ready(past_of_tokens(events, counts_N, tokens))
        own, alone = [], []
        answer(question)
        for _ in range(REPEATS):
            own.append(_seconds(answer, question))
            alone.append(_seconds(arm.plain, question))
        latency_Z.append(median(own))
        plain_Z.append(median(alone))
    update = arm.update(past_of_tokens(events, counts_N, UPDATED))
    drift = arm.drift(pasts, question)
    return {
        "latency_Z": np.array(latency_Z),
        "plain_Z": np.array(plain_Z),
        "update": np.array([] if update is None else update, np.float64),
        "drift_N": np.array([] if drift is None else drift[0], np.float64),
        "others": np.array([] if drift is None else [drift[1]], np.float64),
    }


def told(found: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What `measured` gave, in JSON values."""
    by_size = zip(SIZES, found["latency_Z"].tolist(), found["plain_Z"].tolist(), strict=True)
    report: dict[str, Any] = {
        "latency": {
            str(tokens): {"ms": round(1000 * own, 2), "ratio": round(own / alone, 3)} for tokens, own, alone in by_size
        },
        "update": None,
        "drift": None,
    }
    if len(found["update"]):
        seconds, kept = found["update"].tolist()
        report["update"] = {"ms": round(1000 * seconds, 2), "bytes": int(kept)}
    if len(found["drift_N"]):
        drift_N = found["drift_N"]
        report["drift"] = {
            "text": round(float(drift_N.mean()), 5),
            "text_most": round(float(np.abs(drift_N).max()), 5),
            "others": float(found["others"][0]),
        }
    return report


def past_of_tokens(events: EncoderData, counts_N: NDArray[np.int64], tokens: int) -> Past:
    """As many events, of all users one after another and over again, as take so many tokens in words, or a few less."""
    each = int(counts_N[events.items_E].sum())
    items_L = np.tile(events.items_E, -(-max(tokens, 1) // max(each, 1)))
    items_L = items_L[: int((np.cumsum(counts_N[items_L]) <= tokens).sum())]
    return Past(items_L, np.arange(len(items_L), dtype=np.float64), np.full(len(items_L), np.nan, np.float32))


def text_asked(language: Language) -> Asked:
    """TEXT as something to be scored: its first token, and what follows."""
    first, *rest = language.tokens.plain(TEXT)[: language.reads]
    return [first], [rest]


def text_likelihood(language: Language) -> float:
    """The mean log-likelihood of a token of TEXT by a model as it is now."""
    asked = text_asked(language)
    return float(alone(language, asked)[0]) / len(asked[1][0])


@torch.inference_mode()
def plainly(language: Language, asked: Asked) -> NDArray[np.float32]:
    """The lift of each answer behind nothing but its question."""
    found: NDArray[np.float32] = language.lifts(alone(language, asked), [asked]).cpu().numpy()
    return found


@torch.inference_mode()
def alone(language: Language, asked: Asked) -> Tensor:
    """log_chances_F of the answers behind nothing but their question."""
    rows = laid_out([asked]).to(language.device.name)
    words_1TW = language.words(rows)
    return language.log_likelihoods(words_1TW[:, :0], words_1TW, rows)


def _seconds(answer: Callable[[Question], object], question: Question) -> float:
    start = time.perf_counter()
    answer(question)
    return time.perf_counter() - start
