"""The micro-batcher."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import pytest

from services.api.batching import Batcher

Result = TypeVar("Result")


def answered(asking: Coroutine[object, object, Result]) -> Result:
    """What the callers get; a caller who waits for ever is an error and not a wait."""

    async def in_time() -> Result:
        async with asyncio.timeout(10):
            return await asking

    return asyncio.run(in_time())


class Doubling:
    """Answers with the double, and remembers its batches; a negative number among them breaks it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, asked: Sequence[int]) -> list[int]:
        self.batches.append(list(asked))
        if min(asked) < 0:
            raise ArithmeticError(f"{min(asked)} is negative")
        return [2 * one for one in asked]


def test_every_caller_gets_its_own_answer_and_together_they_are_one_batch() -> None:
    answer = Doubling()

    async def ask() -> list[int]:
        batcher = Batcher(answer)
        return await asyncio.gather(*map(batcher.ask, range(10)))

    assert answered(ask()) == [2 * number for number in range(10)]
    assert answer.batches == [list(range(10))]


def test_more_than_the_most_are_answered_in_several_batches_in_order() -> None:
    answer = Doubling()

    async def ask() -> list[int]:
        batcher = Batcher(answer, most=4)
        return await asyncio.gather(*map(batcher.ask, range(10)))

    assert answered(ask()) == [2 * number for number in range(10)]
    assert answer.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_later_caller_gets_a_batch_of_its_own() -> None:
    answer = Doubling()

    async def ask() -> list[int]:
        batcher = Batcher(answer)
        return [await batcher.ask(1), await batcher.ask(2)]

    assert answered(ask()) == [2, 4]
    assert answer.batches == [[1], [2]]


def test_an_error_is_that_of_every_caller_in_the_batch_and_of_no_other() -> None:
    async def ask() -> list[object]:
        batcher = Batcher(Doubling(), most=2)
        return await asyncio.gather(*map(batcher.ask, [1, -1, 2, 3]), return_exceptions=True)

    first, second, third, fourth = answered(ask())
    assert isinstance(first, ArithmeticError)
    assert isinstance(second, ArithmeticError)
    assert (third, fourth) == (4, 6)


def test_after_an_error_the_next_batch_is_answered() -> None:
    async def ask() -> int:
        batcher = Batcher(Doubling())
        with pytest.raises(ArithmeticError, match="-1 is negative"):
            await batcher.ask(-1)
        return await batcher.ask(4)

    assert answered(ask()) == 8


def test_callers_who_have_gone_are_skipped_and_the_others_keep_their_answers() -> None:
    answer = Doubling()

    async def ask() -> list[int]:
        batcher = Batcher(answer)
        futures = [batcher.ask(number) for number in range(4)]
        futures[0].cancel()
        futures[2].cancel()
        return [await futures[1], await futures[3]]

    assert answered(ask()) == [2, 6]
    assert answer.batches == [[1, 3]]


def test_when_everybody_has_gone_nothing_is_asked() -> None:
    answer = Doubling()

    async def ask() -> int:
        batcher = Batcher(answer)
        batcher.ask(1).cancel()
        await asyncio.sleep(0)
        return await batcher.ask(2)

    assert answered(ask()) == 4
    assert answer.batches == [[2]]
