"""What weights updated by a user's stream are worth: questions about users of whom training has asked none, put to
every arm; what a request costs as a history grows, what an update costs, and what it changes besides.

Shapes: Q questions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from features.errors import InvalidInput
from models.soft_prompt.arms import LORA, OF_ANOTHER
from models.soft_prompt.comparing import AVERAGE, Drawn, Sheet, differences, spread
from models.soft_prompt.drawing import even
from models.soft_prompt.evaluation import by_history, costs, figures, guessed, right, trained
from models.soft_prompt.questions import Question
from models.soft_prompt.report import report
from models.soft_prompt.telling import TOKENS_MOST
from models.stream_adapter import costs as measuring
from models.stream_adapter.arm_store import Arms
from models.stream_adapter.arms import CONSTANT, OWN, RECENT, AdapterArm, Arm, OwnContextArm
from models.stream_adapter.claims import TEXT, claims, rival

LATE: Final = "1024"  # tokens of a history that holds the newest events of every RECENT arm: where these are compared

_PROTOCOL: Final = {
    "questions": "of users that no question of the training is about, as many as can be; each asked at a moment after "
    "which nothing is read; every rank of the truth by popularity equally often in every task",
    "accuracy": "a task's is the share of its questions whose likeliest choice is the true one, a dimension's the mean "
    "of its tasks', the average the mean of the dimensions'; 95 % by bootstrap of users, differences paired",
    "tokens": "of a prompt before its answer; history_tokens: those that tell of the user, in vectors or in words",
    "latency": "of one question, by the tokens that the user's history takes in words; ratio: to the same question to "
    "the model alone, asked in turn; what is kept of a user between requests is at hand; text-full is asked for "
    f"accuracy with at most {TOKENS_MOST} tokens, and timed with all",
    "update": "milliseconds to bring what is kept of a user up to a few more events, and bytes of all that is kept",
    "drift": "text: how much likelier a token of a text about nobody becomes, in nats, on average over updates and at "
    "most; others: the largest change of a score of who has no update, asked beside those who have",
    "trained": "minutes of the process's time on its cores, with what is measured between; questions: asked in them",
    "text": f"of the tuned texts, the one that takes 1.5 times the adapted latency or the next more, at {LATE} tokens",
    "history": "thirds of the questions by how many events are known of the user",
    OWN: "asked fewer questions, and compared on these",
}


def evaluate_adaptation(
    store: Arms,
    drawn: Sequence[Question],
    names: Sequence[str],
    *,
    seed: int = 0,
    each: int = 100,
    few: int = 24,
    bootstrap: int = 1000,
    points: Sequence[AdapterArm] = (),
) -> dict[str, Any]:
    """The report, in JSON values.

    drawn: questions about users of the test, of which `each` of a task are put at most, `few` where every request tunes
    the model. names: of the arms of the store, and of guesses, that are evaluated; points of an ablation besides.

    Raises InvalidInput when the questions are too few to be even, and what `Arms.scored` does.
    """
    questions = spread(even(drawn, seed), each, seed)
    if not questions:
        raise InvalidInput("data", f"{len(drawn)} questions are too few to ask every rank of the truth equally often")
    some = spread(questions, few, seed)
    sheet, sheet_of_some = Sheet.of(questions, bootstrap, seed), Sheet.of(some, bootstrap, seed)
    place_of = {question: place for place, question in enumerate(questions)}
    places = [place_of[question] for question in some]
    cuts_Q = np.array([question.cut for question in questions], np.int64)
    accuracies: dict[str, Drawn] = {}
    of_some: dict[str, Drawn] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        arm = store.arms.get(name)
        if arm is None:
            right_Q = guessed(name, questions)
            cost: dict[str, Any] = {"tokens": 0.0, "history_tokens": 0.0, "latency_ms": 0.0}
        else:
            is_few = isinstance(arm, OwnContextArm)
            scored = store.scored(arm, some if is_few else questions)
            right_Q = right(scored, some if is_few else questions)
            cost = {**costs(scored), **measuring.told(store.measured(arm, questions)), "trained": _trained(store, arm)}
            if is_few:
                of_some[name] = sheet_of_some.accuracies(right_Q)
                found[name] = {**figures(of_some[name]), "questions": len(some), **cost}
                continue
        accuracies[name], of_some[name] = sheet.accuracies(right_Q), sheet_of_some.accuracies(right_Q[places])
        found[name] = {**figures(accuracies[name]), **cost, "history": by_history(sheet, right_Q, cuts_Q)}
    log = store.words.log
    return {
        "data": {
            "users": len(log.past.users),
            "items": len(log.vocabulary),
            "events": len(log.past.items_E),
            "test_users": len({question.user for question in questions}),
        },
        "protocol": {**_PROTOCOL, "seed": seed, "bootstrap": bootstrap, "questions_each": each, "questions_few": few},
        "questions": report(questions, store.words.data.questions),
        "arms": found,
        **_compared([name for name in names if _is_adapted(store.arms.get(name))], accuracies, of_some, found),
        "ablation": [_point(store, arm, questions, sheet) for arm in points] or None,
    }


def _is_adapted(arm: Arm | None) -> bool:
    """Whether it answers by the stream of the user who is asked about."""
    return isinstance(arm, AdapterArm) and arm.config.source == "user" and not arm.is_stranger


def _trained(store: Arms, arm: Arm) -> dict[str, Any] | None:
    manifest = store.learnt(arm)
    return None if manifest is None else trained(arm.learnt, manifest)


def _compared(
    names: Sequence[str],
    accuracies: Mapping[str, Drawn],
    of_some: Mapping[str, Drawn],
    found: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """{differences, claims} of the adapted arms of these names."""
    apart: dict[str, dict[str, Any]] = {}
    claimed: dict[str, dict[str, Any]] = {}
    for name in names:
        text = _text(name, found)
        others = {
            "zero-shot": "zero-shot",
            "popularity": "popularity",
            "constant": CONSTANT + name,
            "another user": name + OF_ANOTHER,
            TEXT: text,
        }
        gaps = {
            kind: differences(accuracies[name], accuracies[other])
            for kind, other in others.items()
            if other is not None and other in accuracies
        }
        apart |= {f"{name} - {others[kind]}": gap for kind, gap in gaps.items()}
        if OWN in of_some:
            apart[f"{name} - {OWN}"] = differences(of_some[name], of_some[OWN])
        stray = None
        if {"constant", "another user"} <= gaps.keys():
            of_stray = differences(accuracies[name + OF_ANOTHER], accuracies[CONSTANT + name])
            apart[f"{name}{OF_ANOTHER} - {CONSTANT}{name}"], stray = of_stray, of_stray[AVERAGE]
        claimed[name] = claims(gaps, stray, text)
    return {"differences": apart, "claims": claimed}


def _text(name: str, found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The tuned text that an adapted arm is compared with, which takes as long as the same text untuned; None where
    that cannot be told."""

    def latency(other: str) -> float | None:
        one = found.get(other) or found.get(other.removesuffix(LORA))
        return None if one is None else float(one["latency"][LATE]["ratio"])

    own = latency(name)
    return None if own is None else rival(own, {other: latency(other) for other in RECENT})


def _point(store: Arms, arm: AdapterArm, questions: Sequence[Question], sheet: Sheet) -> dict[str, Any]:
    found = figures(sheet.accuracies(right(store.scored(arm, questions), questions)))
    del found["tasks"]
    return {
        "arm": arm.name,
        "rank": arm.config.rank,
        "chunk": arm.config.chunk,
        "distil": arm.config.distil,
        "trained": _trained(store, arm),
        **found,
    }
