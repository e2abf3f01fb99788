"""Text from a server: tried again where that may help, asked once where not, and nothing told of what is secret."""

import json
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from gzip import compress
from socket import create_server
from typing import Any

import pytest
from chat_server import ChatServer, Reply, completion

from features.errors import GeneratorUnavailable, InvalidInput, TasteprintError
from models.language.chat import WAIT_MOST, ChatGenerator
from models.language.generator import Completion, Message, Role

KEY = "sk-never-shown"
PRIVATE = "she watches horror alone"
Open = Callable[..., ChatGenerator]


@pytest.fixture
def open_generator(chat_server: ChatServer) -> Open:
    """A generator on the test's server, that waits next to nothing between tries."""

    def opened(**settings: Any) -> ChatGenerator:
        return ChatGenerator(chat_server.url, "toy", KEY, **{"timeout": 5.0, "first_wait": 0.001, **settings})

    return opened


def prompt(text: str) -> list[Message]:
    return [Message(Role.SYSTEM, "Repeat."), Message(Role.USER, text)]


def test_a_prompt_is_asked_as_the_protocol_has_it(chat_server: ChatServer, open_generator: Open) -> None:
    assert open_generator().generate([prompt("one two")], 7) == [Completion("one two", 3, 2, True)]
    [asked] = chat_server.asked
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.body == {
        "model": "toy",
        "messages": [{"role": "system", "content": "Repeat."}, {"role": "user", "content": "one two"}],
        "max_tokens": 7,
        "temperature": 0,
    }


def test_without_a_key_none_is_sent(chat_server: ChatServer) -> None:
    ChatGenerator(chat_server.url, "toy").generate([prompt("one")], 5)
    assert "Authorization" not in chat_server.asked[0].headers


def test_a_slash_at_the_end_of_the_url_changes_nothing(chat_server: ChatServer) -> None:
    [said] = ChatGenerator(f"{chat_server.url}/", "toy").generate([prompt("one")], 5)
    assert said.text == "one"


def test_what_is_no_url_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"^generator: "):
        ChatGenerator("http://a:b:c", "toy")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_questions_are_under_way_than_may_be(
    chat_server: ChatServer, open_generator: Open, concurrency: int
) -> None:
    chat_server.always = Reply(beside=concurrency, delay=0.01)
    texts = [f"text {number}" for number in range(4 * concurrency)]
    said = open_generator(concurrency=concurrency).generate([prompt(text) for text in texts], 5)
    assert [one.text for one in said] == texts
    assert chat_server.most_under_way == concurrency


def test_the_limit_holds_while_tries_are_repeated(chat_server: ChatServer, open_generator: Open) -> None:
    chat_server.replies.extend(Reply(500) for _ in range(6))
    chat_server.always = Reply(delay=0.01)
    said = open_generator(concurrency=2, retries=6).generate([prompt(str(number)) for number in range(8)], 5)
    assert [one.text for one in said] == [str(number) for number in range(8)]
    assert chat_server.most_under_way == 2
    assert len(chat_server.asked) == 8 + 6


PASSING = {
    "500": Reply(500),
    "503": Reply(503, b"<html>busy</html>"),
    "408": Reply(408),
    "429": Reply(429),
    "429 with Retry-After": Reply(429, headers={"Retry-After": "0"}),
    "429 until a date": Reply(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "429 until a word": Reply(429, headers={"Retry-After": "soon"}),
    "429 until no date": Reply(429, headers={"Retry-After": "Wed, 99 Foo 2025 00:00:00 GMT"}),
    "429 until no number": Reply(429, headers={"Retry-After": "nan"}),
    "429 until before": Reply(429, headers={"Retry-After": "-60"}),
    "429 of any length": Reply(429, b"x" * 1_000_000),
    "timeout": Reply(delay=30.0),
    "slow drip": Reply(drip=0.05),
    "slow drip after the headers": Reply(body=b" " * 1000, drip=0.001),
    "hang-up": Reply(hang_up=True),
}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(chat_server: ChatServer, open_generator: Open, reply: Reply) -> None:
    chat_server.replies.extend([reply, reply])
    said = open_generator(timeout=0.5).generate([prompt("one two")], 5)
    assert said == [Completion("one two", 3, 2, True)]
    assert len(chat_server.asked) == 3
    assert chat_server.asked[0].body == chat_server.asked[2].body


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING)
def test_what_does_not_pass_is_given_up(chat_server: ChatServer, open_generator: Open, reply: Reply) -> None:
    chat_server.always = reply
    with pytest.raises(GeneratorUnavailable, match=r"tries: 2"):
        open_generator(timeout=0.2, retries=1).generate([prompt("one two")], 5)
    assert len(chat_server.asked) == 2


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(GeneratorUnavailable, match=f"127.0.0.1:{port}/v1 cannot be reached .*tries: 2"):
        ChatGenerator(f"http://127.0.0.1:{port}/v1", "toy", retries=1, first_wait=0.001).generate([prompt("one")], 5)


def test_a_server_that_should_be_encrypted_and_is_not_is_told_nothing(chat_server: ChatServer) -> None:
    generator = ChatGenerator(chat_server.url.replace("http:", "https:"), "toy", KEY, retries=0)
    with pytest.raises(GeneratorUnavailable, match="cannot be reached"):
        generator.generate([prompt("one")], 5)
    assert not chat_server.asked


def test_a_server_that_accepts_and_says_nothing_is_unavailable() -> None:
    with create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/v1"
        with pytest.raises(GeneratorUnavailable, match=r"did not answer within 0\.1 s"):
            ChatGenerator(url, "toy", timeout=0.1, retries=0).generate([prompt("one")], 5)


def test_a_server_is_left_alone_for_as_long_as_it_asks(chat_server: ChatServer, open_generator: Open) -> None:
    chat_server.replies.append(Reply(429, headers={"Retry-After": "1"}))
    before = time.monotonic()
    open_generator().generate([prompt("one")], 5)
    assert time.monotonic() - before >= 1.0


@pytest.mark.parametrize("after", [f"{WAIT_MOST + 1:.0f}", "9" * 400, "Wed, 01 Jan 9999 00:00:00 GMT"])
def test_a_server_that_asks_for_too_long_is_unavailable_at_once(
    chat_server: ChatServer, open_generator: Open, after: str
) -> None:
    chat_server.always = Reply(429, headers={"Retry-After": after})
    with pytest.raises(GeneratorUnavailable, match="429"):
        open_generator().generate([prompt("one")], 5)
    assert len(chat_server.asked) == 1


REFUSED = {
    "400": Reply(400, b'{"error": {"message": "Unsupported parameter"}}'),
    "401": Reply(401),
    "403": Reply(403),
    "404": Reply(404),
    "204": Reply(204, b""),
    "redirect": Reply(307, b"", {"Location": "/v1/chat/completions"}),
    "moved": Reply(301, b"", {"Location": "http://127.0.0.1:9/v1/chat/completions"}),
    "no JSON": Reply(body=b"<html>Welcome</html>"),
    "half of it": Reply(body=completion("one")[:-20]),
    "nothing": Reply(body=b""),
    "a list": Reply(body=b"[]"),
    "a number": Reply(body=b"7"),
    "an error": Reply(body=b'{"error": "overloaded"}'),
    "no choices": Reply(body=b'{"choices": []}'),
    "choices by name": Reply(body=b'{"choices": {"0": {}}}'),
    "a choice that is none": Reply(body=b'{"choices": [null]}'),
    "no message": Reply(body=b'{"choices": [{"text": "one"}]}'),
    "no text": Reply(body=completion(None)),
    "text that is none": Reply(body=completion("one").replace(b'"one"', b'["one"]')),
    "half a letter": Reply(body=completion("\\ud800").replace(b"\\\\", b"\\")),
    "not UTF-8": Reply(body=completion("one").replace(b"one", b"\xff\xfe")),
    "nested without end": Reply(body=b"[" * 50_000),
    "packed": Reply(body=compress(completion("one")), headers={"Content-Encoding": "gzip"}),
    "more bytes than any": Reply(body=completion("word " * 100_000)),
    "more tokens than allowed": Reply(body=completion("one two", usage={"prompt_tokens": 3, "completion_tokens": 6})),
}


@pytest.mark.parametrize("reply", REFUSED.values(), ids=REFUSED)
def test_what_would_fail_again_is_asked_once(chat_server: ChatServer, open_generator: Open, reply: Reply) -> None:
    chat_server.always = reply
    with pytest.raises(GeneratorUnavailable) as refused:
        open_generator().generate([prompt("one two")], 5)
    assert len(chat_server.asked) == 1
    assert str(refused.value).startswith(chat_server.url)


@pytest.mark.parametrize(
    "words",
    [
        '{"error": {"code": "context_length_exceeded"}}',
        "This model's maximum context length is 4096 tokens",
        "the request exceeds the available context size",
    ],
)
def test_a_prompt_that_is_longer_than_the_model_reads_is_invalid(
    chat_server: ChatServer, open_generator: Open, words: str
) -> None:
    chat_server.always = Reply(400, words.encode())
    with pytest.raises(InvalidInput, match=r"^prompts\.0: a prompt that is longer than toy reads"):
        open_generator().generate([prompt("one")], 5)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, b'{"error": {"code": "content_filter"}}'),
        Reply(body=completion(None, finish="content_filter")),
        Reply(body=completion(None, refusal="I will not.")),
        Reply(body=completion(None, finish="length")),  # it thought for as long as it might write
    ],
)
def test_one_prompt_that_is_not_answered_takes_nothing_from_the_others(
    chat_server: ChatServer, open_generator: Open, reply: Reply
) -> None:
    chat_server.replies.append(reply)
    said = open_generator(concurrency=1).generate([prompt("one"), prompt("two")], 5)
    assert [(one.text, one.is_finished) for one in said] == [("", False), ("two", True)]


@pytest.mark.parametrize(
    ("finish", "is_finished"), [("stop", True), ("length", False), ("content_filter", False), (None, False)]
)
def test_an_answer_is_finished_when_it_came_to_an_end_of_its_own(
    chat_server: ChatServer, open_generator: Open, finish: str | None, is_finished: bool
) -> None:
    chat_server.always = Reply(body=completion("one", finish=finish))
    [said] = open_generator().generate([prompt("one")], 5)
    assert (said.text, said.is_finished) == ("one", is_finished)


@pytest.mark.parametrize(
    "usage",
    [None, [], "many", {}, {"prompt_tokens": -1, "completion_tokens": True}, {"prompt_tokens": 2.5, "total_tokens": 3}],
)
def test_without_a_count_of_the_server_tokens_are_bounded_from_above(
    chat_server: ChatServer, open_generator: Open, usage: object
) -> None:
    chat_server.always = Reply(body=completion("one two", usage=usage))
    [said] = open_generator().generate([prompt("one two")], 5)
    assert said.input_tokens >= len("Repeat.one two")
    assert said.output_tokens == 5  # as many as it might write, for its text could be more by the byte


def test_a_batch_with_a_failure_gives_nothing_and_asks_no_more(chat_server: ChatServer, open_generator: Open) -> None:
    chat_server.replies.extend([Reply(), Reply(401)])
    with pytest.raises(GeneratorUnavailable, match="401; set generator_key"):
        open_generator(concurrency=1).generate([prompt(str(number)) for number in range(20)], 5)
    assert len(chat_server.asked) == 2


def test_a_failure_ends_the_waits_of_the_others(chat_server: ChatServer, open_generator: Open) -> None:
    chat_server.replies.extend([Reply(429, headers={"Retry-After": "29"}), Reply(401, delay=0.2)])
    with pytest.raises(GeneratorUnavailable):
        open_generator(concurrency=2).generate([prompt("one"), prompt("two")], 5)
    assert len(chat_server.asked) == 2


def test_half_a_letter_is_refused_before_anything_is_asked(chat_server: ChatServer, open_generator: Open) -> None:
    with pytest.raises(InvalidInput, match=r"^prompts\.1: .*surrogate"):
        open_generator().generate([prompt("one"), prompt("\ud800")], 5)
    assert not chat_server.asked


FAILING = {**PASSING, **REFUSED}


@pytest.mark.parametrize("reply", FAILING.values(), ids=FAILING)
def test_neither_the_key_nor_a_prompt_is_told(
    chat_server: ChatServer, open_generator: Open, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    spiteful = json.dumps({"error": f"{KEY} may not ask {PRIVATE}"}).encode()
    chat_server.always = replace(reply, body=reply.body if reply.status == 200 else spiteful)
    caplog.set_level(logging.DEBUG)
    generator = open_generator(timeout=0.1, retries=1)
    with pytest.raises(TasteprintError) as failed:
        generator.generate([prompt(PRIVATE)], 5)
    told = "".join([*traceback.format_exception(failed.value), caplog.text, repr(generator)])
    assert KEY not in told
    assert PRIVATE not in told


def test_a_key_that_no_header_carries_is_not_told(chat_server: ChatServer) -> None:
    generator = ChatGenerator(chat_server.url, "toy", f"{KEY}\n", retries=0)
    with pytest.raises(GeneratorUnavailable) as failed:
        generator.generate([prompt("one")], 5)
    assert KEY not in "".join(traceback.format_exception(failed.value))


def test_a_try_that_is_repeated_is_logged(
    chat_server: ChatServer, open_generator: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chat_server.replies.append(Reply(503))
    open_generator().generate([prompt("one")], 5)
    [record] = caplog.records
    assert record.getMessage().startswith(f"{chat_server.url} answers 503; trying again in 0.0")


def test_no_proxy_is_taken_from_the_environment(
    chat_server: ChatServer, open_generator: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert open_generator(retries=0).generate([prompt("one")], 5)[0].text == "one"


def test_texts_are_counted_from_above() -> None:
    greeting = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"  # one letter of 3 bytes, 18 letters of 33 bytes
    assert ChatGenerator("http://localhost/v1", "toy").count([greeting, "one", ""]) == [34, 4, 0]


def test_a_question_that_is_left_is_hung_up_and_the_others_are_answered(
    chat_server: ChatServer, open_generator: Open
) -> None:
    chat_server.replies.append(Reply(delay=30.0))
    generator = open_generator(timeout=60.0, concurrency=1)
    said = generator.generate([prompt("one"), prompt("two")], 5, lambda place: place != 0 or not chat_server.asked)
    assert [(one.text, one.is_finished) for one in said] == [("", False), ("two", True)]


def test_questions_that_are_all_left_are_asked_no_further(chat_server: ChatServer, open_generator: Open) -> None:
    chat_server.always = Reply(429, headers={"Retry-After": "29"})
    said = open_generator(concurrency=2).generate([prompt("one")] * 9, 5, lambda place: not chat_server.asked)
    assert [(one.text, one.is_finished) for one in said] == [("", False)] * 9
    assert len(chat_server.asked) <= 2


@pytest.mark.parametrize("reply", [Reply(delay=30.0), Reply(429, headers={"Retry-After": "29"})])
def test_all_tries_together_end_in_time(chat_server: ChatServer, open_generator: Open, reply: Reply) -> None:
    chat_server.always = reply
    with pytest.raises(GeneratorUnavailable, match=r"tries: 1"):
        open_generator(timeout=60.0, retries=9, within=0.5).generate([prompt("one two")] * 3, 5)
