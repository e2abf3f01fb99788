from collections.abc import Sequence
from dataclasses import replace

import pytest
from toy_histories import LOVES_CRIME, films, told
from toy_sayings import ToyWriter

from features.errors import BudgetSpent, GeneratorUnavailable, InvalidInput
from features.profile import Position, UserSummary
from models.language.generator import Completion, Message
from models.summaries.checking import check
from models.summaries.computing import facts_of
from models.summaries.fact import Fact, digest
from models.summaries.kinds import SummaryKind, chosen
from models.summaries.summarising import TEMPLATE, Summariser, restated
from models.summaries.wording import from_template

KIND = SummaryKind.RATING
FACTS = chosen(facts_of(told({"u": LOVES_CRIME}), films())["u"], KIND)
OWN = "Strict, with an average of 3, mostly 1 to 5. They enjoy Crime (4.7) and Drama (4.7). They dislike Horror (1.3)."
HALF = "They enjoy Crime (4.7) and Drama (4.7). They love Horror."


def text(facts: Sequence[Fact], *sayings: str) -> tuple[str, ToyWriter]:
    writer = ToyWriter(*[lambda _, said=said: said for said in sayings])
    [written] = Summariser(writer).summarise([facts], KIND)
    return " ".join(claim.text for claim in written.claims), writer


def test_words_that_stand_the_check_are_kept_as_they_are() -> None:
    writer = ToyWriter(lambda _: OWN)
    [written] = Summariser(writer).summarise([FACTS], KIND)
    assert " ".join(claim.text for claim in written.claims) == OWN
    assert (written.model, written.prompt, written.by_template, written.problem) == ("toy", "shown-1", 0, "")
    assert len(writer.asked) == 1


def test_what_fails_is_asked_for_once_more_with_the_reason() -> None:
    said, writer = text(FACTS, HALF, OWN)
    assert said == OWN
    assert len(writer.asked) == 2
    assert "They love Horror." in writer.asked[1][0][-1].content


def test_what_fails_twice_is_said_by_the_template_in_its_place() -> None:
    writer = ToyWriter(lambda _: HALF)
    [written] = Summariser(writer).summarise([FACTS], KIND)
    assert [claim.text for claim in written.claims] == [
        "Rates low: 3 on average, mostly 1 to 5.",
        "They enjoy Crime (4.7) and Drama (4.7).",
        "Dislikes Horror (1.3).",
    ]
    assert (written.model, written.by_template) == ("toy", 2)
    assert "They love Horror." in written.problem
    assert len(writer.asked) == 2


def test_a_worse_second_answer_does_not_take_the_place_of_the_first() -> None:
    said, _ = text(FACTS, HALF, "garbage")
    assert "They enjoy Crime (4.7) and Drama (4.7)." in said


@pytest.mark.parametrize("garbage", ["", "###", "I cannot help with that.", "\x00\ud800", "Likes " * 1000])
def test_garbage_leaves_the_template(garbage: str) -> None:
    [written] = Summariser(ToyWriter(lambda _: garbage)).summarise([FACTS], KIND)
    assert written.claims == from_template(FACTS)
    assert (written.model, written.prompt) == (TEMPLATE, "")
    assert written.problem


def test_without_a_generator_the_template_says_it() -> None:
    [written, nothing] = Summariser().summarise([FACTS, ()], KIND)
    assert written.claims == from_template(FACTS)
    assert (written.model, written.problem) == (TEMPLATE, "")
    assert nothing.claims == ()


def test_each_prompt_has_the_facts_of_one_user_and_who_has_none_is_not_asked_about() -> None:
    histories = {"u": LOVES_CRIME, "w": [("sabrina54", 5.0)]}
    facts = [chosen(some, SummaryKind.RANKING) for some in facts_of(told(histories), films()).values()]
    writer = ToyWriter(lambda _: "")
    Summariser(writer).summarise([facts[0], (), facts[1]], SummaryKind.RANKING)
    one, other = (prompt[-1].content for prompt in writer.asked[0])
    assert "Fargo" in one
    assert "Fargo" not in other
    assert "Sabrina" in other
    assert "Sabrina" not in one


class Failing(ToyWriter):
    """Says a half-truth, and then fails."""

    def __init__(self, error: Exception, after: int) -> None:
        super().__init__(lambda _: HALF)
        self.error = error
        self.after = after

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        if len(self.asked) == self.after:
            raise self.error
        return super().generate(prompts, most)


def test_a_generator_that_does_not_answer_is_for_the_caller_to_handle() -> None:
    with pytest.raises(GeneratorUnavailable):
        Summariser(Failing(GeneratorUnavailable("down"), 0)).summarise([FACTS], KIND)
    with pytest.raises(BudgetSpent):
        Summariser(Failing(BudgetSpent("spent"), 0)).summarise([FACTS], KIND)


@pytest.mark.parametrize("error", [BudgetSpent("spent"), GeneratorUnavailable("down"), InvalidInput("prompt", "long")])
def test_first_answers_are_kept_when_there_are_no_second_ones(error: Exception) -> None:
    [written] = Summariser(Failing(error, 1)).summarise([FACTS], KIND)
    assert written.model == "toy"
    assert written.by_template == 2


def moved(fact: Fact) -> Fact:
    """With a mean that is a tenth higher, and new evidence."""
    return replace(fact, numbers=(str(round(float(fact.numbers[0]) + 0.1, 1)), *fact.numbers[1:]), evidence=("new",))


def test_what_the_facts_still_bear_out_is_kept_with_new_evidence_and_the_rest_is_said_by_template() -> None:
    verdict = check("Strict, mostly 1 to 5. They enjoy Crime (4.7) and Drama (4.7). They dislike Horror (1.3).", FACTS)
    held = UserSummary(KIND, verdict.claims, digest(FACTS), "toy", "shown-1", 0.0, Position("log", 0, 1))
    now = tuple(moved(fact) for fact in FACTS)
    said = restated(held, now, Position("log", 0, 2))
    assert [claim.text for claim in said.claims] == [
        "Strict, mostly 1 to 5.",
        "Likes Crime (4.8), Drama (4.8).",
        "Dislikes Horror (1.4).",
    ]
    assert {event for claim in said.claims for event in claim.evidence} == {"new"}
    assert (said.model, said.as_of) == ("toy", Position("log", 0, 2))
    assert restated(replace(held, claims=held.claims[1:]), now, held.as_of).model == TEMPLATE
    assert restated(held, FACTS, held.as_of) == held
