"""Prompts that wait are answered together; a failure comes to those who have asked, and to nobody else."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Signal
from threading import Thread

import pytest

from features.errors import GeneratorUnavailable, InvalidInput, Overloaded
from models.language.generator import Completion, IsWanted, Message, Role, always
from services.answering import ANSWER_SECONDS, AT_ONCE, SERVER_SECONDS, Answers, as_html, shown


class Echo:
    """Says the last message again. Waits for `may_go`; `batches`: how many prompts came together, and how long answers
    might be. Refuses "long" among others as too long; does not answer when there is a "down"."""

    name = "echo"

    def __init__(self) -> None:
        self.may_go = Signal()
        self.batches: list[tuple[int, int]] = []

    def generate(
        self, prompts: Sequence[Sequence[Message]], most: int, is_wanted: IsWanted = always
    ) -> list[Completion]:
        self.may_go.wait(20)
        self.batches.append((len(prompts), most))
        contents = [prompt[-1].content for prompt in prompts]
        if "long" in contents:
            raise InvalidInput("prompt", "is too long")
        if "down" in contents:
            raise GeneratorUnavailable("nobody is there")
        return [Completion(content, 1, 1, True) for content in contents]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]


class Endless(Echo):
    """Writes after "endless" for as long as that is wanted. Waits for nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go.set()
        self.is_writing = Signal()

    def generate(
        self, prompts: Sequence[Sequence[Message]], most: int, is_wanted: IsWanted = always
    ) -> list[Completion]:
        said = super().generate(prompts, most)
        for place, prompt in enumerate(prompts):
            while prompt[-1].content == "endless" and is_wanted(place):
                self.is_writing.set()
                time.sleep(0.001)
                said[place] = Completion("and so on", 1, 1, False)
        return said


def says(text: str) -> list[Message]:
    return [Message(Role.USER, text)]


@contextmanager
def answering(answers: Answers) -> Iterator[None]:
    stop = Signal()
    thread = Thread(target=answers.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_prompts_that_wait_are_answered_together_and_each_its_own() -> None:
    echo = Echo()
    answers = Answers(echo)
    waiting = [answers.ask(says(f"{number}"), 5) for number in range(AT_ONCE + 2)]
    echo.may_go.set()
    with answering(answers):
        assert [one.result(20).text for one in waiting] == [f"{number}" for number in range(AT_ONCE + 2)]
    assert echo.batches == [(AT_ONCE, 5), (2, 5)]
    assert answers.model == "echo"


def test_answers_of_other_lengths_are_another_call() -> None:
    echo = Echo()
    answers = Answers(echo)
    waiting = [answers.ask(says("a"), most) for most in (5, 5, 7, 5)]
    echo.may_go.set()
    with answering(answers):
        assert [one.result(20).text for one in waiting] == ["a"] * 4
    assert echo.batches == [(2, 5), (1, 7), (1, 5)]


def test_one_at_a_time_none_waits_for_those_behind_it() -> None:
    endless = Endless()
    answers = Answers(endless, at_once=1)
    first, behind = answers.ask(says("first"), 5), answers.ask(says("endless"), 5)
    with answering(answers):
        assert first.result(20).text == "first"
        assert endless.is_writing.wait(20)
        assert not behind.done()
    assert endless.batches == [(1, 5), (1, 5)]


def test_one_prompt_that_is_too_long_is_refused_alone() -> None:
    echo = Echo()
    answers = Answers(echo)
    short, long = answers.ask(says("short"), 5), answers.ask(says("long"), 5)
    echo.may_go.set()
    with answering(answers):
        assert short.result(20).text == "short"
        with pytest.raises(InvalidInput, match="too long"):
            long.result(20)


def test_a_generator_that_is_down_is_told_to_all_and_asked_again_for_the_next() -> None:
    echo = Echo()
    answers = Answers(echo)
    waiting = [answers.ask(says(text), 5) for text in ("down", "up")]
    echo.may_go.set()
    with answering(answers):
        for one in waiting:
            with pytest.raises(GeneratorUnavailable):
                one.result(20)
        assert answers.ask(says("up"), 5).result(20).text == "up"


def test_who_has_gone_is_not_answered_and_too_many_are_not_let_in() -> None:
    echo = Echo()
    answers = Answers(echo, waiting_most=2)
    gone, here = answers.ask(says("gone"), 5), answers.ask(says("here"), 5)
    with pytest.raises(Overloaded, match="2 prompts wait for echo"):
        answers.ask(says("more"), 5)
    gone.cancel()
    echo.may_go.set()
    with answering(answers):
        assert here.result(20).text == "here"
    assert echo.batches == [(1, 5)]


def test_what_is_being_written_for_nobody_makes_way_for_the_next() -> None:
    endless = Endless()
    answers = Answers(endless)
    gone, beside = answers.ask(says("endless"), 5), answers.ask(says("beside"), 5)
    with answering(answers):
        assert endless.is_writing.wait(20)
        assert gone.cancel()
        assert beside.result(20).text == "beside"
        assert answers.ask(says("next"), 5).result(20).text == "next"


def test_at_the_end_what_is_being_written_is_refused() -> None:
    endless = Endless()
    answers = Answers(endless)
    writing = answers.ask(says("endless"), 5)
    with answering(answers):
        assert endless.is_writing.wait(20)
    with pytest.raises(Overloaded, match="not answered here any more"):
        writing.result(0)


def test_a_server_may_take_half_the_time_that_an_answer_is_waited_for() -> None:
    assert 2 * SERVER_SECONDS <= ANSWER_SECONDS


def test_after_the_end_nobody_waits_for_an_answer() -> None:
    answers = Answers(Echo())
    waiting = answers.ask(says("a"), 5)
    stop = Signal()
    stop.set()
    answers.run(stop)
    with pytest.raises(Overloaded):
        waiting.result(0)
    with pytest.raises(Overloaded):
        answers.ask(says("a"), 5)


def test_answers_are_shown_without_what_is_unseen_and_escaped_for_pages() -> None:
    assert shown(" two\u200b\n\u202elines \x00\n\n") == "two\nlines"
    assert as_html('<b a="1">\n&') == "&lt;b a=&quot;1&quot;&gt;<br>\n&amp;"
