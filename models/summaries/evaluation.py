"""What a summary is worth in a prompt: answers to the same questions about a user, told in several forms.

One model a task reads every form (models/summaries/downstream); it is asked about each user's last events, knowing
nothing but what came before each. Users are what varies: measures are means of each user's mean, and intervals are
those of resampled users.
Shapes: X cases, U users, A answers.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.summaries.downstream.cases import Case, Log, Task, cases_of, log_of
from models.summaries.downstream.config import DownstreamConfig
from models.summaries.downstream.forms import FORMS, RETRIEVAL, Form, Told, history_of, query_of, told
from models.summaries.downstream.measures import MAIN, MEASURES, Means, differences, figures, means_of
from models.summaries.downstream.model import scores_of
from models.summaries.downstream.store import DownstreamStore, Reader
from models.summaries.downstream.train import Progress
from models.summaries.downstream.writing import KIND, usual
from models.summaries.retrieval import Retriever, search

Count = Callable[[Sequence[str]], Sequence[int]]

MARGIN: Final = 0.01  # by which the summary's arm may be worse
SHARE: Final = 0.4  # of the other arm's history tokens that it may take
CLAIM: Final = "summary+1", "retrieval-16"
COMPARED: Final = (
    CLAIM,
    *(("summary+1", other) for other in ("retrieval-4", "retrieval-1", "recency-16", "recency-4", "full", "none")),
    ("summary", "none"),
    ("summary", "retrieval-16"),
)
TIMED: Final = 50  # cases, for the latency

_PROTOCOL: Final = {
    "cases": "each user's last events, told of nothing but what came before each, in the file's order where times are "
    "equal; cut by user, so that others' events that are learnt from may be later; the model is trained on earlier "
    "events and validated on those between",
    "model": "a T5 from nothing, one a task, trained once on all forms in equal share of examples; its encoder reads "
    "entries and sentences one by one, its decoder the question beside all of them (fusion in the decoder); tokens "
    "begin as vectors of items that are had one soon after the other in what is learnt from, in place of what a "
    "pretrained model knows of them; kept is the round with the best log-probability of validation answers over all "
    "forms",
    "rating": "the mean of the scale's levels by their probabilities",
    "choice": "the true item and items that the user had not had, drawn as often as they are had, so that popularity "
    "tells nothing; trained on the whole catalogue with popularity as a prior (logit adjustment)",
    "retrieval": "by the item asked about, or by all candidates",
    "measures": "means over users of each user's mean (rmse: the root of that of squares); 95 % by bootstrap of users; "
    "differences are paired, greater is better",
    "tokens": "of a prompt, by the model's own tokenizer; history_tokens: all but the question",
    "latency_ms": f"median of {TIMED} prompts one at a time: retrieval, prompt and answer; summaries are at hand, made "
    "of all events before the case",
}


def evaluate_summaries(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    fingerprint: str,
    store: DownstreamStore,
    retriever: Retriever,
    config: DownstreamConfig,
    seed: int = 0,
    bootstrap: int = 1000,
    count: Count | None = None,
    only: Collection[Task] = tuple(Task),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The report, in JSON values. count: of texts by another tokenizer, whose tokens are told too. only: these tasks.

    Raises InvalidInput when no user has events enough, UnknownName when a model is missing and may not be trained.
    """
    log = log_of(events, items, config)
    cases = cases_of(log, config, seed)
    tasks = [task for task in Task if task in only and (task is Task.CHOICE or len(log.levels_L))]
    report: dict[str, Any] = {
        "data": {"users": len(log.past), "items": len(log.vocabulary), "events": events.height},
        "protocol": _PROTOCOL | {"config": asdict(config), "seed": seed, "bootstrap": bootstrap},
        "tasks": {},
        "left_out": [] if len(log.levels_L) else ["rating: the data has no ratings on a scale of a few values"],
    }
    for task in tasks:
        asked = cases.of(task)
        writer = usual(task)
        reader = store.get(log, asked, task, retriever, writer, config, fingerprint=fingerprint, seed=seed)
        known = list(zip(asked.test, told(log, asked.test, task, retriever, writer), strict=True))
        means: dict[str, Means] = {}
        arms: dict[str, Any] = {}
        for number, form in enumerate(FORMS):
            if progress is not None:
                progress(number, len(FORMS), f"{task}: {form.name}")
            means[form.name] = means_of(task, scores(reader, known, form), asked.test, log.levels_L)
            arms[form.name] = (
                figures(means[form.name], bootstrap, seed)
                | _tokens(reader, log, known, form, count)
                | {"latency_ms": latency(reader, log, task, known, form, retriever)}
            )
        report["tasks"][str(task)] = {
            "summary": str(KIND[task]),
            "cases": {"training": len(asked.training), "validation": len(asked.validation), "test": len(asked.test)},
            "trained": {name: reader.said[name] for name in ("round", "curves", "cpu_minutes")},
            "arms": arms,
            "differences": {
                f"{ours} - {other}": {
                    **differences(means[ours], means[other], bootstrap, seed),
                    "history_tokens": _over(arms[ours]["history_tokens"], arms[other]["history_tokens"]),
                }
                for ours, other in COMPARED
            },
        }
        found = report["tasks"][str(task)]
        found["claim"] = _claim(task, found["differences"][" - ".join(CLAIM)], found["arms"])
    return report


def scores(reader: Reader, known: Sequence[tuple[Case, Told]], form: Form) -> NDArray[np.float32]:
    """scores_XA of the answers to cases in one form."""
    return scores_of(reader.model, [reader.prompts.of(case, one, form) for case, one in known])


def latency(
    reader: Reader, log: Log, task: Task, known: Sequence[tuple[Case, Told]], form: Form, retriever: Retriever
) -> float:
    """The median over prompts, one at a time, of the milliseconds of retrieval, prompt and answer."""
    seconds = []
    for case, one in known[:: max(len(known) // TIMED, 1)]:
        start = time.perf_counter()
        if form.by == RETRIEVAL:
            search(retriever, query_of(log, case, task), log.entries[case.user][: case.place])
        scores_of(reader.model, [reader.prompts.of(case, one, form)])
        seconds.append(time.perf_counter() - start)
    return round(1000 * float(np.median(seconds)), 2)


def _tokens(
    reader: Reader, log: Log, known: Sequence[tuple[Case, Told]], form: Form, count: Count | None
) -> dict[str, float]:
    """Mean tokens of a prompt, of its history, and of its history by another tokenizer."""
    prompts = [reader.prompts.of(*one, form) for one in known]
    history = float(np.mean([one.history for one in prompts]))
    asked = float(np.mean([len(one.question) for one in prompts]))
    found = {"tokens": round(history + asked, 1), "history_tokens": round(history, 1)}
    if count is not None:
        parts = [history_of(log, *one, form) for one in known]
        texts = list({part for some in parts for part in some})
        length_of = dict(zip(texts, count(texts), strict=True))
        found["history_tokens_generator"] = round(
            float(np.mean([sum(map(length_of.__getitem__, p)) for p in parts])), 1
        )
    return found


def _over(ours: float, other: float) -> float | None:
    """The share of the other arm's tokens, None where it has none."""
    return round(ours / other, 3) if other else None


def _claim(task: Task, difference: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Whether it holds, by the model's own tokens and, where another tokenizer is given, by that one's too."""
    name = MAIN[task] if MEASURES[MAIN[task]].sign > 0 else f"-{MAIN[task]}"
    low, ours, theirs = difference[name]["low"], *(arms[form] for form in CLAIM)
    counted = [key for key in ("history_tokens", "history_tokens_generator") if theirs.get(key)]
    shares = {key: round(ours[key] / theirs[key], 3) for key in counted}
    return {
        "is": f"{CLAIM[0]} not below {CLAIM[1]}: low of the difference in {name} at least -{MARGIN}, with at most "
        f"{SHARE:.0%} of its history tokens",
        "low": low,
        "shares": shares,
        "holds": bool(low >= -MARGIN and shares and max(shares.values()) <= SHARE),
    }
