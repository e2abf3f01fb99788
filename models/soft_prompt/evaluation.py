"""What a soft prompt is worth, the way of UQABench: questions about users of whom training has asked none, put to
every arm.

Liu et al., KDD 2025 (arXiv 2502.19178). Departures: choices are not told, and answered by the lift of their words
(models/soft_prompt/trained.py), not by their letter; questions are drawn so that no guess answers them; two controls
stand beside every soft prompt, and the language model tuned on the history in words on the same budget.
Shapes: Q questions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.errors import InvalidInput
from models.soft_prompt.arm_store import ArmStore
from models.soft_prompt.arms import GUESSES, LORA, OF_ANOTHER, Arm
from models.soft_prompt.claims import TEXT, claims
from models.soft_prompt.comparing import AVERAGE, Drawn, Sheet, differences, interval, spread, terciles
from models.soft_prompt.drawing import even
from models.soft_prompt.questions import Question
from models.soft_prompt.report import report
from models.soft_prompt.scored import Scored
from models.soft_prompt.tasks import Dimension, Task
from models.soft_prompt.telling import TOKENS_MOST

JUDGES: Final = 16  # validation questions of a task, by which the best tuned text is chosen

_PROTOCOL: Final = {
    "questions": "of users that no question of the training is about, as many as can be; each asked at a moment after "
    "which nothing is read; every rank of the truth by popularity equally often in every task",
    "encoder": "trained on the events of all users, those of the test too, without each one's last, which predictions "
    "are about; cut by user, so that others' events that it learns from may be later than these",
    "accuracy": "a task's is the share of its questions whose true choice has the greatest lift, a dimension's the "
    "mean of its tasks', the average the mean of the dimensions'; 95 % by bootstrap of users, differences paired",
    "tokens": "of a prompt before its answer; history_tokens: those that tell of the user, in vectors or in words",
    "latency_ms": "median of questions answered one at a time, from the user's events to the choices' lifts, on "
    "the machine and under the load at which the arm was scored",
    "trained": "minutes of the process's time on its cores, with what is measured between; questions: asked in them",
    "text": "the tuned text arm, of those evaluated, with the best average over validation questions; a history in "
    f"words has at most {TOKENS_MOST} tokens, and what is older is left out",
    "history": "thirds of the questions by how many events are known of the user",
}


def evaluate_questions(
    store: ArmStore,
    drawn: Sequence[Question],
    arms: Mapping[str, Arm],
    names: Sequence[str],
    *,
    seed: int = 0,
    each: int = 100,
    bootstrap: int = 1000,
    points: Sequence[Arm] = (),
) -> dict[str, Any]:
    """The report, in JSON values.

    drawn: questions about users of the test, of which `each` of a task are put at most. arms: all there are; names:
    those, and guesses, that are evaluated, and points of a scaling study besides.

    Raises InvalidInput when the questions are too few to be even, and what `ArmStore.scored` does.
    """
    questions = spread(even(drawn, seed), each, seed)
    if not questions:
        raise InvalidInput("data", f"{len(drawn)} questions are too few to ask every rank of the truth equally often")
    sheet = Sheet.of(questions, bootstrap, seed)
    cuts_Q = np.array([question.cut for question in questions], np.int64)
    accuracies: dict[str, Drawn] = {}
    found: dict[str, dict[str, Any]] = {}
    log = store.log
    for name in names:
        cost: dict[str, Any] = {"tokens": 0.0, "history_tokens": 0.0, "latency_ms": 0.0}
        if name in GUESSES:
            right_Q = guessed(name, questions)
            whole = Sheet.of(drawn, bootstrap, seed).accuracies(guessed(name, drawn))
            cost |= {"drawn": {"questions": len(drawn), **figures(whole)}}
        else:
            arm = arms[name]
            scored = store.scored(arm, arms.get(arm.learnt), questions)
            right_Q, cost = right(scored, questions), {**costs(scored), **_trained(store, arm, arms)}
        accuracies[name] = sheet.accuracies(right_Q)
        found[name] = {**figures(accuracies[name]), **cost, "history": by_history(sheet, right_Q, cuts_Q)}
    text, judged = _best_text(store, arms, names, seed)
    are_all_texts = len(judged) == sum(_is_tuned_text(arm) for arm in arms.values())
    return {
        "data": {
            "users": len(log.past.users),
            "items": len(log.vocabulary),
            "events": len(log.past.items_E),
            "test_users": len({question.user for question in questions}),
        },
        "protocol": {**_PROTOCOL, "seed": seed, "bootstrap": bootstrap, "questions_each": each},
        "questions": report(questions, store.data.questions),
        "arms": found,
        "text": {"arm": text, "validation": judged},
        **_compared([name for name in names if is_soft(arms.get(name))], text, accuracies, found, are_all_texts),
        "scaling": [_point(store, arm, questions, sheet) for arm in points] or None,
    }


def guessed(name: str, questions: Sequence[Question]) -> NDArray[np.float64]:
    """right_Q of a guess: chance is right to a part."""
    if name == "chance":
        return np.array([1 / len(question.choices) for question in questions])
    return np.array([float(question.guess == question.truth) for question in questions])


def right(scored: Scored, questions: Sequence[Question]) -> NDArray[np.float64]:
    """right_Q: whether the likeliest choice is the true one."""
    return np.asarray(scored.scores_QC.argmax(axis=1) == [question.truth for question in questions], np.float64)


def costs(scored: Scored) -> dict[str, float]:
    """What a question takes."""
    return {
        "tokens": round(float(scored.tokens_Q.mean()), 1),
        "history_tokens": round(float(scored.history_Q.mean()), 1),
        "latency_ms": round(1000 * float(np.median(scored.seconds_S)), 2),
    }


def is_soft(arm: Arm | None) -> bool:
    """Whether it is a soft prompt of the user who is asked about."""
    return arm is not None and arm.reads_encoder and not arm.is_stranger


def figures(drawn: Drawn) -> dict[str, Any]:
    """On average, by dimension and by task, each with its interval."""
    return {
        "accuracy": interval(drawn[AVERAGE]),
        "dimensions": {name: interval(drawn[name]) for name in map(str, Dimension) if name in drawn},
        "tasks": {name: interval(drawn[name]) for name in map(str, Task) if name in drawn},
    }


def by_history(sheet: Sheet, right_Q: NDArray[np.float64], cuts_Q: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracies by thirds of the questions, after how many events are known of the user."""
    return {
        name: {"events": round(float(cuts_Q[is_in_Q].mean()), 1), **figures(sheet.accuracies(right_Q, is_in_Q))}
        for name, is_in_Q in terciles(cuts_Q).items()
        if is_in_Q.any()
    }


def trained(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How an arm of this name was trained, by the manifest of its training."""
    curves = manifest["curves"]
    return {
        "as": name,
        "minutes": round(manifest["seconds"] / 60, 1),
        "questions": int(sum(curves["questions"])),
        "curves": curves,
    }


def _trained(store: ArmStore, arm: Arm, arms: Mapping[str, Arm]) -> dict[str, Any]:
    found = trained(arm.learnt, store.learnt(arms[arm.learnt])[1]) if arm.learnt else None
    return {"trained": found}


def _best_text(
    store: ArmStore, arms: Mapping[str, Arm], names: Sequence[str], seed: int
) -> tuple[str | None, dict[str, float]]:
    """(its name, the average of each over validation questions)."""
    questions = spread(store.data.validation, JUDGES, seed)
    judged = {}
    for name in names:
        arm = arms.get(name)
        if arm is not None and _is_tuned_text(arm):
            scored = store.scored(arm, arms[arm.learnt], questions)
            judged[name] = round(float(Sheet.of(questions, 0).accuracies(right(scored, questions))[AVERAGE][0]), 4)
    return max(judged, key=judged.__getitem__, default=None), judged


def _is_tuned_text(arm: Arm) -> bool:
    return bool(arm.told) and arm.name.endswith(LORA)


def _compared(
    names: Sequence[str],
    text: str | None,
    accuracies: Mapping[str, Drawn],
    found: Mapping[str, Mapping[str, Any]],
    are_all_texts: bool,
) -> dict[str, dict[str, Any]]:
    """{differences, claims} of the soft prompts of these names."""
    apart: dict[str, dict[str, Any]] = {}
    claimed: dict[str, dict[str, Any]] = {}
    for name in names:
        gaps, share, stray = _gaps(name, accuracies, text), None, None
        for kind, (other, gap) in gaps.items():
            apart[f"{name} - {other}"] = dict(gap)
            if kind == TEXT:
                share = round(found[name]["history_tokens"] / max(found[other]["history_tokens"], 1e-9), 4)
                apart[f"{name} - {other}"]["history_tokens"] = share
        if {"constant", "another user"} <= gaps.keys():
            constant, other = gaps["constant"][0], gaps["another user"][0]
            of_stray = differences(accuracies[other], accuracies[constant])
            apart[f"{other} - {constant}"], stray = of_stray, of_stray[AVERAGE]
        own = {kind: gap for kind, (_, gap) in gaps.items()}
        claimed[name] = claims(own, share, stray, are_all_texts=are_all_texts)
    return {"differences": apart, "claims": claimed}


def _gaps(name: str, accuracies: Mapping[str, Drawn], text: str | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """By what the other is to the arm: (its name, the differences)."""
    others = {
        "popularity": "popularity",
        "constant": f"constant/{name.rpartition('/')[2]}",
        "another user": name + OF_ANOTHER,
        TEXT: text,
    }
    return {
        kind: (other, differences(accuracies[name], accuracies[other]))
        for kind, other in others.items()
        if other is not None and other in accuracies
    }


def _point(store: ArmStore, arm: Arm, questions: Sequence[Question], sheet: Sheet) -> dict[str, Any]:
    found = figures(sheet.accuracies(right(store.scored(arm, arm, questions), questions)))
    del found["tasks"]
    encoder = store.encoder(arm)
    return {
        "arm": arm.name,
        "size": f"{arm.encoder.dimensions}x{arm.encoder.blocks}",
        "parameters": int(encoder.items_ND.size + sum(array.size for array in encoder.layers.values())),
        "length": arm.encoder.length,
        **_trained(store, arm, {arm.name: arm}),
        **found,
    }
