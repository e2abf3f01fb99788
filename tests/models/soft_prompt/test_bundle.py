"""A trained soft prompt in a folder: what is saved makes the same prompts, without the language model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_favourites import CATEGORIES, EACH, favourites, frozen, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from features.errors import BundleRefused, InvalidInput, WeightsRefused
from features.events import Event, EventId, ItemId, UserId
from features.history import UserHistory, encode
from features.profile import Position
from models.soft_prompt.bundle import SoftPrompter, load_soft_prompt, save_soft_prompt
from models.soft_prompt.language import Language
from models.soft_prompt.reading import Past
from models.soft_prompt.trained import Aligned
from models.vocabulary import Vocabulary

DATA = favourites(users=16, kind="sasrec")
ITEMS = Vocabulary(tuple(ItemId(f"i{row}") for row in range(EACH * len(CATEGORIES))))
TOLD = {"name": "toy", "fingerprint": "f"}


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


def new(language: Path, kind: str = "query", **more: object) -> Aligned:
    tokens = 1 if kind == "linear" else 2
    torch.manual_seed(0)
    return Aligned(quick(**{"kind": kind, "tokens": tokens, **more}), DATA.encoder, Language(language, CPU))


def saved(folder: Path, aligned: Aligned) -> SoftPrompter:
    save_soft_prompt(folder, aligned, ITEMS, "toy", TOLD, {"accuracy": 0.5})
    return load_soft_prompt(folder)


def history(user: str, *items: str, last: int = 7) -> UserHistory:
    """A second apart, each rated with its place."""
    events = [
        Event(EventId(f"{user}-{place}"), UserId(user), ItemId(item), "view", float(place), 100.0 + place)
        for place, item in enumerate(items)
    ]
    return UserHistory(UserId(user), encode(events, 500), as_of=Position("log", 0, last))


def past(*rows: int) -> Past:
    count = len(rows)
    return Past(np.array(rows), 100.0 + np.arange(count), np.arange(count, dtype=np.float32))


@pytest.mark.parametrize("kind", ["linear", "query", "dept"])
def test_a_history_has_the_prompt_of_its_past_without_the_language_model(
    language: Path, tmp_path: Path, kind: str
) -> None:
    aligned = new(language, kind, tune_encoder=kind == "linear")
    prompter = saved(tmp_path / "soft", aligned)
    histories = [history("ann", "i3", "i4", "i5"), history("bob", "i7", last=9)]
    for found, rows, as_of in zip(
        prompter.prompts(histories), [(3, 4, 5), (7,)], [h.as_of for h in histories], strict=True
    ):
        assert found is not None
        assert (found.model, found.as_of) == (prompter.version, as_of)
        [expected] = aligned.prompts([past(*rows)])
        np.testing.assert_allclose(found.vectors_KD, expected, rtol=2**-10, atol=1e-5)
        assert np.array_equal(found.vectors_KD, found.vectors_KD.astype(np.float16).astype(np.float32))


def test_unknown_items_are_left_out_and_who_has_no_other_has_none(language: Path, tmp_path: Path) -> None:
    prompter = saved(tmp_path / "soft", new(language))
    plain, mixed, unknown, nobody = prompter.prompts(
        [
            history("a", "i3", "i4"),
            history("b", "i3", "x", "i4", *["x"] * 40),
            history("c", "x"),
            UserHistory(UserId("d")),
        ]
    )
    assert plain is not None
    assert mixed is not None
    np.testing.assert_allclose(mixed.vectors_KD, plain.vectors_KD, rtol=2**-9, atol=1e-4)
    assert unknown is None
    assert nobody is None
    assert prompter.prompts([]) == []


@pytest.mark.parametrize("count", [3, 7, 8, 9, 12])
def test_times_and_ratings_are_those_of_the_newest_events(language: Path, tmp_path: Path, count: int) -> None:
    """The encoder reads eight, and how far the first of them is from the one before."""
    encoder = frozen(DATA.events, "sasrec", rating=True, gaps=True)
    torch.manual_seed(0)
    aligned = Aligned(quick(kind="query", tokens=2), encoder, Language(language, CPU))
    prompter = saved(tmp_path / "soft", aligned)
    rows = [place % 20 for place in range(count)]
    [found] = prompter.prompts([history("a", "x", *(f"i{row}" for row in rows))])
    assert found is not None
    told = Past(np.array(rows), 101.0 + np.arange(count), 1 + np.arange(count, dtype=np.float32))
    [expected] = aligned.prompts([told])
    np.testing.assert_allclose(found.vectors_KD, expected, rtol=2**-9, atol=1e-4)


def test_an_instructed_prompt_is_made_with_the_language_model(language: Path, tmp_path: Path) -> None:
    aligned = new(language, "instructed")
    prompter = saved(tmp_path / "soft", aligned)
    assert prompter.is_instructed
    histories = [history("a", "x"), history("b", "i3", "i4")]
    with pytest.raises(InvalidInput, match="question"):
        prompter.prompts(histories)
    none, found = prompter.instructed(histories, ["what", "likes what"], prompter.with_language(language))
    assert none is None
    assert found is not None
    [expected] = aligned.prompts([past(3, 4)], ["likes what"])
    np.testing.assert_allclose(found.vectors_KD, expected, rtol=1e-2, atol=1e-2)


def test_the_manifest_says_what_it_is_and_belongs_to(language: Path, tmp_path: Path) -> None:
    aligned = new(language)
    prompter = saved(tmp_path / "soft", aligned)
    assert prompter.base == {"name": "toy", "sha256": aligned.language.digest}
    assert prompter.version.startswith("query-2@")
    manifest = json.loads((tmp_path / "soft" / "manifest.json").read_text())
    assert (manifest["encoder_kind"], manifest["length"], manifest["accuracy"]) == ("sasrec", 8, 0.5)
    assert manifest["data"] == TOLD
    assert str(language) not in json.dumps(manifest)


def test_a_version_is_of_all_that_prompts_are_made_of(language: Path, tmp_path: Path) -> None:
    aligned = new(language)
    version = saved(tmp_path / "one", aligned).version
    assert saved(tmp_path / "two", new(language)).version == version
    other_items = Vocabulary(ITEMS.items[::-1])
    save_soft_prompt(tmp_path / "three", aligned, other_items, "toy", TOLD, {})
    other_base = toy_llama(tmp_path / "other", seed=1)
    versions = {
        version,
        load_soft_prompt(tmp_path / "three").version,
        saved(tmp_path / "four", new(other_base)).version,
    }
    assert len(versions) == 3


@pytest.mark.parametrize("name", ["encoder.safetensors", "items.json", "soft-prompt.safetensors", "manifest.json"])
def test_a_damaged_folder_is_refused(language: Path, tmp_path: Path, name: str) -> None:
    saved(tmp_path / "soft", new(language))
    (tmp_path / "soft" / name).write_bytes(b"{}")
    with pytest.raises(BundleRefused):
        load_soft_prompt(tmp_path / "soft")


def test_another_language_model_is_refused(language: Path, tmp_path: Path) -> None:
    prompter = saved(tmp_path / "soft", new(language))
    assert prompter.with_language(language).version
    with pytest.raises(WeightsRefused, match="another language model"):
        prompter.with_language(toy_llama(tmp_path / "other", seed=1))


@pytest.mark.parametrize(
    ("more", "field"),
    [({"source": "constant"}, "kind"), ({"lora": 2}, "lora"), ({"kind": "none", "tokens": 0, "lora": 2}, "kind")],
)
def test_controls_and_tuned_language_models_are_not_served(
    language: Path, tmp_path: Path, more: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        save_soft_prompt(tmp_path / "soft", new(language, **more), ITEMS, "toy", TOLD, {})
    assert not (tmp_path / "soft").exists()
