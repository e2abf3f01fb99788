"""Corrections put in the place of what they correct, whenever a summary is read: what is stored stays as it was made.

A fact that an operator has corrected is never given to a generator; the template's sentence for it is stored beside the
generator's, and stands again when the correction is taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from features.profile import Claim, Correction
from models.summaries.fact import Fact
from models.summaries.wording import from_template


def corrected(
    claims: Sequence[Claim], corrections: Sequence[Correction], facts: Mapping[str, Fact]
) -> tuple[Claim, ...]:
    """The claims as operators want them said. Pinned sentences come first, whatever the claims state.

    A claim that states a corrected fact gives way to the operator's sentence, or to nothing; what else it states is
    said by template, as far as it is among `facts` (by key): those of `facts_told_anew`, as they are now.
    """
    of_fact = {one.fact: one for one in corrections}
    said = [operators(one) for one in corrections if one.is_pinned]
    for claim in claims:
        touched = [of_fact[key] for key in claim.facts if key in of_fact]
        if not touched:
            said.append(claim)
            continue
        said += from_template(facts[key] for key in claim.facts if key not in of_fact and key in facts)
        said += [operators(one) for one in touched if not one.is_pinned]
    return tuple(dict.fromkeys(claim for claim in said if claim.text))


def facts_told_anew(claims: Iterable[Claim], corrections: Iterable[Correction]) -> frozenset[str]:
    """The keys of facts that share a claim with a corrected one and are not corrected themselves."""
    keys = {one.fact for one in corrections}
    return frozenset(chain.from_iterable(claim.facts for claim in claims if not keys.isdisjoint(claim.facts))) - keys


def operators(correction: Correction) -> Claim:
    """The operator's sentence, empty where nothing is to be said."""
    return Claim(correction.text or "", (correction.fact,), (), is_operators=True)
