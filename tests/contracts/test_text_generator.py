"""What every text generator promises: an answer a prompt, in order, no longer than allowed, all of them or none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from chat_server import ChatServer
from toy_llama import toy_llama

from features.errors import InvalidInput
from models.device import Device
from models.language.chat import ChatGenerator
from models.language.generator import Message, Role, StoppableGenerator, prompt_bounds
from models.language.local import LocalGenerator

READS = 200  # tokens, of a prompt and its answer


def over_http(server: ChatServer, folder: Path) -> StoppableGenerator:
    server.reads = READS
    return ChatGenerator(server.url, "toy", concurrency=4)


def from_a_folder(server: ChatServer, folder: Path) -> StoppableGenerator:
    return LocalGenerator(folder, Device("cpu", bf16=False))


GENERATORS: dict[str, Callable[[ChatServer, Path], StoppableGenerator]] = {"chat": over_http, "local": from_a_folder}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llama"), reads=READS)


@pytest.fixture(params=GENERATORS)
def generator(request: pytest.FixtureRequest, chat_server: ChatServer, folder: Path) -> StoppableGenerator:
    return GENERATORS[request.param](chat_server, folder)


def prompt(text: str) -> list[Message]:
    return [Message(Role.SYSTEM, "Say what this user likes."), Message(Role.USER, text)]


TEXTS = ["Fargo (1996)", "a", "The Third Man, twice, and then once more", "noir", "", "jazz \n and {braces} <b>"]
PROMPTS = [prompt(text) for text in TEXTS]


def test_each_prompt_has_the_answer_that_it_has_alone_in_the_order_of_the_prompts(
    generator: StoppableGenerator,
) -> None:
    together = generator.generate(PROMPTS, 6)
    assert [one.text for one in together] == [generator.generate([one], 6)[0].text for one in PROMPTS]
    backwards = generator.generate(PROMPTS[::-1], 6)
    assert [one.text for one in backwards[::-1]] == [one.text for one in together]
    assert len({one.text for one in together}) > 2  # so that another order would show


def test_the_same_prompts_have_the_same_answers(generator: StoppableGenerator) -> None:
    assert generator.generate(PROMPTS, 6) == generator.generate(PROMPTS, 6)


@pytest.mark.parametrize("most", [1, 3, 6])
def test_no_answer_is_longer_than_allowed(generator: StoppableGenerator, most: int) -> None:
    for said in generator.generate(PROMPTS, most):
        assert 0 <= said.output_tokens <= most
        assert said.is_finished or said.output_tokens == most


def test_the_tokens_of_a_prompt_are_within_their_bound(generator: StoppableGenerator) -> None:
    for said, bound in zip(generator.generate(PROMPTS, 2), prompt_bounds(generator, PROMPTS), strict=True):
        assert 0 < said.input_tokens <= bound


def test_texts_are_counted_one_by_one(generator: StoppableGenerator) -> None:
    counts = generator.count(TEXTS)
    assert counts == [generator.count([text])[0] for text in TEXTS]
    assert [count > 0 for count in counts] == [text != "" for text in TEXTS]


def test_nothing_asked_is_nothing_answered(generator: StoppableGenerator) -> None:
    assert generator.generate([], 6) == []
    assert generator.count([]) == []


def test_a_generator_has_a_name_that_stays(generator: StoppableGenerator) -> None:
    name = generator.name
    assert name.strip()
    generator.generate(PROMPTS[:1], 2)
    assert generator.name == name


def test_with_one_prompt_that_is_too_long_none_is_answered(generator: StoppableGenerator) -> None:
    with pytest.raises(InvalidInput, match=r"^prompts\.1: a prompt "):
        generator.generate([PROMPTS[0], prompt("noir " * READS), PROMPTS[1]], 6)
    assert len(generator.generate(PROMPTS, 6)) == len(PROMPTS)  # and the next are


def test_what_nobody_wants_takes_nothing_from_the_others(generator: StoppableGenerator) -> None:
    whole = generator.generate(PROMPTS, 6)
    said = generator.generate(PROMPTS, 6, lambda place: place != 2)
    assert [one for place, one in enumerate(said) if place != 2] == [
        one for place, one in enumerate(whole) if place != 2
    ]
    assert len(generator.generate(PROMPTS, 6, lambda place: False)) == len(PROMPTS)
