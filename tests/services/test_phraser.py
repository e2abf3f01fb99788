"""Teaching the local generator, and measuring what it says, on a toy model in the place of the one that is pulled."""

import json
from pathlib import Path

import pytest
from toy_llama import toy_llama

from features.errors import InvalidInput, ModelMissing
from models.language.tuning import TuningConfig
from models.language.weights import SMOLLM2
from services.jobs.evaluating_phraser import evaluate_phraser_and_report
from services.jobs.training_phraser import phraser_config, train_phraser
from services.settings import Settings
from services.wiring import open_generator, summary_prompt

pytestmark = pytest.mark.usefixtures("tables_of_mlflow")

CONFIG = TuningConfig(rank=2, rounds=1, tokens=4096)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight users who rated twelve items each."""
    file = tmp_path_factory.mktemp("data") / "rated.csv"
    rows = [
        f"u{user},i{(user + item) % 15},{1 + (user * item) % 5},{item * 1000}"
        for user in range(8)
        for item in range(12)
    ]
    file.write_text("\n".join(["user,item,value,timestamp", *rows]))
    return str(file)


@pytest.fixture
def settings(own_home: Path) -> Settings:
    toy_llama(own_home / "weights" / SMOLLM2, reads=2048)
    return Settings(home=own_home)


def test_it_is_taught_once_and_used_from_then_on(settings: Settings, ratings: str) -> None:
    before = open_generator(settings.model_copy(update={"generator": "local"}))
    report = train_phraser(settings, ratings, CONFIG, seed=0)
    assert (report["rounds"], report["pairs"], report["held_out"]) == (1, 64, 4)
    folder = Path(report["folder"])
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = train_phraser(settings, ratings, CONFIG, seed=0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert again["loss"] == report["loss"]
    local = settings.model_copy(update={"generator": "local"})
    after = open_generator(local)
    assert before is not None
    assert after is not None
    assert after.name.startswith(f"{before.name}+smollm2@")
    assert summary_prompt(local).version == "taught-1"
    assert not list((settings.home / "phrasers" / "unfinished").glob("*"))


def test_another_training_takes_its_place(settings: Settings, ratings: str) -> None:
    first = train_phraser(settings, ratings, CONFIG, seed=0)
    second = train_phraser(settings, ratings, CONFIG, seed=1)
    assert first["folder"] == second["folder"]
    assert json.loads((Path(second["folder"]) / "tuning.json").read_text())["seed"] == 1


def test_who_was_not_taught_is_asked_as_anybody_is(settings: Settings) -> None:
    assert summary_prompt(settings).version == "shown-1"
    assert summary_prompt(settings.model_copy(update={"generator": "local"})).version == "shown-1"


def test_the_report_tells_whose_words_the_summaries_are(
    settings: Settings, ratings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train_phraser(settings, ratings, CONFIG, seed=0)
    evaluate_phraser_and_report(settings, ratings, "rating", 3, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["evaluate"] == "phraser"
    assert report["protocol"]["users"] == 3
    assert report["protocol"]["taught_on"] == "these data"
    assert report["protocol"]["generator"].startswith(SMOLLM2)
    assert report["own"]["value"] == 0.0  # of a model whose weights are random
    assert report["sentences"] == 0
    assert report["problems"]
    evaluate_phraser_and_report(settings, ratings, "rating", 3, json=False)
    assert "3 users held out" in capsys.readouterr().out


def test_users_of_whom_it_may_have_been_taught_are_not_asked_for(settings: Settings, ratings: str) -> None:
    report = train_phraser(settings, ratings, CONFIG, seed=0)
    told = Path(report["folder"]) / "tuning.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"held_out": 2}))
    with pytest.raises(InvalidInput, match="2 held out"):
        evaluate_phraser_and_report(settings, ratings, "rating", 3, json=True)


def test_without_the_generator_it_is_said_what_brings_it(own_home: Path, ratings: str) -> None:
    settings = Settings(home=own_home)
    with pytest.raises(ModelMissing, match="weights pull"):
        train_phraser(settings, ratings, CONFIG, seed=0)
    with pytest.raises(ModelMissing, match="weights pull"):
        evaluate_phraser_and_report(settings, ratings, "general", 1, json=True)


def test_what_cannot_be_set_is_named(settings: Settings, ratings: str) -> None:
    assert phraser_config(None, ["rank=4", "learning_rate=0.01"]) == TuningConfig(rank=4, learning_rate=0.01)
    with pytest.raises(InvalidInput, match="rank"):
        phraser_config(None, ["rank=0"])
    with pytest.raises(InvalidInput, match="kind"):
        evaluate_phraser_and_report(settings, ratings, "poem", 1, json=True)
