"""What text costs: the tokens that a generator reads and writes, counted, priced, and held under a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from features.errors import BudgetSpent
from models.language.generator import Completion, Message, TextGenerator, prompt_bounds

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """tokens: that may still be spent, read and written together."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a million tokens, in any one currency."""

    input: float = 0.0
    output: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """cost: in the prices' currency."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def hold(generator: TextGenerator, prompts: Sequence[Sequence[Message]], most: int, left: int) -> None:
    """Refuses a batch that could take more than the tokens that are left: all its prompts by their upper bounds, all
    its answers at their longest. Raises BudgetSpent."""
    bound = sum(prompt_bounds(generator, prompts)) + len(prompts) * most
    if bound > left:
        raise BudgetSpent(f"{len(prompts)} prompts may take {bound} tokens, and {max(0, left)} are left to spend")


class Metered:
    """A generator that says what it has spent, and that spends no more than its budget, none when there is no end.

    A batch is refused before any of it is asked when it could exceed the budget (`hold`). So the last part of a budget
    stays unspent, the larger the looser the generator counts. What a server charges for a batch that failed is not
    known and not counted.
    """

    def __init__(
        self, generator: TextGenerator, budget: TokenBudget | None = None, prices: Prices | None = None
    ) -> None:
        self._generator = generator
        self._budget = budget
        self._prices = prices or Prices()
        self.spent = Spent()

    @property
    def name(self) -> str:
        return self._generator.name

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        """As the generator does. Raises BudgetSpent besides."""
        if self._budget is not None:
            hold(self._generator, prompts, most, self._budget.tokens - self.spent.tokens)
        completions = self._generator.generate(prompts, most)
        read = self.spent.input_tokens + sum(completion.input_tokens for completion in completions)
        written = self.spent.output_tokens + sum(completion.output_tokens for completion in completions)
        cost = (read * self._prices.input + written * self._prices.output) / MILLION
        self.spent = Spent(read, written, cost)
        return completions

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._generator.count(texts)
