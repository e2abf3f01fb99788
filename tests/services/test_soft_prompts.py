"""Soft prompts in real applications: stored behind the ingest, handed out while fresh, gone with a user."""

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load
from toy_soft_prompt import ITEMS, toy_soft_prompt

from features.events import UserId
from features.profile import SoftPrompt
from models.soft_prompt.reading import Past
from models.soft_prompt.trained import Aligned
from services.settings import Settings
from services.soft_prompts import FollowingSoftPrompt
from services.wiring import backends
from tests.services.conftest import NOW, Running, event, running, wait_until
from tests.services.test_cli import Tasteprint, tasteprint

__all__ = ["tasteprint"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soft")


@pytest.fixture(scope="module")
def aligned(home: Path) -> Aligned:
    return toy_soft_prompt(home)


@pytest.fixture(scope="module")
def prompting(home: Path, redis_url: str, aligned: Aligned) -> Iterator[Running]:
    with running(Settings(home=home, redis_url=redis_url, tenant="soft")) as app:
        yield app


def chose(app: Running, user: str, *items: str, at: float = NOW - 100) -> None:
    app.send([event(user, item, at + step) for step, item in enumerate(items)])


def version(app: Running) -> str:
    return app.serving.soft_prompts.in_use().version


def stored(app: Running, user: str) -> SoftPrompt | None:
    """The soft prompt of the version in use, when it is fresh."""
    [(history, found)] = app.backends.patient.read_with_soft_prompts([UserId(user)], version(app))
    return found if found is not None and found.as_of == history.as_of else None


def got(app: Running, user: str, query: str = "") -> dict[str, Any]:
    response = app.client.get(f"/v1/users/{user}/soft-prompt{query}")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer["degraded"] == []
    return answer


def vectors_of(answer: dict[str, Any]) -> NDArray[np.float32]:
    found = np.frombuffer(b64decode(answer["vectors"]), np.dtype(answer["dtype"]).newbyteorder("<"))
    return found.reshape(answer["shape"]).astype(np.float32)


def expected(aligned: Aligned, *items: str, at: float = NOW - 100) -> NDArray[np.float32]:
    """What the trained model makes of a history of these items, a second apart."""
    rows = np.array([ITEMS.row_of[item] for item in items], np.int64)
    count = len(items)
    [vectors_KW] = aligned.prompts([Past(rows, at + np.arange(count), np.full(count, np.nan, np.float32))])
    return vectors_KW


def forge(app: Running, user: str, model: str | None = None) -> None:
    """Stores ones, as a soft prompt that is fresh."""
    [history] = app.backends.patient.read([UserId(user)])
    assert history.as_of is not None
    forged = SoftPrompt(np.ones((2, 32), np.float32), model or version(app), history.as_of)
    assert app.backends.patient.write_soft_prompts([(UserId(user), forged)]) == 1


def test_what_is_handed_out_is_what_the_model_makes_of_the_history(
    prompting: Running, user: str, aligned: Aligned
) -> None:
    for items in (["i3", "i4"], ["i3", "i4", "unknown", "i5"]):
        chose(prompting, user, *items)
        known = [item for item in items if item != "unknown"]
        before = got(prompting, user)
        wait_until(lambda: stored(prompting, user))
        after = got(prompting, user)
        for answer in (before, after):
            assert (answer["dtype"], answer["shape"]) == ("float16", [2, 32])
            assert answer["model"] == version(prompting)
            assert answer["base_model"] == {"name": "SmolLM2-135M-Instruct", "sha256": aligned.language.digest}
            assert answer["is_current"]
        assert before["as_of"] == after["as_of"] == str(prompting.backends.patient.read([UserId(user)])[0].as_of)
        np.testing.assert_allclose(vectors_of(after), expected(aligned, *known), rtol=2**-10, atol=1e-4)
        np.testing.assert_allclose(vectors_of(before), vectors_of(after), rtol=2**-9, atol=1e-4)


def test_the_same_comes_in_float32_and_in_safetensors(prompting: Running, user: str) -> None:
    chose(prompting, user, "i1", "i2")
    wait_until(lambda: stored(prompting, user))
    half, whole = got(prompting, user), got(prompting, user, "?dtype=float32")
    assert (half["dtype"], whole["dtype"]) == ("float16", "float32")
    assert np.array_equal(vectors_of(half), vectors_of(whole))
    path = f"/v1/users/{user}/soft-prompt"
    by_header = prompting.client.get(path, headers={"Accept": "application/octet-stream"})
    by_name = prompting.client.get(f"{path}?format=safetensors&dtype=float32")
    for response, dtype in ((by_header, np.float16), (by_name, np.float32)):
        assert response.headers["content-type"] == "application/octet-stream"
        found = load(response.content)["soft_prompt"]
        assert found.dtype == dtype
        assert np.array_equal(found.astype(np.float32), vectors_of(half))
        for said in (half["model"], half["base_model"]["name"], half["base_model"]["sha256"], half["as_of"]):
            assert said.encode() in response.content
    assert prompting.client.get(f"{path}?format=json", headers={"Accept": "application/octet-stream"}).json() == half


def test_a_fresh_one_is_used_a_stale_one_is_not_and_neither_is_one_of_another_version(
    prompting: Running, user: str, aligned: Aligned
) -> None:
    chose(prompting, user, "i3", "i4")
    wait_until(lambda: stored(prompting, user))
    forge(prompting, user)
    assert (vectors_of(got(prompting, user)) == 1).all()
    chose(prompting, user, "i5", at=NOW - 98)
    assert not (vectors_of(got(prompting, user)) == 1).all()
    wait_until(lambda: stored(prompting, user))
    forge(prompting, user, model="query-2@another")
    answer = got(prompting, user)
    assert answer["model"] == version(prompting)
    np.testing.assert_allclose(vectors_of(answer), expected(aligned, "i3", "i4", "i5"), rtol=2**-9, atol=1e-4)


def test_when_none_can_be_made_a_stale_one_says_that_it_is(prompting: Running, user: str, own_home: Path) -> None:
    chose(prompting, user, "i3")
    wait_until(lambda: stored(prompting, user))
    toy_soft_prompt(own_home)
    settings = Settings(home=own_home, redis_url=prompting.serving.settings.redis_url, tenant="unsound", encode=False)
    with running(settings) as app:
        chose(app, user, "i3")
        forge(app, user)
        chose(app, user, "i4", at=NOW)
        for weights in app.serving.soft_prompts.in_use().prompter.weights.parameters():
            weights.fill_(np.nan)
        answer = app.client.get(f"/v1/users/{user}/soft-prompt").json()
        assert not answer["is_current"]
        assert "newest events" in answer["degraded"][0]
        assert (vectors_of(answer) == 1).all()
        as_bytes = app.client.get(f"/v1/users/{user}/soft-prompt?format=safetensors").content
        assert b'"is_current":"false"' in as_bytes
        assert b"newest events" in as_bytes
        chose(app, f"{user}-new", "i3")
        refused = app.client.get(f"/v1/users/{user}-new/soft-prompt")
        assert refused.status_code == 409
        assert "not finite" in refused.json()["detail"]


def test_who_is_erased_or_has_no_known_event_has_none(prompting: Running, user: str) -> None:
    chose(prompting, user, "i3", "i4")
    chose(prompting, f"{user}-odd", "unknown")
    wait_until(lambda: stored(prompting, user))
    assert prompting.client.delete(f"/v1/users/{user}").status_code == 202
    wait_until(lambda: not prompting.backends.patient.read([UserId(user)])[0].encoded)
    assert prompting.backends.patient.soft_prompts(UserId(user)) == ()
    chose(prompting, f"{user}-other", "i3")
    wait_until(lambda: stored(prompting, f"{user}-other"))  # the worker has gone on since
    assert prompting.backends.patient.soft_prompts(UserId(user)) == ()
    for nobody in (user, f"{user}-odd", f"{user}-never"):
        refused = prompting.client.get(f"/v1/users/{nobody}/soft-prompt")
        assert (refused.status_code, nobody in refused.json()["detail"]) == (404, True)


@pytest.mark.parametrize("query", ["dtype=float64", "format=pickle", "question=", "question=what"])
def test_what_cannot_be_given_is_refused_by_name(prompting: Running, user: str, query: str) -> None:
    chose(prompting, user, "i3")
    response = prompting.client.get(f"/v1/users/{user}/soft-prompt?{query}")
    assert (response.status_code, response.json()["field"]) == (422, query.partition("=")[0])


def test_another_version_that_comes_into_use_has_everybodys_made_anew(own_home: Path, redis_url: str) -> None:
    first = toy_soft_prompt(own_home, "first")
    with running(Settings(home=own_home, redis_url=redis_url, tenant="soft-swapped")) as app:
        before = version(app)
        for number, user in enumerate(["ann", "bob"]):
            chose(app, user, f"i{number}")
        wait_until(lambda: stored(app, "ann") and stored(app, "bob"))
        second = toy_soft_prompt(own_home, "second", seed=1, kind="linear")
        wait_until(lambda: version(app) != before)
        wait_until(lambda: stored(app, "ann") and stored(app, "bob"))
        answer = got(app, "ann")
        assert answer["shape"] == [1, 32]
        np.testing.assert_allclose(vectors_of(answer), expected(second, "i0"), rtol=2**-10, atol=1e-4)
        assert first.config != second.config
        (own_home / "soft-prompts" / "first" / "items.json").write_text("[]")
        (own_home / "soft-prompts" / "current").write_text("first\n")
        wait_until(lambda: app.serving.degraded())
        kept = app.client.get("/v1/users/ann/soft-prompt").json()
        assert kept["vectors"] == answer["vectors"]
        assert "another was put into use" in kept["degraded"][0]


def test_what_was_refused_is_taken_up_once_its_folder_is_whole(own_home: Path) -> None:
    settings, folder = Settings(home=own_home), own_home / "soft-prompts" / "toy"
    toy_soft_prompt(own_home)
    folder.rename(own_home / "elsewhere")
    following = FollowingSoftPrompt(settings)
    following.look()
    assert following.prompter is None
    assert "no soft prompt 'toy'" in following.refused
    (own_home / "elsewhere").rename(folder)
    following.look()
    assert following.prompter is not None
    assert following.refused == ""
    copytree(folder, own_home / "elsewhere")
    (folder / "items.json").write_text("[]")
    following = FollowingSoftPrompt(settings)
    following.look()
    assert "sha256" in following.refused
    rmtree(folder)
    (own_home / "elsewhere").rename(folder)
    following.look()
    assert following.prompter is not None
    kept = following.prompter
    following.look()
    assert following.prompter is kept  # and not read again


def test_an_instructed_prompt_is_made_for_its_question_and_not_stored(own_home: Path, redis_url: str) -> None:
    aligned = toy_soft_prompt(own_home, kind="instructed")
    with running(Settings(home=own_home, redis_url=redis_url, tenant="instructed")) as app:
        chose(app, "ann", "i3", "i4")
        refused = app.client.get("/v1/users/ann/soft-prompt")
        assert (refused.status_code, refused.json()["field"]) == (422, "question")
        answer = got(app, "ann", "?question=likes what")
        rows = np.array([ITEMS.row_of["i3"], ITEMS.row_of["i4"]])
        [made] = aligned.prompts([Past(rows, NOW + np.arange(2.0), None)], ["likes what"])
        np.testing.assert_allclose(vectors_of(answer), made, rtol=1e-2, atol=1e-2)
        assert answer["vectors"] != got(app, "ann", "?question=what")["vectors"]
        assert app.backends.patient.soft_prompts(UserId("ann")) == ()


def test_without_one_in_use_it_is_said(shop: Running) -> None:
    refused = shop.client.get("/v1/users/ann/soft-prompt")
    assert refused.status_code == 409
    assert "train soft-prompt" in refused.json()["detail"]


def test_the_command_makes_them_to_the_logs_end_and_a_replay_ends_in_the_same_bytes(
    tasteprint: Tasteprint, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("user,item,at\nann,i1,1000\nann,i2,2000\nbob,i7,3000\ncem,other,4000\n")
    refused = tasteprint("encode", "--soft-prompts")
    assert (refused.status, refused.out) == (2, "")
    assert "no soft prompt" in refused.err
    aligned = toy_soft_prompt(own_home)
    tasteprint("data", "import", ratings)
    tasteprint("ingest", "--until-end")
    report = tasteprint("encode", "--soft-prompts", "--json").json()
    del report["seconds"]
    assert report == {"events": 4, "users": 2, "written": 2, "failed": 0, "not_applied": 0}
    assert tasteprint("encode", "--soft-prompts", "--json").json()["users"] == 0
    exported = tasteprint("users", "export", "ann").json()
    assert exported["soft_prompts"][0]["shape"] == [2, 32]
    made = vectors_in(own_home, "ann")
    np.testing.assert_allclose(made, expected(aligned, "i1", "i2", at=1000.0), rtol=2**-10, atol=1e-4)
    monkeypatch.setenv("TASTEPRINT_TENANT", "again")  # its profiles are empty, and the log is the same
    tasteprint("ingest", "--until-end")
    tasteprint("encode", "--soft-prompts", "--json").json()
    assert vectors_in(own_home, "ann", tenant="again").tobytes() == made.tobytes()
    tasteprint("users", "erase", "ann", "--json")
    assert tasteprint("users", "export", "ann").json()["soft_prompts"] == []


def vectors_in(home: Path, user: str, tenant: str = "default") -> NDArray[np.float32]:
    """What is stored in a home."""
    with backends(Settings(home=home, tenant=tenant)) as opened:
        [found] = opened.patient.soft_prompts(UserId(user))
    assert found is not None
    return found.vectors_KD
