"""How good answers are: the area under a verdict's curve, errors of stars, and texts against texts.

Shapes: X answers, U users, T templates.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.metrics import Interval

ROUGES: Final[Mapping[str, str]] = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}


def auc(values_X: NDArray[np.float64], is_true_X: NDArray[np.bool_]) -> float | None:
    """How often a true one has the greater value of a true and a false one, equal values counted half (Mann and
    Whitney); None when all are alike."""
    true, false = int(is_true_X.sum()), int((~is_true_X).sum())
    if not true or not false:
        return None
    above = float(rankdata(values_X)[is_true_X].sum()) - true * (true + 1) / 2
    return above / (true * false)


def rmse(errors: NDArray[np.float64]) -> float:
    """The root of the mean square of errors of any shape; of those of several templates, the mean of their roots."""
    return float(np.sqrt(np.square(errors).mean(axis=-1)).mean())


def rmse_difference(
    errors_TU: NDArray[np.float64], others_U: NDArray[np.float64], resamples: int, seed: int
) -> Interval:
    """The RMSE, the mean over templates, minus that of other predictions for the same users, resampled by user."""
    return resampled(lambda users: rmse(errors_TU[:, users]) - rmse(others_U[users]), len(others_U), resamples, seed)


def resampled(statistic: Callable[[NDArray[np.int64]], float], count: int, resamples: int, seed: int) -> Interval:
    """A statistic of users, given their numbers, and the 2.5 % and 97.5 % points of it over resamples of them."""
    rng = np.random.default_rng(seed)
    found = [statistic(rng.integers(0, count, count)) for _ in range(resamples)]
    value = statistic(np.arange(count))
    low, high = np.quantile(found, [0.025, 0.975]) if found else (value, value)
    return Interval(value, float(low), float(high))


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """BLEU-4 of all texts together (Papineni et al., 2002), from 0 to 1, as sacreBLEU has it."""
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU().corpus_score(list(texts), [list(references)]).score) / 100


def rouge(texts: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """ROUGE-1, -2 and -L of each text (Lin, 2004): F1 of common words, pairs of words, and the longest subsequence."""
    logging.getLogger("absl").setLevel(logging.WARNING)  # each scorer tells which tokenizer it has
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, in seconds

    scorer = RougeScorer(list(ROUGES.values()))
    found = [scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)]
    return {name: np.array([one[own].fmeasure for one in found], np.float64) for name, own in ROUGES.items()}


def distinct(texts: Sequence[str]) -> float:
    """The share of different texts: one text for everybody explains nothing."""
    return len(set(texts)) / len(texts)
