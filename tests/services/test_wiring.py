"""What the settings name is what is opened."""

from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from toy_llama import toy_llama

from features.errors import ModelMissing, UnknownName, WeightsRefused
from models.language.generator import Message, Role, TextGenerator
from models.language.weights import SMOLLM2
from services.settings import Settings
from services.wiring import open_count, open_generator


def opened(home: Path, **settings: Any) -> TextGenerator | None:
    return open_generator(Settings(home=home, **settings))


def test_without_a_generator_none_is_opened(home: Path) -> None:
    assert opened(home) is None


def test_a_server_is_asked_for_its_model_with_the_key(home: Path, chat_server: ChatServer) -> None:
    generator = opened(home, generator=chat_server.url, generator_model="toy", generator_key="sk-1")
    assert generator is not None
    assert generator.name == "openai:toy"
    assert generator.generate([[Message(Role.USER, "one")]], 5)[0].text == "one"
    assert chat_server.asked[0].headers["Authorization"] == "Bearer sk-1"
    assert chat_server.asked[0].body["model"] == "toy"


def test_a_server_is_asked_as_often_at_once_as_the_settings_say(home: Path, chat_server: ChatServer) -> None:
    generator = opened(home, generator=chat_server.url, generator_model="toy", generator_concurrency=1)
    assert generator is not None
    generator.generate([[Message(Role.USER, "one")]] * 3, 5)
    assert chat_server.most_under_way == 1


def test_weights_that_were_not_pulled_are_missed_with_what_would_bring_them(home: Path) -> None:
    with pytest.raises(ModelMissing, match="`tasteprint weights pull SmolLM2-135M-Instruct` brings it"):
        opened(home, generator="local")


def test_a_folder_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(UnknownName, match="/not/there is no folder"):
        opened(home, generator="local:/not/there")


def test_a_folder_is_opened_with_its_weights_in_the_name(home: Path, tmp_path: Path) -> None:
    generator = opened(home, generator=f"local:{toy_llama(tmp_path / 'toy')}")
    assert generator is not None
    assert generator.name.startswith("toy@")
    assert generator.generate([[Message(Role.USER, "one")]], 1)[0].output_tokens == 1


def test_the_pulled_weights_are_opened_from_the_home(home: Path) -> None:
    toy_llama(home / "weights" / SMOLLM2)
    generator = opened(home, generator="local")
    assert generator is not None
    assert generator.name.startswith(f"{SMOLLM2}@")


def test_an_adapter_is_the_homes_own_unless_another_is_named(home: Path, tmp_path: Path) -> None:
    toy = toy_llama(home / "weights" / SMOLLM2)
    for folder in (home / "phrasers" / "smollm2", tmp_path / "other"):
        folder.mkdir(parents=True)  # with nothing in it, which is refused by its name
    with pytest.raises(WeightsRefused, match="phrasers/smollm2"):
        opened(home, generator="local")
    with pytest.raises(WeightsRefused, match=f"{tmp_path}/other"):
        opened(home, generator="local", phraser=tmp_path / "other")
    assert opened(home, generator=f"local:{toy}") is not None  # the home's is of the pulled weights


def test_questions_are_not_answered_with_what_was_learned_for_phrasing(home: Path) -> None:
    toy_llama(home / "weights" / SMOLLM2)
    (home / "phrasers" / "smollm2").mkdir(parents=True)  # with nothing in it, which would be refused
    assert open_generator(Settings(home=home, generator="local"), phrases=False) is not None


def test_tokens_are_counted_by_the_tokenizer_that_is_named_else_by_the_generator_else_by_a_bound(
    home: Path, tmp_path: Path
) -> None:
    tokenizer = toy_llama(tmp_path / "toy") / "tokenizer.json"
    settings = Settings(home=home, generator=f"local:{tmp_path / 'toy'}")
    generator = open_generator(settings)
    assert generator is not None
    assert open_count(Settings(home=home), None)(["user"]) == [5]
    assert open_count(settings, generator)(["user"]) == generator.count(["user"]) != [5]
    assert open_count(Settings(home=home, tokenizer=tokenizer), None)(["user"]) == generator.count(["user"])
