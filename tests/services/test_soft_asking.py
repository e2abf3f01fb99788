"""`ask` behind a soft prompt, in a real application with a tiny language model."""

from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from toy_soft_prompt import toy_soft_prompt, toy_weights

from models.soft_prompt import trained
from models.soft_prompt.reading import Past
from models.soft_prompt.trained import Aligned
from services.answering import shown
from services.settings import Settings
from tests.services.conftest import NOW, Running, event, running

CHOICES = ["war", "love", "space"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asking")


@pytest.fixture(scope="module")
def aligned(home: Path) -> Aligned:
    return toy_soft_prompt(home)


@pytest.fixture(scope="module")
def asking(home: Path, redis_url: str, aligned: Aligned) -> Iterator[Running]:
    """Without a text generator; ann and bob have chosen something."""
    with running(Settings(home=home, redis_url=redis_url, tenant="soft-asking")) as app:
        app.put([{"item_id": item, "title": f"The {item}"} for item in ("i3", "i7")])
        app.send([event("ann", "i3", NOW - 9), event("ann", "i4", NOW - 8), event("bob", "i17", NOW - 9)])
        yield app


def asked(app: Running, user: str, **body: Any) -> dict[str, Any]:
    response = app.client.post(f"/v1/users/{user}/ask", json={"soft_prompt": True, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def expected(aligned: Aligned, rows: list[int], prompt: str, answers: list[str]) -> np.ndarray:
    """Lifts by the trained model's own way."""
    with torch.no_grad():
        found = aligned.lifts([Past(np.array(rows))], [aligned.language.asked(prompt, answers, 2)])
    return found.numpy()


def test_of_choices_the_likeliest_is_the_answer(asking: Running, aligned: Aligned) -> None:
    body = {"task": "tagging", "input": "likes what", "choices": CHOICES}
    answer = asked(asking, "ann", **body)
    prompt = "likes what"
    chances = expected(aligned, [3, 4], prompt, [f" {choice}" for choice in CHOICES])
    order = np.argsort(-chances)
    assert [one["choice"] for one in answer["choices"]] == [CHOICES[place] for place in order]
    np.testing.assert_allclose([one["lift"] for one in answer["choices"]], chances[order], rtol=1e-2, atol=1e-2)
    assert answer["answer"] == CHOICES[order[0]]
    assert answer["tokens"]["soft"] == 2
    assert answer["tokens"]["input"] == len(aligned.language.tokens.plain(prompt)) + len(aligned.language.cue)
    assert answer["base_model"] == {"name": "SmolLM2-135M-Instruct", "sha256": aligned.language.digest}
    told = asking.client.get("/v1/users/ann/soft-prompt").json()
    assert (answer["model"], answer["as_of"]) == (told["model"], told["as_of"])
    assert answer["degraded"] == []
    assert asked(asking, "bob", **body)["choices"] != answer["choices"]


def test_items_are_ranked_by_their_titles(asking: Running, aligned: Aligned) -> None:
    answer = asked(asking, "ann", task="ranking", items=["i3", "i7"])
    prompt = "Which of these items does the user choose next?\n- The i3\n- The i7\nAnswer:"
    chances = expected(aligned, [3, 4], prompt, [" The i3", " The i7"])
    assert answer["answer"] == ["The i3", "The i7"][int(chances.argmax())]


def test_a_question_is_answered_in_words_of_so_many_tokens(asking: Running) -> None:
    answer = asked(asking, "ann", input="likes what", tokens=3)
    assert answer["tokens"]["output"] <= 3
    assert answer["choices"] == []
    assert answer["answer_html"]
    assert asked(asking, "ann", input="likes what", tokens=3) == answer


def test_whoever_joins_the_vectors_with_the_words_embeddings_reads_the_same(asking: Running, aligned: Aligned) -> None:
    """As the recipe of the README does, with transformers alone."""
    content = asking.client.get("/v1/users/ann/soft-prompt?format=safetensors").content
    soft_KW = load(content)["soft_prompt"]
    model, words = aligned.language.model, aligned.language.tokens.plain("likes what\nAnswer:")
    embed = model.get_input_embeddings()
    with torch.inference_mode():
        joined_SW = torch.cat([embed(torch.tensor(words)), soft_KW.to(embed.weight.dtype)])
        mask_1S = torch.ones(1, len(joined_SW), dtype=torch.int64)
        said = model.generate(inputs_embeds=joined_SW[None], attention_mask=mask_1S, max_new_tokens=3, do_sample=False)
    assert asked(asking, "ann", input="likes what", tokens=3)["answer"] == shown(aligned.language.tokens.text(said[0]))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task": "rating", "items": ["i3"]}, "task"),
        ({"task": "generation", "input": "a poem"}, "task"),
        ({"task": "ranking", "choices": ["one"]}, "choices"),
        ({"input": ""}, "input"),
        ({"input": "likes what " * 200}, "input"),
        ({"input": "what", "soft_prompt": "yes"}, "soft_prompt"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(asking: Running, body: dict[str, Any], field: str) -> None:
    response = asking.client.post("/v1/users/ann/ask", json={"soft_prompt": True, **body})
    assert (response.status_code, response.json()["field"]) == (422, field)


def test_a_user_without_a_soft_prompt_is_not_answered_as_somebody(asking: Running) -> None:
    response = asking.client.post("/v1/users/nobody/ask", json={"soft_prompt": True, "input": "what"})
    assert response.status_code == 404


def test_another_language_model_or_none_is_refused(
    own_home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_soft_prompt(own_home)
    weights = toy_weights(own_home, seed=1)
    body = {"soft_prompt": True, "input": "likes what", "tokens": 2}
    with running(Settings(home=own_home, redis_url=redis_url, tenant="soft-other")) as app:
        app.send(event("ann", "i3", NOW - 9))
        other = app.client.post("/v1/users/ann/ask", json=body)
        assert other.status_code == 409
        assert "another language model" in other.json()["detail"]
        with monkeypatch.context() as patch:
            patch.setattr(trained, "base_digest", None)  # its weights are not read again
            assert app.client.post("/v1/users/ann/ask", json=body).json() == other.json()
        rmtree(weights)
        missing = app.client.post("/v1/users/ann/ask", json=body)
        assert missing.status_code == 409
        assert "weights pull SmolLM2-135M-Instruct" in missing.json()["detail"]
        assert app.client.get("/v1/users/ann/soft-prompt").status_code == 200  # which takes no language model
        toy_weights(own_home)
        assert app.client.post("/v1/users/ann/ask", json=body).status_code == 200


def test_an_instructed_soft_prompt_is_made_for_the_question(own_home: Path, redis_url: str) -> None:
    aligned = toy_soft_prompt(own_home, kind="instructed")
    with running(Settings(home=own_home, redis_url=redis_url, tenant="soft-instructed")) as app:
        app.send([event("ann", "i3", NOW - 9), event("ann", "i4", NOW - 8)])
        answer = asked(app, "ann", task="tagging", input="likes what", choices=CHOICES)
        prompt = "likes what"
        chances = expected(aligned, [3, 4], prompt, [f" {choice}" for choice in CHOICES])
        found = {one["choice"]: one["lift"] for one in answer["choices"]}
        np.testing.assert_allclose([found[choice] for choice in CHOICES], chances, rtol=2e-2, atol=2e-2)


def test_an_update_of_words_is_lacking_in_vectors_and_not_in_answers(own_home: Path, redis_url: str) -> None:
    toy_soft_prompt(own_home, kind="dept")
    with running(Settings(home=own_home, redis_url=redis_url, tenant="soft-dept")) as app:
        app.send(event("ann", "i3", NOW - 9))
        assert asked(app, "ann", input="likes what", tokens=2)["degraded"] == []
        assert "tasteprint_degraded_total 0.0" in app.client.get("/metrics").text
        [lacking] = app.client.get("/v1/users/ann/soft-prompt").json()["degraded"]
        assert "update" in lacking
        assert lacking.encode() in app.client.get("/v1/users/ann/soft-prompt?format=safetensors").content


def test_without_one_in_use_it_is_said(shop: Running) -> None:
    refused = shop.client.post("/v1/users/ann/ask", json={"soft_prompt": True, "input": "what"})
    assert refused.status_code == 409
    assert "train soft-prompt" in refused.json()["detail"]
