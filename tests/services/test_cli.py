"""`tasteprint ...`: exit statuses, what stands on stdout, and the round trips of the commands."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from chat_server import ChatServer, Reply

from models.counts.fitting import CountsConfig
from services.cli import main
from services.settings import Settings, load_settings
from services.wiring import open_log
from streaming.log import Stream
from tests.services.conftest import running, wait_until

CHECKOUT = Path(__file__).parents[2]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_WAIT_POLICY")


@dataclass(frozen=True, slots=True)
class Ended:
    status: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        """The one JSON object on stdout."""
        assert self.status == 0, self.err
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Tasteprint = Callable[..., Ended]


@pytest.fixture
def tasteprint(own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tasteprint:
    """Runs a command in this process, in a home of the test's own."""
    monkeypatch.setenv("TASTEPRINT_HOME", str(own_home))
    for name in THREADS:
        monkeypatch.setenv(name, "1")  # or the commands would set them for all tests that follow

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tasteprint", *map(str, arguments)])
        capsys.readouterr()
        handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    file = tmp_path / "ratings.csv"
    file.write_text("who,what,stars,when\nann,alien,5,1000\nann,brazil,4,2000\nbob,alien,3,3000\n")
    return file


COLUMNS = ("--column", "user=who", "--column", "item=what", "--column", "value=stars", "--column", "at=when")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing-like-it",),
        ("serve", "--nothing-like-it"),
        ("serve", "--port", "eighty"),
        ("data", "import"),
        ("users", "export"),
        ("dead-letters", "send", "first"),
        ("dead-letters", "list", "--most", "0"),
        ("evaluate", "ranking", "--seeds", "0"),
        ("summarize", "--kind", "poem"),
        ("summarize", "--tokens", "-1"),
        ("experiments", "report"),
        ("experiments", "report", "--experiment", "nothing-like-it"),
        ("experiments", "report", "--window", "a week"),
    ],
)
def test_bad_usage_ends_with_2_and_says_so_on_stderr(tasteprint: Tasteprint, arguments: tuple[str, ...]) -> None:
    ended = tasteprint(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err


def test_help_needs_no_home_and_names_every_command(tasteprint: Tasteprint, own_home: Path) -> None:
    ended = tasteprint("--help")
    assert ended.status == 0
    for command in (
        "up",
        "serve",
        "ingest",
        "encode",
        "summarize",
        "data",
        "train",
        "evaluate",
        "models",
        "users",
        "dead-letters",
        "experiments",
        "bench",
        "demo",
    ):
        assert f" {command} " in ended.out
    assert not own_home.exists()


def test_neither_a_server_nor_a_promotion_waits_for_what_it_does_not_use() -> None:
    looked = "import sys, services.running, services.api.app, services.jobs.promoting; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert not {"torch", "mlflow", "matplotlib", "faiss", "transformers"} & set(ended.stdout.split())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "99999"),
        ("HISTORY_LIMIT", "none"),
        ("REDIS_URL", "localhost:6379"),
        ("LOG", "kafka"),
        ("TENANT", "A b"),
    ],
)
def test_a_bad_setting_ends_with_2_and_is_named(
    tasteprint: Tasteprint, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"TASTEPRINT_{variable}", value)
    ended = tasteprint("dead-letters", "list")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"tasteprint: {variable.lower()}: ")
    assert repr(value) in ended.err


def test_a_bad_flag_ends_with_2_and_is_named_as_the_setting(tasteprint: Tasteprint) -> None:
    ended = tasteprint("up", "--port", "70000")
    assert ended.status == 2
    assert ended.err.startswith("tasteprint: port: ")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("who,what\nann,alien\n", 1, "when"),
        ("who,what,stars,when\nann,alien,5,1000\nbob,alien,many,2000\n", 3, "stars"),
        ("who,what,stars,when\nann,alien,5,1000\nbob,,5,2000\n", 3, "what"),
        ("who,what,stars,when\nann,alien,5,1000\nbob,alien,5\n", 3, ""),
        ("who,what,stars,when\n", 0, ""),
    ],
)
def test_a_bad_data_set_ends_with_2_naming_the_file_and_the_line_and_sends_nothing(
    tasteprint: Tasteprint, ratings: Path, own_home: Path, text: str, line: int, said: str
) -> None:
    ratings.write_text(text)
    ended = tasteprint("data", "import", ratings, *COLUMNS)
    assert (ended.status, ended.out) == (2, "")
    place = f"{ratings}, line {line}: " if line else f"{ratings}: "
    assert ended.err.startswith(f"tasteprint: {place}")
    assert said in ended.err
    assert not (own_home / "log.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "pull", "nothing-like-it"), "ml-100k"),
        (("data", "import", "nothing-like-it"), "nothing-like-it"),
        (("train", "counts", "--data", "nothing-like-it"), "nothing-like-it"),
        (("models", "promote", "nothing-like-it"), "models list"),
        (("evaluate", "ranking", "--data", "nothing-like-it"), "nothing-like-it"),
        (("bench", "nothing-like-it"), "ingest"),
        (("bench", "_report"), "ingest"),
        (("dead-letters", "send", "7"), "dead-letters list"),
        (("dead-letters", "drop", "7"), "dead-letters list"),
    ],
)
def test_an_unknown_name_ends_with_2_and_says_what_would_do(
    tasteprint: Tasteprint, arguments: tuple[str, ...], said: str
) -> None:
    ended = tasteprint(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("tasteprint: ")
    assert said in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "excel"), "csv"),
        (("--column", "user"), "--column user=THEIR_NAME"),
        (("--column", "=who"), "--column user=THEIR_NAME"),
        (("--column", "person=who"), "user"),
    ],
)
def test_bad_options_of_an_import_end_with_2_and_say_what_would_do(
    tasteprint: Tasteprint, ratings: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = tasteprint("data", "import", ratings, *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err


@pytest.mark.usefixtures("tables_of_mlflow")
def test_unknown_choices_of_an_evaluation_end_with_2_and_say_which_there_are(
    tasteprint: Tasteprint, ratings: Path, tmp_path: Path
) -> None:
    tasteprint("data", "import", ratings, *COLUMNS, "--to", tmp_path / "set")
    for option, value, said in (
        ("--models", "magic", "popularity"),
        ("--fit", "none", "refit"),
        ("--split", "odd", "global"),
    ):
        ended = tasteprint("evaluate", "ranking", "--data", tmp_path / "set", option, value)
        assert (ended.status, ended.out) == (2, ""), option
        assert value in ended.err
        assert said in ended.err


def test_a_store_that_does_not_answer_ends_with_1(tasteprint: Tasteprint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTEPRINT_REDIS_URL", "unix:///nobody/listens.sock")
    ended = tasteprint("users", "export", "ann")
    assert (ended.status, ended.out) == (1, "")
    assert "the profile store does not answer" in ended.err
    assert "Traceback" not in ended.err


def test_an_import_sends_events_and_items_and_importing_again_changes_nothing(
    tasteprint: Tasteprint, ratings: Path, own_home: Path
) -> None:
    report = tasteprint("data", "import", ratings, *COLUMNS, "--name", "films", "--json").json()
    assert {"data": "films", "events": 3, "items": 2, "users": 2}.items() <= report.items()
    assert report["log"] == str(own_home / "log.sqlite")
    applied = tasteprint("ingest", "--until-end", "--json").json()
    assert {"events": 3, "items": 2, "dead_letters": 0, "problems": []}.items() <= applied.items()
    before = tasteprint("users", "export", "ann").json()
    assert [
        (one["event_id"], one["item_id"], one["type"], one["value"], one["timestamp"]) for one in before["events"]
    ] == [("films-0", "alien", "rating", 5.0, 1000.0), ("films-1", "brazil", "rating", 4.0, 2000.0)]
    assert before["items_seen"] == ["alien", "brazil"]

    tasteprint("data", "import", ratings, *COLUMNS, "--name", "films")
    tasteprint("ingest", "--until-end")
    again = tasteprint("users", "export", "ann").json()
    assert again["events"] == before["events"]
    assert again["items_seen"] == before["items_seen"]


def test_what_the_api_says_of_an_item_outlives_another_import(
    tasteprint: Tasteprint, ratings: Path, own_home: Path
) -> None:
    tasteprint("data", "import", ratings, *COLUMNS)
    with running(Settings(home=own_home)) as app:
        app.put({"item_id": "alien", "title": "Alien (1979)", "hidden": True})
        wait_until(lambda: app.client.get("/v1/items/alien").json().get("hidden"))
    tasteprint("data", "import", ratings, *COLUMNS)
    tasteprint("ingest", "--until-end")
    with running(Settings(home=own_home)) as app:
        alien = app.client.get("/v1/items/alien").json()
        assert (alien["title"], alien["hidden"]) == ("Alien (1979)", True)


def test_an_import_to_a_folder_writes_parquet_that_can_be_imported(
    tasteprint: Tasteprint, ratings: Path, tmp_path: Path, own_home: Path
) -> None:
    folder = tmp_path / "written"
    report = tasteprint("data", "import", ratings, *COLUMNS, "--to", folder, "--json").json()
    assert report["folder"] == str(folder)
    assert pl.read_parquet(folder / "events.parquet")["item"].to_list() == ["alien", "brazil", "alien"]
    assert not (own_home / "log.sqlite").exists()
    assert tasteprint("data", "import", folder, "--json").json()["events"] == 3
    assert (own_home / "log.sqlite").exists()


def test_a_report_for_a_person_has_a_line_a_fact_and_no_json(
    tasteprint: Tasteprint, ratings: Path, tmp_path: Path
) -> None:
    ended = tasteprint("data", "import", ratings, *COLUMNS, "--to", tmp_path / "written")
    assert ended.status == 0
    facts = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert (facts["events"], facts["items"], facts["users"]) == ("3", "2", "2")
    assert facts["folder"] == str(tmp_path / "written")


@pytest.mark.usefixtures("tables_of_mlflow")
def test_from_experiment_to_traffic_and_back(tasteprint: Tasteprint, tmp_path: Path, own_home: Path) -> None:
    rows = [f"u{user},i{(user + step) % 8},{step}" for user in range(12) for step in range(5)]
    file = tmp_path / "ring.csv"
    file.write_text("user,item,timestamp\n" + "\n".join(rows) + "\n")
    assert tasteprint("models", "list", "--json").json() == {"in_use": None, "models": []}
    first = tasteprint("train", "counts", "--data", file, "--json").json()
    assert (first["events"], first["version"], first["in_use"]) == (60, 1, first["model"])
    assert first["ndcg@10"] > 0.5
    assert (own_home / "models" / "current").read_text() == f"{first['model']}\n"
    second = tasteprint("train", "counts", "--data", file, "--seed", 1, "--json").json()
    assert (second["version"], second["in_use"]) == (2, first["model"])
    assert second["next"] == f"tasteprint models promote {second['model']}"

    listed = tasteprint("models", "list", "--json").json()
    assert listed["in_use"] == first["model"]
    assert [(one["version"], one["name"], one["in_use"]) for one in listed["models"]] == [
        (1, first["model"], True),
        (2, second["model"], False),
    ]
    assert listed["models"][0]["data"] == str(file)
    assert listed["models"][0]["metrics"]["ndcg@10"] == first["ndcg@10"]
    table = tasteprint("models", "list").out
    assert all(name in table for name in (first["model"], second["model"], "in use"))

    promoted = tasteprint("models", "promote", second["model"], "--who", "ann", "--json").json()
    assert {"from": first["model"], "to": second["model"], "who": "ann", "version": 2}.items() <= promoted.items()
    back = tasteprint("models", "rollback", "--json").json()
    assert {"from": second["model"], "to": first["model"], "kind": "rollback", "version": 1}.items() <= back.items()
    again = tasteprint("models", "rollback")
    assert (again.status, again.out) == (1, "")
    assert "nothing was in use before" in again.err
    assert tasteprint("models", "promote", "counts-gone").status == 2
    assert tasteprint("models", "promote", second["model"], "--wait", "0.1", "--json").status == 1  # no server is there

    ended = tasteprint("evaluate", "ranking", "--data", file, "--models", "popularity", "--bootstrap", "0", "--json")
    assert ended.json()["evaluate"] == "ranking"
    assert set(ended.json()["models"]) == {"popularity"}
    assert ended.err == ""  # no bar where nobody is looking

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{own_home}/mlflow.sqlite")
    experiments = {found.name: found.experiment_id for found in client.search_experiments()}
    [evaluated] = client.search_runs([experiments["evaluate ranking"]])
    assert evaluated.info.status == "FINISHED"
    assert evaluated.data.metrics["popularity/ndcg_at_10"] == ended.json()["models"]["popularity"]["ndcg@10"]
    assert {"models": "popularity", "fit": "refit", "data.name": "ring"}.items() <= evaluated.data.params.items()
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", evaluated.data.params["commit"])
    kept = {path.name for path in (own_home / "mlflow-artifacts" / evaluated.info.run_id / "artifacts").iterdir()}
    assert kept == {"report.json", "ndcg@10.png"}
    runs = client.search_runs([experiments["train counts"]], order_by=["attributes.start_time"])
    assert [run.data.params["seed"] for run in runs] == ["0", "1"]
    assert runs[0].data.tags["bundle"] == first["model"]
    assert runs[0].data.params["config.ease.l2"] == str(CountsConfig().ease.l2)


def broken_records(settings: Settings, *values: bytes, user: str = "ann") -> None:
    """What only a broken producer writes, straight into the log."""
    with closing(open_log(settings)) as log:
        log.append(Stream.EVENTS, [(user, value) for value in values], 1000.0)


def test_dead_letters_are_listed_sent_again_and_dropped(tasteprint: Tasteprint, own_home: Path) -> None:
    assert tasteprint("dead-letters", "list", "--json").json() == {"total": 0, "dead_letters": []}
    broken_records(Settings(home=own_home), b"{", b'{"user_id":"ann","typ":"view"}', "é".encode("latin-1"))
    assert tasteprint("ingest", "--until-end", "--json").json()["dead_letters"] == 3

    listed = tasteprint("dead-letters", "list", "--json").json()
    assert listed["total"] == 3
    first, second, third = listed["dead_letters"]
    assert (first["stream"], first["key"], first["record"]) == ("events", "ann", "{")
    assert second["reason"].startswith("type: ") or second["reason"].startswith("typ: ")
    assert third["record"] == "\ufffd"
    assert len(tasteprint("dead-letters", "list", "--most", "1", "--json").json()["dead_letters"]) == 1
    table = tasteprint("dead-letters", "list").out
    assert "3 dead letters" in table
    assert "typ" in table

    # Sent again they fail again, and come back with new numbers.
    assert tasteprint("dead-letters", "send", second["id"], "--json").json() == {"sent": 1}
    assert tasteprint("dead-letters", "list", "--json").json()["total"] == 2
    assert tasteprint("ingest", "--until-end", "--json").json()["dead_letters"] >= 1
    again = tasteprint("dead-letters", "list", "--json").json()["dead_letters"]
    assert second["record"] in [letter["record"] for letter in again]
    assert second["id"] not in [letter["id"] for letter in again]

    assert tasteprint("dead-letters", "send", "--json").json() == {"sent": len(again)}
    assert tasteprint("dead-letters", "list", "--json").json()["total"] == 0
    tasteprint("ingest", "--until-end")
    left = [letter["id"] for letter in tasteprint("dead-letters", "list", "--json").json()["dead_letters"]]
    assert tasteprint("dead-letters", "drop", *left, "--json").json() == {"dropped": len(left)}
    assert tasteprint("dead-letters", "list", "--json").json()["total"] == 0


def test_one_unknown_letter_and_none_is_sent(tasteprint: Tasteprint, own_home: Path) -> None:
    broken_records(Settings(home=own_home), b"{")
    tasteprint("ingest", "--until-end")
    [letter] = tasteprint("dead-letters", "list", "--json").json()["dead_letters"]
    assert tasteprint("dead-letters", "send", letter["id"], 99).status == 2
    assert tasteprint("dead-letters", "list", "--json").json()["total"] == 1


def test_an_erased_user_is_gone_from_the_export_and_from_every_file(
    tasteprint: Tasteprint, ratings: Path, own_home: Path
) -> None:
    # What is in her events names her too: of the store's files only they do, its keys are digests.
    rows = ["Zyzx-4711,alien,5,1000,by Zyzx-4711", "Zyzx-4711,brazil,4,2000,by Zyzx-4711", "bob,alien,3,3000,view"]
    ratings.write_text("\n".join(["who,what,stars,when,kind", *rows, ""]))
    tasteprint("data", "import", ratings, *COLUMNS, "--column", "type=kind")
    broken_records(Settings(home=own_home), b'{"user_id":"Zyzx-4711"}', user="Zyzx-4711")
    tasteprint("ingest", "--until-end")
    assert len(tasteprint("users", "export", "Zyzx-4711").json()["events"]) == 2

    def naming() -> list[str]:
        return [path.name for path in own_home.rglob("*") if path.is_file() and b"Zyzx-4711" in path.read_bytes()]

    assert naming()
    report = tasteprint("users", "erase", "Zyzx-4711", "--json").json()
    assert {"erased": True, "log_records": 3, "dead_letters": 1, "applied_by": "this command"}.items() <= report.items()
    assert naming() == []
    exported = tasteprint("users", "export", "Zyzx-4711").json()
    assert (exported["events"], exported["items_seen"]) == ([], [])
    assert len(tasteprint("users", "export", "bob").json()["events"]) == 1


def test_nobody_has_an_empty_export(tasteprint: Tasteprint) -> None:
    assert tasteprint("users", "export", "nobody").json() == {
        "user_id": "nobody",
        "as_of": None,
        "events": [],
        "items_seen": [],
        "vectors": [],
        "soft_prompts": [],
        "updates": [],
        "summaries": {},
        "corrections": [],
    }


EXPERIMENT = """
[experiment]
name = "counts-or-popular"
variants.control = { bundle = "current", share = 0.5 }
variants.plain = { bundle = "popular", share = 0.5 }
"""


def test_an_experiment_is_reported_by_variant(tasteprint: Tasteprint, own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "tasteprint.toml").write_text(EXPERIMENT)
    with running(load_settings()) as app:
        app.put({"item_id": "alien"})
        shown = app.client.get("/v1/users/ann/recommendations").json()
        [item] = shown["items"]
        click = {"user_id": "ann", "item_id": item["item_id"], "type": "click", "event_id": "e1"}
        app.send(click | {"recommendation_id": shown["recommendation_id"]})
    report = tasteprint("experiments", "report", "--outcome", "click", "--outcome", "purchase", "--json").json()
    assert (report["experiment"], report["kind"]) == ("counts-or-popular", "split")
    assert report["outcomes"] == ["click", "purchase"]
    assert list(report["variants"]) == ["control", "plain"]
    assert sorted(one["clicked"] for one in report["variants"].values()) == [0, 1]
    assert list(report["comparisons"]) == ["plain - control"]


def test_the_console_script_prints_one_json_object_and_draws_nothing_without_a_terminal(
    ratings: Path, own_home: Path
) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("tasteprint"), "data", "import", ratings, *COLUMNS, "--json"],
        env=os.environ | {"TASTEPRINT_HOME": str(own_home)},
        capture_output=True,
        check=False,
        cwd=ratings.parent,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["events"] == 3


def test_encoders_are_trained_for_an_evaluation_that_then_loads_them(tasteprint: Tasteprint, tmp_path: Path) -> None:
    table = tmp_path / "shop.csv"
    rows = [f"u{user},i{(user + step) % 12},{step}" for user in range(40) for step in range(6)]
    table.write_text("\n".join(["user,item,timestamp", *rows]))
    small = [part for name in ("dimensions=8", "epochs=2", "length=8") for part in ("--set", name)]
    asked = ["--data", table, "--fit", "train", *small, "--json"]
    refused = tasteprint("evaluate", "ranking", "--models", "sasrec", *asked)
    assert refused.status == 2
    assert "tasteprint train encoder" in refused.err
    [made] = tasteprint("train", "encoder", *asked).json()["encoders"]  # type: ignore[misc]
    assert made["kind"] == "sasrec"
    report = tasteprint("evaluate", "ranking", "--models", "sasrec,pipeline", *asked).json()
    assert set(report["models"]) == {"sasrec", "pipeline"}  # type: ignore[call-overload]
    served = tasteprint("train", "encoder", "--data", table, *small, "--json").json()
    assert str(served["in_use"]).startswith("encoder-")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--encoder", "sasrek"], "it is one of sasrec"),
        (["--set", "dimensions"], "NAME=VALUE"),
        (["--set", "dimensions=many"], "dimensions"),
        (["--set", "depth=3"], "no such setting"),
        (["--encoder", "sasrec,hstu"], "a bundle has one encoder"),
        ([], "too few for an encoder"),
    ],
)
def test_an_encoder_that_cannot_be_trained_is_refused_with_the_reason(
    tasteprint: Tasteprint, tmp_path: Path, given: list[str], said: str
) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("user,item,timestamp\nann,a,1\nann,b,2\nbob,a,1\n")
    ended = tasteprint("train", "encoder", "--data", table, *given)
    assert ended.status == 2
    assert said in ended.err


@pytest.mark.usefixtures("tables_of_mlflow")
def test_p5_is_trained_for_an_evaluation_that_then_loads_it(
    tasteprint: Tasteprint, tmp_path: Path, own_home: Path
) -> None:
    table = tmp_path / "shop.csv"
    pairs = [(user, step) for user in range(40) for step in range(7)]
    rows = [f"u{user},i{(user + step) % 12},{step},{1 + (user + step) % 5}" for user, step in pairs]
    table.write_text("\n".join(["user,item,timestamp,rating", *rows]))
    small = ["--preset", "tiny", "--set", "epochs=1", "--set", "dimensions=8"]
    asked = ["--data", table, *small, "--json"]
    refused = tasteprint("evaluate", "p5", *asked)
    assert refused.status == 2
    assert "tasteprint train p5 --fit train" in refused.err
    made = tasteprint("train", "p5", "--fit", "train", *asked).json()
    assert made["families"] == ["rating", "sequential", "direct"]
    report = tasteprint("evaluate", "p5", "--bootstrap", 10, *asked).json()
    assert report["evaluate"] == "p5"
    assert set(report["families"]) == set(report["prompt_sensitivity"]) == {"rating", "sequential", "direct"}
    assert [message.partition(" ")[0] for message in report["left_out"]] == ["review", "explanation"]
    told = tasteprint("evaluate", "p5", "--bootstrap", 0, *asked[:-1])
    assert all(word in told.out for word in ("rating", "- biases", "pick-next", "review is left out"))
    of_p5 = ["--p5-preset", "tiny", "--p5-set", "epochs=1", "--p5-set", "dimensions=8"]
    asked = ["--data", table, "--models", "p5,pipeline-p5,pipeline-counts", *of_p5, "--json"]
    ranked = tasteprint("evaluate", "ranking", *asked).json()
    assert "pipeline-p5 - pipeline-counts" in ranked["comparisons"]

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{own_home}/mlflow.sqlite")
    experiments = {found.name: found.experiment_id for found in client.search_experiments()}
    [trained] = client.search_runs([experiments["p5"]])
    assert {"seed": "0", "config.dimensions": "8", "cut.split": "leave-one-out"}.items() <= trained.data.params.items()
    assert {"loss", "ndcg_at_10", "epoch", "seconds"} <= set(trained.data.metrics)
    runs = client.search_runs([experiments["evaluate p5"]], order_by=["attributes.start_time"])
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED", "FINISHED"]
    figure = report["families"]["sequential"]["held_out"]["tasks"]["next"]["hr@10"]
    assert runs[1].data.metrics["sequential/next/held_out/hr_at_10"] == figure


@pytest.mark.usefixtures("tables_of_mlflow")
def test_p5_is_registered_with_the_counting_models_as_a_bundle(tasteprint: Tasteprint, tmp_path: Path) -> None:
    table = tmp_path / "shop.csv"
    rows = [f"u{user},i{(user + step) % 12},{step}" for user in range(40) for step in range(6)]
    table.write_text("\n".join(["user,item,timestamp", *rows]))
    small = ["--preset", "tiny", "--set", "epochs=1", "--set", "dimensions=8"]
    served = tasteprint("train", "p5", "--data", table, *small, "--json").json()
    assert str(served["in_use"]).startswith("p5-")
    assert (served["version"], served["families"]) == (1, ["sequential", "direct"])
    again = tasteprint("train", "p5", "--data", table, *small, "--json").json()
    assert again["model"] == served["model"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--preset", "huge"], "it is one of tiny"),
        (["--set", "dimensions=many"], "dimensions"),
        (["--set", "depth=3"], "no such setting of P5"),
        (["--fit", "refit"], "it is serve or train"),
        (["--set", "checkpoint=nowhere"], "checkpoint: nowhere: no config.json that can be read"),
        (["--preset", "tiny"], "too few for P5"),
    ],
)
def test_a_p5_that_cannot_be_trained_is_refused_with_the_reason(
    tasteprint: Tasteprint, tmp_path: Path, given: list[str], said: str
) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("user,item,timestamp\nann,a,1\nann,b,2\nann,c,3\nbob,a,1\n")
    ended = tasteprint("train", "p5", "--data", table, *given)
    assert ended.status == 2
    assert said in ended.err


@pytest.mark.usefixtures("tables_of_mlflow")
def test_summaries_are_judged_by_models_that_are_trained_once(
    tasteprint: Tasteprint, tmp_path: Path, own_home: Path
) -> None:
    table = tmp_path / "shop.csv"
    rows = [f"u{user},i{(user + step) % 12},{step},{1 + (user + step) % 5}" for user in range(6) for step in range(9)]
    table.write_text("\n".join(["user,item,timestamp,rating", *rows]))
    small = [
        "test=2",
        "validation=1",
        "earlier=2",
        "candidates=3",
        "dimensions=8",
        "layers=1",
        "examples=20",
        "rounds=1",
    ]
    asked = ["--data", table, "--bootstrap", 10, *(part for one in small for part in ("--set", one))]
    refused = tasteprint("evaluate", "summaries", *asked)
    assert refused.status == 2
    assert "tasteprint evaluate summaries --train" in refused.err
    told = tasteprint("evaluate", "summaries", *asked, "--train")
    assert all(word in told.out for word in ("rating", "choice", "summary+1 - retrieval-16", "of its history tokens"))
    report = tasteprint("evaluate", "summaries", *asked, "--json").json()
    assert (report["evaluate"], set(report["tasks"])) == ("summaries", {"rating", "choice"})

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{own_home}/mlflow.sqlite")
    [experiment] = [one for one in client.search_experiments() if one.name == "evaluate summaries"]
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED", "FINISHED"]
    figure = report["tasks"]["rating"]["arms"]["summary"]["mae"]["value"]
    assert runs[2].data.metrics["rating/summary/mae"] == figure

    wanted = ["--task", "rating", "--rounds", 1, *asked[:2], *asked[4:]]
    found = tasteprint("train", "summary-prompt", *wanted, "--json").json()
    assert found["best"] in found["candidates"]
    assert {"usual", "without rating_habit", "less liked_category"} <= set(found["candidates"])
    assert client.get_model_version_by_alias("tasteprint-summary-prompt", "rating-template").version == found["version"]
    refused = tasteprint("train", "summary-prompt", "--by", "generator", *wanted)
    assert (refused.status, "no generator is set" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--set", "retriever=psychic"], "it is one of bm25"),
        (["--set", "test=0"], "test"),
        (["--set", "retriever=dense"], "weights pull"),
        ([], "no user has"),
    ],
)
def test_summaries_that_cannot_be_judged_are_refused_with_the_reason(
    tasteprint: Tasteprint, tmp_path: Path, given: list[str], said: str
) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("user,item,timestamp\nann,a,1\nann,b,2\nbob,a,1\n")
    ended = tasteprint("evaluate", "summaries", "--data", table, *given)
    assert ended.status in (1, 2)
    assert said in ended.err


def test_summaries_are_written_exported_and_not_written_again(tasteprint: Tasteprint, ratings: Path) -> None:
    tasteprint("data", "import", ratings, *COLUMNS, "--name", "films")
    tasteprint("ingest", "--until-end")
    report = tasteprint("summarize", "--kind", "ranking", "--json").json()
    assert {"users": 2, "written": 2, "by_template": 2, "stale": 0, "problems": []}.items() <= report.items()
    [version] = tasteprint("users", "export", "ann").json()["summaries"]["ranking"]
    assert (version["model"], [claim["text"] for claim in version["claims"]]) == (
        "template",
        ["Recent: brazil, alien."],
    )
    again = tasteprint("summarize", "--kind", "ranking", "--json").json()
    assert {"users": 2, "unchanged": 2, "written": 0}.items() <= again.items()


def test_summaries_that_are_left_stale_end_with_1(
    tasteprint: Tasteprint, ratings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasteprint("data", "import", ratings, *COLUMNS, "--name", "films")
    tasteprint("ingest", "--until-end")
    with ChatServer() as server:
        server.always = Reply(404)
        monkeypatch.setenv("TASTEPRINT_GENERATOR", server.url)
        monkeypatch.setenv("TASTEPRINT_GENERATOR_MODEL", "toy")
        ended = tasteprint("summarize", "--kind", "ranking", "--json")
    report = json.loads(ended.out)
    assert (ended.status, report["stale"], report["by_template"]) == (1, 2, 2)
    assert report["problems"][0].startswith("2 summaries lack the generator's words: ")
