"""What is said about a user, as it is stored: one hash a user, a field for each kind of summary and each correction.

    s:KIND   revision u32, big-endian | JSON {"stale", "versions": [{"claims": [[text, facts, evidence]...], ...}...]}
    c:FACT   JSON {"text", "is_pinned", "made_at"}

The revision counts the writes of its field: `summaries.lua` refuses one that was made from an older reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Any, Final

import orjson

from features.profile import Claim, Correction, Position, StoredSummary, UserSummary

VERSIONS_KEPT: Final = 5
_REVISION: Final = Struct(">I")
_SUMMARY: Final = b"s:"
_CORRECTION: Final = b"c:"


@dataclass(frozen=True, slots=True)
class UserSummaries:
    """Everything that is stored about a user in words. encoded: as the module says; decoded when it is asked for."""

    encoded: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are stored."""
        return tuple(sorted(name[2:].decode() for name in self.encoded if name.startswith(_SUMMARY)))

    def of(self, kind: str) -> StoredSummary:
        """The summary of this kind; without versions when none was made."""
        stored = self.encoded.get(summary_field(kind))
        return StoredSummary() if stored is None else decode_summary(stored)

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """What operators have said, in the order in which they said it."""
        found = [
            Correction(name[2:].decode(), **orjson.loads(value))
            for name, value in self.encoded.items()
            if name.startswith(_CORRECTION)
        ]
        return tuple(sorted(found, key=lambda one: (one.made_at, one.fact)))


def with_version(stored: StoredSummary, summary: UserSummary) -> StoredSummary:
    """With `summary` as the newest version and nothing stale; of versions made of the same facts it alone stays."""
    others = [version for version in stored.versions if version.facts != summary.facts]
    return replace(stored, versions=(summary, *others)[:VERSIONS_KEPT], stale="")


def summary_field(kind: str) -> bytes:
    return _SUMMARY + kind.encode()


def correction_field(fact: str) -> bytes:
    return _CORRECTION + fact.encode()


def encode_summary(stored: StoredSummary) -> bytes:
    """What is written over the stored one that `stored` was made from: its revision is one more."""
    versions = [
        {
            "kind": version.kind,
            "claims": [[claim.text, claim.facts, claim.evidence] for claim in version.claims],
            "facts": version.facts,
            "model": version.model,
            "prompt": version.prompt,
            "made_at": version.made_at,
            "as_of": str(version.as_of),
        }
        for version in stored.versions
    ]
    return _REVISION.pack(stored.revision + 1) + orjson.dumps({"stale": stored.stale, "versions": versions})


def decode_summary(encoded: bytes) -> StoredSummary:
    """The summary of a field's value."""
    (revision,) = _REVISION.unpack_from(encoded)
    value = orjson.loads(encoded[_REVISION.size :])
    return StoredSummary(tuple(map(_version, value["versions"])), value["stale"], revision)


def encode_correction(correction: Correction) -> bytes:
    """The field's value; the fact stands in the field's name."""
    return orjson.dumps({"text": correction.text, "is_pinned": correction.is_pinned, "made_at": correction.made_at})


def _version(value: dict[str, Any]) -> UserSummary:
    claims = tuple(Claim(text, tuple(facts), tuple(evidence)) for text, facts, evidence in value["claims"])
    return UserSummary(**value | {"claims": claims, "as_of": Position.parse(value["as_of"])})
