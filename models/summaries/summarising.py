"""Summaries: a generator says facts in words, the check holds every sentence against them, a template says the rest.

The generator never decides what is said. One user stands in a prompt. What does not stand the check is asked for once
more, with what was wrong; of the second answer, or the first where that has more of the facts, the sentences that stand
are kept, and what they leave out is said by the template.

A summary is written anew when a fact that it tells has changed: facts are coarse (`computing`) and each kind tells few
of them (`kinds`), so the digest of what is told is itself the measure of what is material. Numbers that move less than
it counts are put right without a generator (`restated`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from features.errors import BudgetSpent, GeneratorUnavailable, InvalidInput
from features.profile import Claim, Position, UserSummary
from models.language.generator import TextGenerator
from models.summaries.checking import Verdict, check
from models.summaries.fact import Fact
from models.summaries.instructing import DEFAULT_PROMPT, SummaryPrompt, asked_again, messages
from models.summaries.kinds import SHAPES, SummaryKind
from models.summaries.wording import claim_of, from_template

TEMPLATE: Final = "template"  # the model of a summary that has no generator's words


@dataclass(frozen=True, slots=True)
class Written:
    """claims: in the order of the facts. model, prompt: as `UserSummary` has them. by_template: how many of the claims
    the template says. problem: what was wrong with the generator's words, "" for nothing."""

    claims: tuple[Claim, ...]
    model: str
    prompt: str
    by_template: int
    problem: str = ""


class Summariser:
    """Writes summaries; to be used from one thread at a time. generator: None for the template alone."""

    def __init__(self, generator: TextGenerator | None = None, prompt: SummaryPrompt = DEFAULT_PROMPT) -> None:
        self._generator = generator
        self._prompt = prompt

    def summarise(self, facts: Sequence[Sequence[Fact]], kind: SummaryKind) -> list[Written]:
        """One summary for each user's facts, which are those that the kind tells (`chosen`).

        Raises GeneratorUnavailable, BudgetSpent and InvalidInput when the generator does not give the first answers; it
        may do without the second ones.
        """
        told = [place for place, some in enumerate(facts) if some]
        verdicts = dict(zip(told, self._said([facts[place] for place in told], kind), strict=True))
        return [self._written(some, verdicts.get(place)) for place, some in enumerate(facts)]

    def _said(self, facts: Sequence[Sequence[Fact]], kind: SummaryKind) -> list[Verdict | None]:
        if self._generator is None or not facts:
            return [None] * len(facts)
        most = SHAPES[kind].tokens
        prompts = [messages(self._prompt, some) for some in facts]
        texts = [one.text for one in self._generator.generate(prompts, most)]
        verdicts = [check(text, some) for text, some in zip(texts, facts, strict=True)]
        again = [place for place, verdict in enumerate(verdicts) if _problems(verdict)]
        retries = [asked_again(prompts[place], texts[place], _problems(verdicts[place])) for place in again]
        try:
            answers = self._generator.generate(retries, most) if again else []
        except (BudgetSpent, GeneratorUnavailable, InvalidInput):  # the first answers are there, and paid for
            return list(verdicts)
        for place, answer in zip(again, answers, strict=True):
            second = check(answer.text, facts[place])
            if len(second.missing) <= len(verdicts[place].missing):
                verdicts[place] = second
        return list(verdicts)

    def _written(self, facts: Sequence[Fact], verdict: Verdict | None) -> Written:
        claims = verdict.claims if verdict else ()
        rest = from_template(verdict.missing if verdict else facts)
        place_of = {fact.key: place for place, fact in enumerate(facts)}
        ordered = sorted((*claims, *rest), key=lambda claim: place_of[claim.facts[0]])
        model = self._generator.name if self._generator and claims else TEMPLATE
        problem = "; ".join(_problems(verdict)) if verdict else ""
        return Written(tuple(ordered), model, self._prompt.version if claims else "", len(rest), problem)


def restated(held: UserSummary, facts: Sequence[Fact], as_of: Position) -> UserSummary:
    """The summary with the evidence and the numbers of `facts`, which have its digest, and their stamp.

    A sentence that these facts no longer bear out, since the digest does not count every step of a number, is said by
    the template. The model is "template" once no other words are left.
    """
    by_key = {fact.key: fact for fact in facts}
    claims: list[Claim] = []
    is_own, has_fallen = False, False
    for claim in held.claims:
        its = [by_key[key] for key in claim.facts]
        by_template = from_template(its)
        if [one.text for one in by_template] == [claim.text]:
            claims += by_template
        elif _stands(claim.text, its):
            claims.append(claim_of(claim.text, its))
            is_own = True
        else:
            claims += by_template
            has_fallen = True
    model = TEMPLATE if has_fallen and not is_own else held.model
    return replace(held, claims=tuple(claims), model=model, as_of=as_of)


def _stands(sentence: str, facts: Sequence[Fact]) -> bool:
    """Whether it is one sentence that states all of these facts as they are."""
    verdict = check(sentence, facts)
    return len(verdict.claims) == 1 and not verdict.problems and not verdict.missing


def _problems(verdict: Verdict) -> tuple[str, ...]:
    left_out = ", ".join(fact.key for fact in verdict.missing)
    return (*verdict.problems, *((f"left out: {left_out}",) if left_out else ()))
