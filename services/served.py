"""The bundle that answers: loaded aside, checked, warmed, taken up whole when the name in use changes.

A bundle that is refused is kept out and named with its reason; what answered before goes on answering.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from features.errors import BundleRefused, UnknownName
from features.events import UserId
from models.bundle import Bundle
from models.catalogue import Catalogue
from models.recommender import Pipeline, Query
from services.bundles import load
from services.metrics import Metrics
from services.promotions import current_name, in_use_before, journal, pointer
from services.settings import Settings

if TYPE_CHECKING:  # torch, which a server whose bundle has no P5 does not wait for
    from models.p5.answering import Answerer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A bundle and the pipeline built from it, ready to answer. answerer: of questions, where the bundle has a P5."""

    bundle: Bundle
    pipeline: Pipeline
    answerer: "Answerer | None" = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A bundle that is named and not used."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """What a server answers with. served: None for popularity alone. since: epoch seconds. refused: the bundle in use
    by name, when it could not be taken up."""

    served: Served | None
    since: float
    refused: Refusal | None = None


def load_served(settings: Settings, name: str, catalogue: Catalogue) -> Served:
    """A bundle by its name, checked, its pipeline warm: the first request finds the catalogue in its rows.

    Raises UnknownName, BundleRefused, OSError.
    """
    bundle = load(settings, name)
    pipeline = Pipeline(bundle, catalogue, explore=settings.explore, verb=settings.verb)
    pipeline.recommend([Query(UserId(""), bundle.vocabulary.items[:1])])
    return Served(bundle, pipeline, None if bundle.p5 is None else bundle.p5.answerer)


class Following:
    """Follows the name of the bundle in use. `answering` is replaced whole; one thread looks, any number read."""

    def __init__(self, settings: Settings, catalogue: Catalogue, clock: Callable[[], float], metrics: Metrics) -> None:
        self.answering = Answering(None, clock())
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock
        self._metrics = metrics
        self._seen: tuple[int, ...] = ()

    def start(self) -> None:
        """Takes up the bundle in use; where that is refused, the last one in use before it that is not."""
        self.look()
        refused = self.answering.refused
        if refused is None:
            return
        for name in dict.fromkeys(in_use_before(journal(self._settings), refused.name)):
            served = self._load(name)
            if isinstance(served, Served):
                logger.warning("%s answers in place of %s", name, refused.name)
                self.answering = Answering(served, self._clock(), refused)
                return

    def look(self) -> None:
        """Looks whether the name in use has changed, and takes its bundle up."""
        seen = self._signature()
        if seen in ((), self._seen):
            return
        self._seen = seen
        try:
            name = current_name(self._settings)
        except OSError as error:
            logger.error("which bundle is in use cannot be read: %s", error)
            self._kept_out(Refusal(str(pointer(self._settings)), str(error)))
            return
        served = self.answering.served
        if name is None:
            return
        if served is not None and served.bundle.name == name:
            self._kept_out(None)
            return
        found = self._load(name)
        if isinstance(found, Refusal):
            self._kept_out(found)
            return
        logger.info("%s answers", name)
        self._metrics.model_swaps.inc()
        self._metrics.model_refused.set(0)
        self.answering = Answering(found, self._clock())

    def _load(self, name: str) -> Served | Refusal:
        try:
            return load_served(self._settings, name, self._catalogue)
        except (BundleRefused, UnknownName, OSError) as error:
            logger.error("the bundle %s is refused: %s", name, error)
            return Refusal(name, str(error))
        except Exception as error:
            logger.exception("the bundle %s is refused", name)
            return Refusal(name, f"{type(error).__name__}: {error}")

    def _kept_out(self, refused: Refusal | None) -> None:
        if refused is not None:
            self._metrics.model_refusals.inc()
        self._metrics.model_refused.set(refused is not None)
        self.answering = replace(self.answering, refused=refused)

    def _signature(self) -> tuple[int, ...]:
        """What differs after the file was replaced, without reading it; () when there is none."""
        try:
            found = pointer(self._settings).stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
