"""What is said of users now: the stored summary with corrections in place, by template where none is stored yet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from features.errors import InvalidInput, UnknownName
from features.events import ItemId, UserId
from features.history import UserHistory
from features.items import Item
from features.profile import Correction, Position, StoredSummary, UserSummary
from features.profiles import ProfileStore
from features.summaries import UserSummaries
from models.summaries.computing import facts_of, frame_of, items_frame
from models.summaries.correcting import corrected, facts_told_anew
from models.summaries.fact import Fact, digest
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.summarising import TEMPLATE
from models.summaries.wording import from_template, sentence

CORRECTIONS_MOST: Final = 100  # of one user
NOBODY: Final = "no events of this user are known, so there is nothing to correct"
NAMED_MOST: Final = 20  # in a message


@dataclass(frozen=True, slots=True)
class Told:
    """summary: the version that is shown, corrections in place; None for a user nobody has heard of. stored: what is
    kept of this kind, as it was made; without versions the summary was made just now, and is not kept."""

    history: UserHistory
    summary: UserSummary | None
    stored: StoredSummary
    corrections: tuple[Correction, ...]

    @property
    def is_current(self) -> bool:
        """Whether the summary has seen all that the profile has."""
        return self.summary is not None and self.summary.as_of == self.history.as_of


class Summaries:
    """Reads what is said of users, and takes corrections.

    item: an item of the catalogue as it is now. clock: epoch seconds.
    """

    def __init__(self, store: ProfileStore, item: Callable[[ItemId], Item | None], clock: Callable[[], float]) -> None:
        self._store = store
        self._item = item
        self._clock = clock

    def read(self, users: Sequence[UserId], kind: SummaryKind = SummaryKind.GENERAL) -> list[Told]:
        """The newest summary of each user, in one round trip. Raises StoreUnavailable."""
        return [self.tell(history, said, kind) for history, said in self._store.read_with_summaries(users)]

    def read_version(self, user: UserId, kind: SummaryKind, version: int) -> Told:
        """One that is kept, 1 the newest. Raises UnknownName for one that is not, StoreUnavailable."""
        [(history, said)] = self._store.read_with_summaries([user])
        return self.tell(history, said, kind, version)

    def tell(self, history: UserHistory, said: UserSummaries, kind: SummaryKind, version: int = 1) -> Told:
        """The same from what was read. version: which of those that are kept, 1 the newest.

        Raises UnknownName for one that is not kept.
        """
        stored, corrections = said.of(kind), said.corrections
        if history.as_of is None:
            return Told(history, None, stored, corrections)
        if version > max(1, len(stored.versions)):
            raise UnknownName(
                f"version {version} is not kept; of this kind there are {len(stored.versions)}, 1 the newest"
            )
        if stored.versions:
            summary = stored.versions[version - 1]
            facts = self._facts(history) if facts_told_anew(summary.claims, corrections) else ()
        else:
            facts = self._facts(history)
            summary = by_template(chosen(facts, kind), kind, history.as_of, self._clock())
        by_key = {fact.key: fact for fact in (*facts, *chosen(facts, kind))}
        claims = corrected(summary.claims, corrections, by_key)
        return Told(history, replace(summary, claims=claims), stored, corrections)

    def correct(self, user: UserId, corrections: Sequence[Correction], removed: Sequence[str] = ()) -> None:
        """Takes corrections of facts of this user, and takes back those of the facts `removed`.

        One that is pinned without a text says from now on what the template says of the fact now. Raises UnknownName
        when no events of the user are known, InvalidInput for a fact that the user does not have, unless it is pinned
        with a text, and for more than CORRECTIONS_MOST.
        """
        [(history, said)] = self._store.read_with_summaries([user])
        if not history.encoded:
            raise UnknownName(NOBODY)
        known = {fact.key: fact for fact in self._facts(history)}
        stated = {
            key for kind in said.kinds for one in said.of(kind).versions for claim in one.claims for key in claim.facts
        }
        held = {one.fact for one in said.corrections}
        for place, fact in enumerate(removed):
            if fact not in held:
                raise InvalidInput(f"removed.{place}", f"{fact!r} has no correction; there are {_listed(held)}")
        taken = []
        for place, one in enumerate(corrections):
            if one.is_pinned and one.text is None:
                if one.fact not in known:
                    raise InvalidInput(f"corrections.{place}.text", f"{one.fact!r} is no fact now; say what is pinned")
                one = replace(one, text=sentence(known[one.fact]))
            elif not one.is_pinned and one.fact not in known.keys() | stated | held:
                raise InvalidInput(f"corrections.{place}.fact", f"{one.fact!r} is none; there are {_listed(known)}")
            taken.append(one)
        if len(held.difference(removed).union(one.fact for one in taken)) > CORRECTIONS_MOST:
            raise InvalidInput("corrections", f"at most {CORRECTIONS_MOST} of a user are kept; remove some first")
        if not self._store.write_corrections(history, taken, removed):  # erased a moment ago
            raise UnknownName(NOBODY)

    def _facts(self, history: UserHistory) -> tuple[Fact, ...]:
        items = (self._item(item) for item in dict.fromkeys(event.item for event in history.events if event.item))
        frames = frame_of([history]), items_frame(item for item in items if item is not None)
        return facts_of(*frames).get(history.user, ())


def by_template(facts: Sequence[Fact], kind: SummaryKind, as_of: Position, now: float) -> UserSummary:
    """A summary that no generator has had a hand in. now: epoch seconds."""
    return UserSummary(kind, from_template(facts), digest(facts), TEMPLATE, "", now, as_of)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:NAMED_MOST]) or "none"
