"""What writes summaries from facts to be told in prompts: a template, or a generator whose words are held to them."""

from collections.abc import Mapping, Sequence
from typing import Final

from models.summaries.downstream.cases import Task
from models.summaries.downstream.forms import Summary, Writer
from models.summaries.fact import Fact
from models.summaries.kinds import SHAPES, Shape, SummaryKind, chosen, fitting
from models.summaries.summarising import Summariser
from models.summaries.wording import from_template

KIND: Final[Mapping[Task, SummaryKind]] = {Task.RATING: SummaryKind.RATING, Task.CHOICE: SummaryKind.RANKING}


def by_template(shape: Shape) -> Writer:
    """Writes the facts that a shape has room for."""

    def write(facts: Sequence[Sequence[Fact]]) -> list[Summary]:
        return [tuple(claim.text for claim in from_template(fitting(some, shape))) for some in facts]

    return write


def by_generator(summariser: Summariser, kind: SummaryKind) -> Writer:
    """Writes the facts of a kind of summary; raises what the generator does."""

    def write(facts: Sequence[Sequence[Fact]]) -> list[Summary]:
        written = summariser.summarise([chosen(some, kind) for some in facts], kind)
        return [tuple(claim.text for claim in one.claims) for one in written]

    return write


def usual(task: Task) -> Writer:
    """What a task's prompts are told by where nothing else is chosen."""
    return by_template(SHAPES[KIND[task]])
