"""How well models rank: each user's held-out event among the whole catalogue, what the user has seen left out.

Every figure is a mean over users; over tie orders and seeds where several are asked for. The pipeline is measured as
it serves: queries in, lists out, with its filters and its diversity; an item that is not in its list has no rank.
Encoders and P5 are taken from where training has left them; what was trained for anything else is refused.
Shapes: U users, N items.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.errors import InvalidInput, UnknownName
from features.events import ItemId, UserId
from features.frames import Sequences, at_least, hold_out_last, ordered, sequences, split_at
from features.items import Item
from models.bundle import Progress, fit_bundle
from models.catalogue import Catalogue
from models.counts.fitting import COUNTING_MODELS, CountsConfig, ScoresHistories, Texts, fit_model, texts_of
from models.counts.neighbours import HISTORY_LENGTH
from models.encoders.config import KINDS as ENCODERS
from models.encoders.config import EncoderConfig, preset
from models.metrics import bootstrap as resampled
from models.metrics import ranks
from models.ranked import K, Measured, by_activity, figures, values_of
from models.recommender import DIVERSITY, Pipeline, Query
from models.vocabulary import Vocabulary

if TYPE_CHECKING:  # torch, which counting models do not wait for
    from models.encoders.cold import Embeds
    from models.encoders.store import EncoderPair, EncoderStore
    from models.p5.config import P5Config
    from models.p5.store import P5Store
    from models.p5.trained import P5

PIPELINES: Final = ("pipeline-p5", "pipeline", "pipeline-counts")
WITH_P5: Final = ("p5", "pipeline-p5")
MODELS: Final = (*COUNTING_MODELS, *ENCODERS, "p5", *PIPELINES)
FITS: Final = ("refit", "train")
SPLITS: Final = ("leave-one-out", "global")
GLOBAL_QUANTILE: Final = 0.9  # of the events' times; what is later is tested
_BLOCK: Final = 256

_SPLIT_IS: Final = {
    "leave-one-out": (
        "target: each user's last event; users with fewer than three events are left out; history: the events before"
    ),
    "global": (
        "fit before one date, the 0.9 quantile of all times; target: each user's first event from then on, for users "
        "with an event before; history: their events before"
    ),
}


_P5_IS: Final = (
    "trained without each user's last event of the history, by which training stops; no refit, whatever the fit; what "
    "its search does not find is beyond K"
)


@dataclass(frozen=True, slots=True)
class _Protocol:
    """How everything is measured; the arguments of `evaluate_ranking`."""

    fit: str
    split: str
    tie_orders: int
    seeds: int
    bootstrap: int
    diversity: float
    config: CountsConfig
    encoders: Mapping[str, EncoderConfig]
    p5: "P5Config | None"


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """What is measured on."""

    events: pl.DataFrame
    fingerprint: str
    vocabulary: Vocabulary
    texts: Texts
    catalogue: Catalogue
    store: "EncoderStore | None"
    p5s: "P5Store | None" = None
    embedder: "Embeds | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One order of ties: what is fitted on (history), fed (users' histories, as rows) and predicted (targets_U)."""

    tie_seed: int
    history: pl.DataFrame
    fed: Sequences
    targets_U: NDArray[np.int64]


def evaluate_ranking(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    fingerprint: str,
    models: Sequence[str],
    fit: str = "refit",
    split: str = "leave-one-out",
    tie_seeds: int = 1,
    seeds: int = 1,
    bootstrap: int = 0,
    config: CountsConfig | None = None,
    encoders: "EncoderStore | None" = None,
    encoder_configs: Mapping[str, EncoderConfig] | None = None,
    encoder: str = "sasrec",
    p5s: "P5Store | None" = None,
    p5_config: "P5Config | None" = None,
    embedder: "Embeds | None" = None,
    diversity: float = DIVERSITY,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """HR and NDCG of the models named, ready for JSON.

    fit: "refit" fits on all of the history, after the pipeline's weights were chosen on each user's last event of it by
    models that had not seen that event; "train" keeps those models. Either way the whole history is fed in. P5 is never
    refitted. tie_seeds: how many orders of equal times, the file's first. seeds: how many samples of validation users
    the weights are chosen on, and how many trainings of each encoder and P5. bootstrap: resamples of the users, for the
    spread and for the paired differences between the first of PIPELINES that is named and each other model.
    encoders: where trained ones are; encoder_configs: by kind, where not the preset. encoder: the kind that "pipeline"
    uses; "pipeline-counts" uses none, and "pipeline-p5" a P5 in its place. p5s, p5_config: of P5, and embedder of
    its semantic index. Raises InvalidInput, UnknownName (an encoder or a P5 that was not trained for this),
    BundleRefused.
    """
    _check(models, fit, split, tie_seeds, seeds)
    tie_orders = tie_seeds if _has_ties(events) else 1
    used = dict.fromkeys(encoder if name == "pipeline" else name for name in models)
    configs = {kind: (encoder_configs or {}).get(kind) or preset(kind) for kind in used if kind in ENCODERS}
    of_p5 = _p5_config(p5_config) if any(name in WITH_P5 for name in models) else None
    protocol = _Protocol(fit, split, tie_orders, seeds, bootstrap, diversity, config or CountsConfig(), configs, of_p5)
    data = replace(_data(events, items, fingerprint, encoders), p5s=p5s, embedder=embedder)
    tell = progress or _silence
    runs: dict[str, list[Measured]] = {name: [] for name in models}
    steps = tie_orders * sum(_runs(name, seeds) for name in models)
    for tie_seed in range(tie_orders):
        task = _task(data, split, tie_seed)
        for name in models:
            for seed in range(_runs(name, seeds)):
                tell(sum(map(len, runs.values())), steps, f"{name}, order of ties {tie_seed}")
                if name in PIPELINES:
                    pair = _pair(encoder, task, data, protocol, seed) if name == "pipeline" else None
                    p5 = _p5(name, task, data, protocol, seed) if name == "pipeline-p5" else None
                    measured = _measure_pipeline(pair, p5, task, data, protocol, seed)
                elif name == "p5":
                    measured = _measure_p5(_p5(name, task, data, protocol, seed), task)
                elif name in ENCODERS:
                    measured = _measure_encoder(_pair(name, task, data, protocol, seed), task)
                else:
                    measured = _measure_model(name, task, data, protocol)
                runs[name].append(measured)
    tell(steps, steps, "done")
    return _report(runs, np.diff(task.fed.starts_V), data, protocol)


def train_for_evaluation(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    fingerprint: str,
    configs: Sequence[EncoderConfig],
    encoders: "EncoderStore",
    fit: str = "refit",
    split: str = "leave-one-out",
    tie_seeds: int = 1,
    seeds: int = 1,
) -> list[dict[str, Any]]:
    """Has the store make every encoder that `evaluate_ranking` of the same arguments will load; what it made.

    Raises InvalidInput.
    """
    _check([config.kind for config in configs], fit, split, tie_seeds, seeds)
    tie_orders = tie_seeds if _has_ties(events) else 1
    by_kind = {config.kind: config for config in configs}
    protocol = _Protocol(fit, split, tie_orders, seeds, 0, DIVERSITY, CountsConfig(), by_kind, None)
    data = _data(events, items, fingerprint, encoders)
    made = []
    for seed in range(seeds):
        for tie_seed in range(tie_orders):
            task = _task(data, split, tie_seed)
            for kind in by_kind:
                pair = _pair(kind, task, data, protocol, seed)
                curve = pair.tuned.manifest["curves"]["ndcg@10"]
                made.append(
                    {
                        "kind": kind,
                        "tie_seed": tie_seed,
                        "seed": seed,
                        "epoch": pair.tuned.manifest["epoch"],
                        "validation_ndcg@10": max(curve, default=None),
                        "seconds": pair.tuned.manifest["seconds"],
                    }
                )
    return made


def _runs(name: str, seeds: int) -> int:
    return 1 if name in COUNTING_MODELS else seeds  # these draw nothing


def _p5_config(given: "P5Config | None") -> "P5Config":
    from models.p5.config import preset

    return given or preset()


def _silence(done: int, total: int, what: str) -> None:
    """For a caller who wants no progress."""


def _data(events: pl.DataFrame, items: pl.DataFrame, fingerprint: str, store: "EncoderStore | None") -> _Data:
    vocabulary = Vocabulary.of([*items["item"], *events["item"].drop_nulls()])
    texts = texts_of(items, vocabulary)
    catalogue = Catalogue(
        Item(ItemId(item), title, "", categories)
        for item, title, categories in zip(vocabulary.items, texts.titles, texts.categories, strict=True)
    )
    return _Data(events, fingerprint, vocabulary, texts, catalogue, store)


def _check(models: Sequence[str], fit: str, split: str, tie_seeds: int, seeds: int) -> None:
    for name in models:
        if name not in MODELS:
            raise UnknownName(f"no model {name!r}; there are {', '.join(MODELS)}")
    for field, value, choices in (("fit", fit, FITS), ("split", split, SPLITS)):
        if value not in choices:
            raise InvalidInput(field, f"{value!r} was given; it is one of {', '.join(choices)}")
    for field, number in (("tie_seeds", tie_seeds), ("seeds", seeds), ("models", len(models))):
        if number < 1:
            raise InvalidInput(field, "at least one is needed")


def _task(data: _Data, split: str, tie_seed: int) -> _Task:
    known = ordered(data.events, tie_seed)
    parts = hold_out_last(at_least(known, 3)) if split == "leave-one-out" else split_at(known, GLOBAL_QUANTILE)[0]
    if parts.targets.is_empty():
        raise InvalidInput("data", f"no user has events enough for the split {split!r}")
    of_targets = parts.history.join(parts.targets.select("user"), on="user", how="semi", maintain_order="left")
    fed = sequences(of_targets, data.vocabulary.items)
    targets = sequences(parts.targets, data.vocabulary.items)
    if fed.users != targets.users:
        raise AssertionError("histories and targets are of different users")
    return _Task(tie_seed, parts.history, fed, targets.items_E)


def _pair(kind: str, task: _Task, data: _Data, protocol: _Protocol, seed: int) -> "EncoderPair":
    from models.encoders.store import Cut

    if data.store is None:
        raise InvalidInput("models", f"{kind} is an encoder, and no store of trained encoders was given")
    cut = Cut(data.fingerprint, protocol.split, task.tie_seed)
    config = protocol.encoders[kind]
    return data.store.pair(task.history, data.vocabulary, data.texts, cut, config, seed, fit=protocol.fit)


def _p5(name: str, task: _Task, data: _Data, protocol: _Protocol, seed: int) -> "P5":
    """Trained without each user's last event of the history, whatever the fit."""
    from models.encoders.store import Cut

    if data.p5s is None:
        raise InvalidInput("models", f"{name} has a P5, and no store of trained ones was given")
    cut = Cut(data.fingerprint, protocol.split, task.tie_seed)
    known = task.history, data.vocabulary, data.texts
    return data.p5s.get(*known, cut, _p5_config(protocol.p5), seed, embedder=data.embedder)


def _measure_p5(p5: "P5", task: _Task) -> Measured:
    """P5 alone: the items that its search finds among all that the user has not had."""
    from models.p5.past import Person

    whole = task.fed.histories()
    found = p5.next_items([Person(rows.tolist()) for rows in whole], k=K, seen=whole)
    is_target_UK = found.rows_BK == task.targets_U[:, None]
    ranks_U = np.where(is_target_UK.any(axis=1), is_target_UK.argmax(axis=1) + 1, K + 1)
    return Measured(ranks_U.astype(np.int64), p5.said["seconds"], {})


def _measure_encoder(pair: "EncoderPair", task: _Task) -> Measured:
    """The encoder alone: every item by its inner product with the user's vector."""
    encoder = pair.kept.retriever.encoder
    vectors_UD = encoder.vectors(task.fed.histories(HISTORY_LENGTH), *task.fed.told(HISTORY_LENGTH))
    whole = task.fed.histories()
    found = []
    for start in range(0, len(whole), _BLOCK):
        scores_UN = vectors_UD[start : start + _BLOCK] @ encoder.vectors_ND.T
        found.append(_masked_ranks(scores_UN, whole[start : start + _BLOCK], task.targets_U[start : start + _BLOCK]))
    seconds = pair.kept.manifest["seconds"]
    return Measured(np.concatenate(found), seconds, {})


def _measure_model(name: str, task: _Task, data: _Data, protocol: _Protocol) -> Measured:
    start = time.perf_counter()
    history = task.history if protocol.fit == "refit" else hold_out_last(at_least(task.history, 2)).history
    model = fit_model(name, sequences(history, data.vocabulary.items), data.texts, protocol.config)
    fit_s = time.perf_counter() - start
    return Measured(_ranks(model, task), fit_s, {})


def _ranks(model: ScoresHistories, task: _Task) -> NDArray[np.int64]:
    recent, whole = task.fed.histories(HISTORY_LENGTH), task.fed.histories()
    found = []
    for start in range(0, len(recent), _BLOCK):
        scores_UN = np.array(model.scores(recent[start : start + _BLOCK]))
        found.append(_masked_ranks(scores_UN, whole[start : start + _BLOCK], task.targets_U[start : start + _BLOCK]))
    return np.concatenate(found)


def _masked_ranks(
    scores_UN: NDArray[np.float32], seen: Sequence[NDArray[np.int64]], targets_U: NDArray[np.int64]
) -> NDArray[np.int64]:
    for place, rows in enumerate(seen):
        scores_UN[place, rows] = -np.inf
    return ranks(scores_UN, targets_U)


def _measure_pipeline(
    pair: "EncoderPair | None", p5: "P5 | None", task: _Task, data: _Data, protocol: _Protocol, seed: int
) -> Measured:
    start = time.perf_counter()
    bundle = fit_bundle(
        task.history,
        data.vocabulary,
        data.texts,
        fingerprint=data.fingerprint,
        fit=protocol.fit,
        config=protocol.config,
        seed=seed,
        encoder=pair,
        p5=p5,
    )
    fit_s = time.perf_counter() - start
    pipeline = Pipeline(bundle, data.catalogue, diversity=protocol.diversity)
    names = data.vocabulary.items
    ranks_U = np.full(len(task.targets_U), K + 1, np.int64)
    whole, (times, values) = task.fed.histories(), task.fed.told()
    for first in range(0, len(whole), _BLOCK):
        users = range(first, min(first + _BLOCK, len(whole)))
        queries = [
            Query(
                UserId(task.fed.users[user]),
                tuple(names[row] for row in whole[user].tolist()),
                k=K,
                times_L=times[user],
                values_L=values[user],
            )
            for user in users
        ]
        for user, answer in zip(users, pipeline.recommend(queries), strict=True):
            target = names[task.targets_U[user]]
            for place, candidate in enumerate(answer.items, start=1):
                if candidate.item == target:
                    ranks_U[user] = place
    return Measured(ranks_U, fit_s, bundle.manifest["weights"])


def _report(
    runs: Mapping[str, Sequence[Measured]], histories: NDArray[np.int64], data: _Data, protocol: _Protocol
) -> dict[str, Any]:
    bootstrap = protocol.bootstrap
    report: dict[str, Any] = {
        "data": {
            "users": data.events["user"].n_unique(),
            "items": len(data.vocabulary),
            "events": data.events.height,
            "fingerprint": data.fingerprint,
        },
        "protocol": {
            **asdict(protocol),
            "split_is": _SPLIT_IS[protocol.split],
            "ranked": "the whole catalogue without the items of the history; ties against the target",
            "history_length": HISTORY_LENGTH,
            "explore": "of no effect here: every item is in the vocabulary",
            **({} if protocol.p5 is None else {"p5_is": _P5_IS}),
        },
        "models": {name: figures(measured, bootstrap) for name, measured in runs.items()},
        "by_activity": by_activity(runs, histories),
    }
    first = next((name for name in PIPELINES if name in runs), None)
    if first is not None:
        chosen = [measured.weights for measured in runs[first]]
        report["weights"] = {name: [weights[name] for weights in chosen] for name in chosen[0]}
        others = {name: values_of(measured) for name, measured in runs.items() if name != first}
        if bootstrap and others:
            pipeline_U = values_of(runs[first])
            report["comparisons"] = {
                f"{first} - {name}": {"ndcg@10": asdict(resampled(pipeline_U - values_U, bootstrap, seed=0))}
                for name, values_U in others.items()
            }
    return report


def _has_ties(events: pl.DataFrame) -> bool:
    """Whether any user has two events at one time; if none has, every order of ties is the same."""
    return bool(events.select(pl.struct("user", "at").is_duplicated().any()).item())
