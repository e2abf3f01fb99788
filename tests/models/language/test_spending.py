"""What text costs is counted, and no batch is begun that could cost more than may be spent."""

from collections.abc import Sequence

import pytest

from features.errors import BudgetSpent, GeneratorUnavailable
from models.language.generator import MESSAGE_TOKENS, PROMPT_TOKENS, Completion, Message, Role, prompt_bounds
from models.language.spending import Metered, Prices, Spent, TokenBudget

ASK = [Message(Role.SYSTEM, "be brief"), Message(Role.USER, "one two three")]
BOUND = PROMPT_TOKENS + 2 * MESSAGE_TOKENS + 5


class Words:
    """A generator whose tokens are words; it reads each prompt and writes two words, unless it is down."""

    name = "words"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.is_down = False

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        self.batches.append(len(prompts))
        if self.is_down:
            raise GeneratorUnavailable("it is down")
        return [Completion("so be", 20, 2, True) for _ in prompts]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def test_tokens_and_their_cost_add_up() -> None:
    metered = Metered(Words(), prices=Prices(input=1.0, output=50.0))
    assert metered.spent == Spent()
    metered.generate([ASK] * 3, 9)
    metered.generate([ASK], 9)
    assert metered.spent == Spent(80, 8, (80 * 1.0 + 8 * 50.0) / 1_000_000)
    assert metered.spent.tokens == 88


def test_it_is_the_generator_that_it_meters() -> None:
    words = Words()
    metered = Metered(words)
    assert metered.name == "words"
    assert metered.count(["a b", ""]) == [2, 0]
    assert metered.generate([ASK], 9) == words.generate([ASK], 9)
    assert metered.generate([], 9) == []


def test_a_bound_has_room_for_the_template_around_each_message() -> None:
    assert prompt_bounds(Words(), [ASK, [], ASK[:1]]) == [BOUND, PROMPT_TOKENS, PROMPT_TOKENS + MESSAGE_TOKENS + 2]


def test_a_batch_that_just_fits_is_asked_and_one_token_less_refuses_it_whole() -> None:
    words = Words()
    fits = 2 * (BOUND + 9)
    with pytest.raises(BudgetSpent, match=f"2 prompts may take {fits} tokens, and {fits - 1} are left"):
        Metered(words, TokenBudget(fits - 1)).generate([ASK] * 2, 9)
    assert words.batches == []
    assert len(Metered(words, TokenBudget(fits)).generate([ASK] * 2, 9)) == 2


def test_what_was_spent_is_gone_for_good_and_what_was_not_is_there() -> None:
    metered = Metered(Words(), TokenBudget(BOUND + 9 + 22))
    metered.generate([ASK], 9)
    metered.generate([ASK], 9)  # each took 22 of the tokens that it might have taken
    with pytest.raises(BudgetSpent):
        metered.generate([ASK], 9)
    assert metered.spent.tokens == 44


def test_a_budget_of_nothing_allows_nothing_but_nothing() -> None:
    metered = Metered(Words(), TokenBudget(0))
    with pytest.raises(BudgetSpent):
        metered.generate([ASK], 1)
    assert metered.generate([], 1) == []


def test_a_batch_that_failed_is_not_counted() -> None:
    words = Words()
    words.is_down = True
    metered = Metered(words)
    with pytest.raises(GeneratorUnavailable):
        metered.generate([ASK], 9)
    assert metered.spent == Spent()
