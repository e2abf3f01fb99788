"""What a P5 reaches in every family, for wordings that it was trained on and for those that it never met.

Leave-one-out by time: each user's last event is asked about; the model is trained without the last two, by the second
to last of which training stops; told are all events before the target. No refit.
Shapes: U users, X exams.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from features.errors import InvalidInput
from features.frames import at_least, hold_out_last, ordered, sequences
from models.counts.fitting import Texts, texts_of
from models.encoders.cold import Embeds
from models.encoders.store import Cut
from models.p5.biases import Biased, biased
from models.p5.config import P5Config
from models.p5.corpus import Corpus
from models.p5.exams import Exam, exams
from models.p5.grading import Grades, figures, grade
from models.p5.measures import rmse_difference
from models.p5.reading import p5_data, reviews_of
from models.p5.replies import TEXT_TOKENS, K, Reply, replies
from models.p5.sensitivity import changes, over_pairs
from models.p5.store import P5Store, training_data
from models.p5.templates import Family, Task, Template, tasks_of, templates_of
from models.p5.train import Progress
from models.p5.trained import BEAMS, P5
from models.vocabulary import Vocabulary

MOST_USERS: Final = 2000  # of tasks besides the two below: an interval is then some .01 wide
WHOLE: Final = (Task.NEXT, Task.STARS)  # everybody is asked
SENSITIVITY_USERS: Final = 200
KINDS: Final = ("seen", "held_out")

_PROTOCOL: Final = {
    "split_is": (
        "target: each user's last event; users with fewer than three events are left out; trained without the last "
        "two events, told of all before the target; no refit"
    ),
    "next": f"the whole catalogue without the items of the history, {BEAMS} beams; beyond {K} is not found",
    "pick": "hr@1 and ndcg@10 among the candidates, the target and items that the user has not had; ties against it",
    "verdicts": "each user asked twice, about the truth and about something else; auc of P(yes), or of P(like); "
    "always: the accuracy of one answer to all",
    "stars": "the mean of the five star words by their probabilities, every prediction counted",
    "baseline": "user and item bias, its strength chosen on the events that training stops by, fitted on those and on "
    "what P5 was trained on, for P5's prompts tell of both; train_rmse: fitted on the latter alone",
    "texts": f"the likeliest word by word, at most {TEXT_TOKENS} tokens; bleu-4 of all texts, rouge their mean F1; "
    "distinct: the share of different texts",
    "templates": "figures are means over templates; those of a family are of its first task",
    "sensitivity": "POSIX: mean of |log P(y_i|i) - log P(y_i|j)| / tokens of y_i over ordered pairs of templates; "
    "held_out: pairs with a template that is held out",
    "users_most": {"next, stars": "all", "other tasks": MOST_USERS, "sensitivity": SENSITIVITY_USERS},
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What a data set gives to be measured on. history: what P5 may be trained on, all but its last event of each user.

    corpus: of the history, its targets the events that are asked about.
    """

    history: pl.DataFrame
    vocabulary: Vocabulary
    texts: Texts
    corpus: Corpus


def case_of(events: pl.DataFrame, items: pl.DataFrame, config: P5Config) -> Case:
    """Raises InvalidInput when no user has three events."""
    parts = hold_out_last(at_least(ordered(events), 3))
    if parts.targets.is_empty():
        raise InvalidInput("data", "no user has three events; bring more events")
    vocabulary = Vocabulary.of([*items["item"], *events["item"].drop_nulls()])
    texts = texts_of(items, vocabulary)
    data = p5_data(
        sequences(parts.history, vocabulary.items),
        texts,
        sequences(parts.targets, vocabulary.items),
        reviews=reviews_of(parts.history, vocabulary.items),
        target_reviews=reviews_of(parts.targets, vocabulary.items),
    )
    return Case(parts.history, vocabulary, texts, Corpus(data, config.mix))


def trained_p5(
    case: Case, fingerprint: str, store: P5Store, config: P5Config, seed: int = 0, embedder: Embeds | None = None
) -> P5:
    """The model that may be measured on this case. Raises UnknownName when it is missing and may not be trained."""
    cut = Cut(fingerprint, "leave-one-out")
    return store.get(case.history, case.vocabulary, case.texts, cut, config, seed, embedder=embedder)


def evaluate_p5(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    fingerprint: str,
    store: P5Store,
    config: P5Config,
    seed: int = 0,
    bootstrap: int = 0,
    embedder: Embeds | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of each family, and how much the wording matters, ready for JSON.

    seed: of the training. bootstrap: resamples of the users for the intervals. embedder: of a semantic index. Raises
    InvalidInput for too few events, UnknownName for a P5 that was not trained for exactly this, BundleRefused.
    """
    case = case_of(events, items, config)
    p5 = trained_p5(case, fingerprint, store, config, seed, embedder)
    families, left_out = _families(p5)
    asked = {task: _exams(p5, case.corpus, task) for family in families for task in tasks_of(family)}
    steps, done = sum(len(_templates(task)) for task, exams_X in asked.items() if exams_X), 0

    def tell(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, steps, what)
        done += 1

    measured: dict[str, dict[str, Any]] = {}
    sensitivity: dict[str, dict[str, Any]] = {}
    for family in families:
        of_tasks = {
            task: _of_task(p5, case, task, asked[task], bootstrap, tell) for task in tasks_of(family) if asked[task]
        }
        if not of_tasks:
            left_out.append(f"{family} is left out: it can be asked about no target")
            continue
        by_task = {task: by_kind for task, (by_kind, _) in of_tasks.items()}
        measured[family.value] = _of_family(family, by_task, case.corpus)
        sensitivity[family.value] = _of_pairs({task: of_pairs for task, (_, of_pairs) in of_tasks.items()})
    tell("done")
    return {
        "data": {
            "users": events["user"].n_unique(),
            "items": len(case.vocabulary),
            "events": events.height,
            "fingerprint": fingerprint,
            "users_measured": int((case.corpus.data.targets_U >= 0).sum()),
        },
        "protocol": {**_PROTOCOL, "seed": seed, "bootstrap": bootstrap, "config": asdict(config)},
        "trained": {
            "epoch": p5.said["epoch"],
            "seconds": p5.said["seconds"],
            "validation_ndcg@10": max(p5.said["curves"]["ndcg@10"]),
        },
        "families": measured,
        "left_out": left_out,
        "prompt_sensitivity": sensitivity,
    }


def _families(p5: P5) -> tuple[list[Family], list[str]]:
    """Those that the model was trained on, and why not the others."""
    trained = [family for family in p5.families if getattr(p5.config, family) > 0]
    without = [family for family in p5.families if family not in trained]
    return trained, [*p5.left_out, *(f"{family} is left out: its share in the training was 0" for family in without)]


def _templates(task: Task) -> list[Template]:
    return [*templates_of(task), *templates_of(task, held_out=True)]


def _exams(p5: P5, corpus: Corpus, task: Task) -> list[Exam]:
    """Asked with what the model knows of the items: what others gave them in its training."""
    found = exams(corpus, task, asker=p5.asker)
    return found if task in WHOLE else [found[place] for place in _of_some(found, MOST_USERS)]


def _of_some(asked: Sequence[Exam], most: int) -> list[int]:
    """The places of the exams of at most so many of the users, evenly spread over all."""
    users = list(dict.fromkeys(one.user for one in asked))
    chosen = {users[place * len(users) // most] for place in range(most)} if len(users) > most else set(users)
    return [place for place, one in enumerate(asked) if one.user in chosen]


def _of_task(
    p5: P5, case: Case, task: Task, asked: Sequence[Exam], bootstrap: int, tell: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, float | None]]:
    """(figures by kind of template, the prompt sensitivity)"""
    said: dict[Template, list[Reply]] = {}
    graded: dict[str, dict[str, Grades]] = {kind: {} for kind in KINDS}
    for template in _templates(task):
        tell(template.id)
        said[template] = replies(p5, case.corpus, asked, template)
        graded[KINDS[template.held_out]][template.id] = grade(task, asked, said[template])
    found = {kind: figures(task, asked, of_kind, bootstrap) for kind, of_kind in graded.items() if of_kind}
    if task is Task.STARS:
        biased = _biased(case, asked)
        for kind, by_measure in found.items():
            errors_TX = np.stack([one.errors_X for one in graded[kind].values()])
            by_measure["baseline"] = biased.described()
            by_measure["rmse - baseline"] = asdict(rmse_difference(errors_TX, biased.errors_X, bootstrap, seed=0))
    fewer = _of_some(asked, SENSITIVITY_USERS)
    kept = {template: [own[place] for place in fewer] for template, own in said.items()}
    return found, over_pairs(changes(p5, [asked[place] for place in fewer], kept), list(kept))


def _biased(case: Case, asked: Sequence[Exam]) -> Biased:
    """What the biases say to the same exams."""
    data = training_data(case.history, case.vocabulary, case.texts)
    if data.n_users != case.corpus.data.n_users:
        raise AssertionError("training and exams are of different users")
    users_X, items_X = np.array([one.user for one in asked]), np.array([one.item for one in asked])
    return biased(data, (users_X, items_X, np.array([one.stars for one in asked], np.float64)))


def _of_family(family: Family, by_task: Mapping[Task, Mapping[str, dict[str, Any]]], corpus: Corpus) -> dict[str, Any]:
    """By kind of template: the figures of the first task, and those of every task."""
    found: dict[str, Any] = {}
    first = next(iter(by_task))
    for kind in KINDS:
        of_kind = {task.value: by_kind[kind] for task, by_kind in by_task.items() if kind in by_kind}
        templates = sum(one["templates"] for one in of_kind.values())
        of_first = {name: value for name, value in of_kind.get(first.value, {}).items() if name != "by_template"}
        found[kind] = {**of_first, "task": first.value, "templates": templates, "tasks": of_kind}
    if family is Family.REVIEW:
        found["made_from"] = "reviews"
    elif family is Family.EXPLANATION:
        found["made_from"] = corpus.explains_by
    return found


def _of_pairs(by_task: Mapping[Task, Mapping[str, float | None]]) -> dict[str, Any]:
    """The means over tasks, and those of every task."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        values = [value for one in by_task.values() if (value := one[kind]) is not None]
        found[kind] = float(np.mean(values)) if values else None
    return found | {"tasks": {task.value: dict(one) for task, one in by_task.items()}}
