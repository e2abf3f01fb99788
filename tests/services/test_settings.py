"""Settings: file < environment < flags, and a bad value is named."""

import os
from pathlib import Path

import pytest

from features.errors import InvalidInput
from services.settings import Settings, limit_threads, load_settings, restrain_mlflow


@pytest.fixture(autouse=True)
def home_in_the_environment(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_home.mkdir()
    monkeypatch.setenv("TASTEPRINT_HOME", str(own_home))


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "tasteprint.toml").write_text('port = 1001\nhost = "file"\nverb = "file"\n')
    monkeypatch.setenv("TASTEPRINT_PORT", "1002")
    monkeypatch.setenv("TASTEPRINT_HOST", "environment")
    settings = load_settings(port=1003)
    assert (settings.port, settings.host, settings.verb) == (1003, "environment", "file")
    assert settings.history_limit == 500  # what nobody sets stays


def test_a_flag_that_was_not_given_leaves_the_setting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTEPRINT_PORT", "1002")
    assert load_settings(port=None, host=None).port == 1002


def test_another_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.toml"
    file.write_text("port = 1001\n")
    monkeypatch.setenv("TASTEPRINT_CONFIG", str(file))
    assert load_settings().port == 1001


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", 65_536),
        ("port", -1),
        ("port", "eighty"),
        ("tenant", "No Spaces"),
        ("tenant", ""),
        ("log", "kafka"),
        ("log", "/a/path"),
        ("redis_url", "localhost"),
        ("mlflow_uri", "localhost:5000"),
        ("mlflow_artifacts", "/a/folder"),
        ("body_bytes", 0),
        ("batch_most", -5),
        ("history_limit", 0),
        ("history_limit", 10_001),
        ("log_partitions", 0),
        ("explore", 0.6),
        ("explore", "nan"),
        ("trend_half_life_days", 0),
        ("drain_seconds", 0),
        ("metrics_port", 65_536),
        ("verb", ""),
        ("threads", 0),
        ("generator", "smollm2"),
        ("generator", "local:"),
        ("generator", "ftp://server/v1"),
        ("generator", "https:///v1"),
        ("generator", "https://server:99999/v1"),
        ("generator", "https://server/v1#there"),
        ("generator_timeout_seconds", 0),
        ("generator_timeout_seconds", "inf"),
        ("generator_concurrency", 0),
        ("generator_price_in", -1),
        ("generator_price_out", "nan"),
        ("summary_tokens_per_day", -1),
        ("phraser", "/not/there"),
        ("tokenizer", "/not/there"),
        ("nothing_like_it", 1),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_the_setting(setting: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_settings(**{setting: value})
    assert refused.value.field == setting
    assert repr(value) in str(refused.value)


def test_a_bad_value_in_the_environment_is_refused_by_the_name_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTEPRINT_PORT", "eighty")
    with pytest.raises(InvalidInput, match=r"^port: .*'eighty'"):
        load_settings()


@pytest.mark.parametrize("text", ["prot = 8000\n", "port = 8000\nprot = 1\n"])
def test_an_unknown_setting_in_the_file_is_refused_by_its_name(own_home: Path, text: str) -> None:
    (own_home / "tasteprint.toml").write_text(text)
    with pytest.raises(InvalidInput, match=r"^prot: "):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_by_its_name(own_home: Path) -> None:
    (own_home / "tasteprint.toml").write_text("port = \n")
    with pytest.raises(InvalidInput, match=r"tasteprint\.toml"):
        load_settings()


def test_a_file_that_is_named_and_not_there_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASTEPRINT_CONFIG", str(tmp_path / "misspelt.toml"))
    with pytest.raises(InvalidInput, match=r"misspelt\.toml"):
        load_settings()


def test_the_home_is_absolute_and_the_log_is_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=Path("here"))
    assert settings.home == tmp_path / "here"
    assert settings.log_path == tmp_path / "here" / "log.sqlite"
    assert Settings(home=Path("~/there")).home == Path.home() / "there"
    assert Settings(log="sqlite:////var/log.sqlite").log_path == Path("/var/log.sqlite")


def test_mlflow_is_where_its_own_variable_says_unless_ours_does(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    assert load_settings().tracking_uri == f"sqlite:///{own_home}/mlflow.sqlite"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs:5000")
    assert load_settings().tracking_uri == "http://theirs:5000"
    monkeypatch.setenv("TASTEPRINT_MLFLOW_URI", "http://ours:5000")
    assert load_settings().tracking_uri == "http://ours:5000"
    assert load_settings(mlflow_uri="sqlite:////flag").tracking_uri == "sqlite:////flag"


def test_mlflow_can_be_named_in_the_file_and_an_empty_name_is_none(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "tasteprint.toml").write_text('mlflow_uri = "http://file:5000"\n')
    assert load_settings().tracking_uri == "http://file:5000"
    (own_home / "tasteprint.toml").unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert load_settings().mlflow_uri is None


def test_files_of_runs_are_in_the_home_unless_another_place_is_named(own_home: Path) -> None:
    assert load_settings().artifacts_uri == f"file://{own_home}/mlflow-artifacts"
    assert load_settings(mlflow_artifacts="").artifacts_uri == f"file://{own_home}/mlflow-artifacts"
    assert load_settings(mlflow_artifacts="s3://bucket/tasteprint").artifacts_uri == "s3://bucket/tasteprint"


def test_mlflow_neither_unpickles_nor_reports_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALLOW_PICKLE_DESERIALIZATION", "DISABLE_TELEMETRY", "ENABLE_ARTIFACTS_PROGRESS_BAR"):
        monkeypatch.setenv(f"MLFLOW_{name}", "true" if name == "ALLOW_PICKLE_DESERIALIZATION" else "false")
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "7")
    restrain_mlflow()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"


@pytest.mark.parametrize("generator", ["", "local", "local:/a/folder", "http://localhost:8080/v1", "https://[::1]/v1"])
def test_a_generator_is_of_this_machine_or_a_server(generator: str) -> None:
    assert load_settings(generator=generator, generator_model="a model").generator == generator


def test_the_url_of_a_generator_ends_where_its_routes_begin() -> None:
    assert load_settings(generator="http://server/v1/\n", generator_model="a model").generator == "http://server/v1"


def test_a_server_needs_the_name_of_its_model() -> None:
    with pytest.raises(InvalidInput, match=r"^generator_model: "):
        load_settings(generator="http://server/v1")


def test_a_key_is_kept_without_the_space_around_it_and_never_shown() -> None:
    settings = load_settings(generator_key=" sk-1234\n")
    assert settings.generator_key is not None
    assert settings.generator_key.get_secret_value() == "sk-1234"
    assert "sk-1234" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert load_settings(generator_key=" ").generator_key is None


@pytest.mark.parametrize("key", ["sk-1234\nX-Other: 1", "sk 1234", "sk-1234-\N{SNOWMAN}", 1234])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: object) -> None:
    with pytest.raises(InvalidInput, match="generator_key") as refused:
        load_settings(generator_key=key)
    assert "1234" not in str(refused.value)


def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(own_home: Path) -> None:
    for generator in ("https://user:hush@server/v1", "https://hush@server/v1", "https://server/v1?key=hush"):
        with pytest.raises(InvalidInput, match="generator_key") as refused:
            load_settings(generator=generator, generator_model="a model")
        assert "hush" not in str(refused.value)
    (own_home / "tasteprint.toml").write_text('generator_keys = "hush"')
    with pytest.raises(InvalidInput, match=r"^generator_keys: ") as refused:
        load_settings()
    assert "hush" not in str(refused.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(("given", "others"), [(None, "3"), ("7", "7"), ("5,2", "5")])
def test_threads_are_limited_unless_the_operator_has_set_them(
    monkeypatch: pytest.MonkeyPatch, given: str | None, others: str
) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_WAIT_POLICY")
    for name in names:
        monkeypatch.setenv(name, "to be put back afterwards")
        monkeypatch.delenv(name)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    limit_threads(3)
    assert [os.environ[name] for name in names[:-1]] == [given or "3", others, "9", others]
