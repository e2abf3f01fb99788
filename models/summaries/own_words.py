"""How much of what summaries say is a generator's own words: what stood the check, and what no template would say.

A generator that was taught from texts that are made of wordings may say facts in just those. So of its sentences it is
told how many are what the product's template says of these facts, in any of its wordings, and how many are of a wording
that was in no lesson, the names and numbers aside.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from models.intervals import ratio
from models.summaries.fact import Fact
from models.summaries.summarising import TEMPLATE, Written
from models.summaries.wording import STYLES, from_template

_NAME: Final = "\ue000"
_LIST: Final = re.compile(rf"{_NAME}(?: \([^()]*\))?(?:(?:, |; | and ){_NAME}(?: \([^()]*\))?)*")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?[%+s]?")
_SENTENCE_END: Final = re.compile(r"(?<=\.)\s+")
_PARTICULAR: Final = re.compile(r"\"[^\"]*\"|'[^']*'|(?<=left out: ).*")
PROBLEMS_MOST: Final = 10


def own_words(told: Sequence[Sequence[Fact]], written: Sequence[Written], taught: Iterable[str]) -> dict[str, Any]:
    """Of summaries of these facts, one a user: `own`, the share that is a generator's from end to end, with a 95 %
    interval over users; of these summaries `sentences`, and the shares of them `as_template` and `in_new_wording`.
    `problems`: what was wrong with the others, the most frequent first.

    taught: the wordings (`wordings`) of all lessons.
    """
    known = frozenset(taught)
    is_own = [one.model != TEMPLATE and not one.by_template for one in written]
    as_template: list[bool] = []
    is_new: list[bool] = []
    for facts, one, own in zip(told, written, is_own, strict=True):
        by_key = {fact.key: fact for fact in facts}
        for claim in one.claims if own else ():
            cited = [by_key[key] for key in claim.facts]
            [wording] = wordings(claim.text, cited)
            as_template.append(wording in _by_template(cited))
            is_new.append(wording not in known)
    reasons = Counter(_PARTICULAR.sub("...", reason) for one in written for reason in one.problem.split("; ") if reason)
    return {
        "own": _share(is_own),
        "sentences": len(as_template),
        "as_template": _share(as_template),
        "in_new_wording": _share(is_new),
        "problems": dict(reasons.most_common(PROBLEMS_MOST)),
    }


def wordings(text: str, facts: Iterable[Fact]) -> list[str]:
    """The text's sentences with one sign for every list of names and one for every number."""
    names = sorted({name for fact in facts for name in fact.names}, key=lambda name: (-len(name), name))
    if names:
        text = re.sub(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])", _NAME, text)
    return _SENTENCE_END.split(_NUMBER.sub("#", _LIST.sub(_NAME, text)))


def _by_template(facts: Sequence[Fact]) -> set[str]:
    """What the template says of facts where that is one sentence, in all its wordings."""
    said = [from_template(facts, style) for style in range(STYLES)]
    return {wording for claims in said if len(claims) == 1 for wording in wordings(claims[0].text, facts)}


def _share(flags: Sequence[bool]) -> dict[str, float | None]:
    flags_U = np.asarray(flags, float)
    return ratio(flags_U, np.ones_like(flags_U)).interval()
