"""The pipelines behind an experiment's variants, and which of them answers whom.

Who sends no user id is in no experiment: the pipeline in use answers, and nothing is logged as an exposure. The same
goes for the ranking of given items in an interleaving, which shows one list of two pipelines; in a split, given items
are ranked by the user's variant.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from features.errors import BundleRefused, UnknownName
from features.events import ItemId, UserId
from models.interleaving import NOBODY, team_draft
from models.queries import Recommendation
from models.recommender import Pipeline
from services.experiments import CURRENT, POPULAR, Experiment, assign
from services.impressions import Exposure

logger = logging.getLogger(__name__)

_EVERYBODY = "both"  # the one part of an interleaving


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Who answers a part of a batch.

    rival: the pipeline whose list is interleaved with the first one's. exposure: what the answers are to a split.
    problems: what they have to do without.
    """

    pipeline: Pipeline
    rival: Pipeline | None = None
    exposure: Exposure | None = None
    problems: tuple[str, ...] = ()


class Variants:
    """The variants of an experiment; safe to use while another thread calls `take_live`.

    load: makes the pipeline of a bundle's name. A bundle that is missing or refused must not keep a server from its
    start, nor let an experiment go on in which one variant is not what it is called: then the experiment is off here,
    everybody is answered by the pipeline in use, nothing is logged as an exposure, and the answers to those who should
    have had the missing pipeline say so. `problems` has the reason, by bundle; `encodes` says whether one that answers
    for a named bundle has an encoder.
    """

    def __init__(self, experiment: Experiment, load: Callable[[str], Pipeline]) -> None:
        self.experiment = experiment
        self.problems: dict[str, str] = {}
        self._trained: dict[str, Pipeline] = {}
        for bundle in {variant.bundle for variant in experiment.variants.values()} - {CURRENT, POPULAR}:
            try:
                self._trained[bundle] = load(bundle)
            except (BundleRefused, UnknownName, OSError) as error:
                self.problems[bundle] = str(error)
                logger.error("experiment %s is off: %s", experiment.name, error)
            except Exception as error:
                self.problems[bundle] = f"{bundle}: {type(error).__name__}: {error}"
                logger.exception("experiment %s is off", experiment.name)
        self._live: Mapping[str, Pipeline] = self._trained
        self.encodes = any(pipeline.encoder_model is not None for pipeline in self._trained.values())

    def take_live(self, counts: Mapping[ItemId, float], decayed: Mapping[ItemId, float]) -> None:
        """Puts what is popular now into the pipelines of named bundles."""
        self._live = {bundle: pipeline.with_live(counts, decayed) for bundle, pipeline in self._trained.items()}

    def part(self, user: UserId, *, ranks: bool) -> str:
        """The part of a batch in which an ask is answered. ranks: it gives the items and wants their order."""
        if not user or (ranks and self.experiment.kind == "interleave"):
            return ""
        return assign(user, self.experiment) if self.experiment.kind == "split" else _EVERYBODY

    def route(self, part: str, current: Pipeline, popular: Pipeline) -> Route:
        """Who answers a part. current, popular: the pipeline in use, and the one that needs no bundle."""
        if not part:
            return Route(current)
        names = (part,) if self.experiment.kind == "split" else self.experiment.names
        bundles = [self.experiment.variants[name].bundle for name in names]
        if self.problems:
            missing = [bundle for bundle in bundles if bundle in self.problems]
            return Route(current, problems=tuple(f"answered without the bundle {bundle}" for bundle in missing))
        known = {CURRENT: current, POPULAR: popular, **self._live}
        if self.experiment.kind == "interleave":
            return Route(known[bundles[0]], rival=known[bundles[1]])
        return Route(known[bundles[0]], exposure=Exposure(self.experiment.name, part))

    def described(self, current: Pipeline, popular: Pipeline) -> dict[str, Any]:
        """As it stands in JSON: each variant's bundle, share, and model version, or why it has none."""
        known = {CURRENT: current, POPULAR: popular, **self._live}
        return {
            "name": self.experiment.name,
            "kind": self.experiment.kind,
            "on": not self.problems,
            "variants": {
                name: {
                    **variant.model_dump(exclude_none=True),
                    "model_version": known[variant.bundle].model if variant.bundle in known else None,
                    "problem": self.problems.get(variant.bundle),
                }
                for name, variant in self.experiment.variants.items()
            },
        }


def interleaved(
    experiment: Experiment, lists: tuple[Sequence[Recommendation], Sequence[Recommendation]], most: Sequence[int]
) -> list[tuple[Recommendation, Exposure]]:
    """One list of each pair, with what it is to the experiment; its id decides the coins.

    The two pipelines' scores do not compare, so an item's is 1 / place: who sorts by score keeps the order. What was
    removed is the first one's.
    """
    firsts, seconds = ([[candidate.item for candidate in one.items] for one in side] for side in lists)
    drafts = team_draft(firsts, seconds, most, [one.id for one in lists[0]])
    names = {0: experiment.names[0], 1: experiment.names[1], NOBODY: None}
    found = []
    for first, second, draft in zip(*lists, drafts, strict=True):
        theirs = [{candidate.item: candidate for candidate in one.items} for one in (first, second)]
        items = tuple(
            replace((theirs[team] if team != NOBODY else theirs[0] | theirs[1])[item], score=1 / place)
            for place, (item, team) in enumerate(zip(draft.items, draft.teams, strict=True), start=1)
        )
        model = first.model if first.model == second.model else f"{first.model}+{second.model}"
        exposure = Exposure(experiment.name, teams=[names[team] for team in draft.teams])
        found.append((replace(first, items=items, model=model), exposure))
    return found
