"""A toy Llama, whose every continuation is checked against transformers' own `generate`, of one prompt at a time."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from toy_llama import toy_llama
from transformers import AutoModelForCausalLM, LlamaConfig

from models.device import Device
from models.language import writing
from models.language.llama import Llama
from models.language.writing import BATCH, Writer

MOST = 12
ENDS = list(range(2, 30))  # many, so that answers end early, late and not at all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = toy_llama(tmp_path_factory.mktemp("llama") / "toy")
    for name in ("config.json", "generation_config.json"):
        settings = orjson.loads((folder / name).read_bytes())
        (folder / name).write_bytes(orjson.dumps(settings | {"eos_token_id": ENDS}))
    return folder


@pytest.fixture(scope="module")
def llama(folder: Path) -> Llama:
    weights = load_file(folder / "model.safetensors")
    return Llama(weights, LlamaConfig.from_pretrained(folder), Device("cpu", bf16=False))


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def alone(model: Any, prompt: list[int], most: int = MOST) -> tuple[list[int], bool]:
    """What transformers writes after one prompt, and whether it came to an end."""
    given_ = torch.tensor([prompt])
    made = model.generate(
        input_ids=given_, attention_mask=torch.ones_like(given_), max_new_tokens=most, do_sample=False
    )[0, len(prompt) :].tolist()
    end = next((place for place, token in enumerate(made) if token in ENDS), None)
    return made[:end], end is not None


def some_prompts(lengths: list[int], prefix: int, seed: int) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    tokens = [torch.randint(3, 259, (length,), generator=random).tolist() for length in [prefix, *lengths]]
    return [tokens[0] + own for own in tokens[1:]]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=7), st.sampled_from([0, 3, 16, 40]), st.integers(0, 10_000))
def test_every_prompt_is_continued_as_if_it_were_alone(
    llama: Llama, theirs: Any, lengths: list[int], prefix: int, seed: int
) -> None:
    prompts = some_prompts(lengths, prefix, seed)
    assert Writer(llama, ENDS).continued(prompts, MOST) == [alone(theirs, prompt) for prompt in prompts]


def test_packs_batches_and_a_kept_beginning_change_nothing(
    llama: Llama, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PACK", 50)  # so that a batch takes several
    fresh = Writer(llama, ENDS)
    prompts = some_prompts([1, 2, 30, 49, 50, 51, 7, 7] * 3, prefix=20, seed=1)
    assert len(prompts) > BATCH
    expected = [alone(theirs, prompt) for prompt in prompts]
    assert any(is_finished for _, is_finished in expected)
    assert not all(is_finished for _, is_finished in expected)
    assert fresh.continued(prompts, MOST) == expected
    assert fresh.continued(prompts[::-1], MOST) == expected[::-1]  # the beginning is at hand
    assert [fresh.continued([prompt], MOST)[0] for prompt in prompts[:6]] == expected[:6]
    other = some_prompts([5, 9], prefix=30, seed=2)
    assert fresh.continued(other, MOST) == [alone(theirs, prompt) for prompt in other]
    assert fresh.continued([other[0], other[0]], MOST) == [alone(theirs, other[0])] * 2


def test_a_common_beginning_is_read_once(llama: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    packed = writing.packed

    def counting(prompts: Any, begin: int = 0) -> Any:
        read.append(sum(map(len, prompts)))
        return packed(prompts, begin)

    monkeypatch.setattr(writing, "packed", counting)
    fresh = Writer(llama, ENDS)
    prompts = some_prompts([5, 9, 7], prefix=40, seed=3)
    fresh.continued(prompts, 1)
    assert sum(read) == 40 + 5 + 9 + 7
    read.clear()
    fresh.continued(prompts, 1)
    assert sum(read) == 5 + 9 + 7
    read.clear()
    fresh.continued(prompts[:1], 1)
    fresh.continued(prompts[1:2], 1)
    assert sum(read) == 5 + 9


def test_nothing_to_write_or_nothing_asked_is_nothing_written(llama: Llama) -> None:
    assert Writer(llama, ENDS).continued([], MOST) == []
    assert Writer(llama, ENDS).continued([[5]], 0) == [([], False)]


def test_what_is_not_wanted_any_more_is_cut_short_and_the_rest_is_as_it_was(llama: Llama) -> None:
    prompts = some_prompts([3, 9, 5, 20], prefix=4, seed=5)
    whole = Writer(llama, []).continued(prompts, MOST)
    looks: list[int] = []

    def is_wanted(place: int) -> bool:
        looks.append(place)
        return place != 2 or looks.count(2) < 4

    cut = Writer(llama, []).continued(prompts, MOST, is_wanted)
    assert [cut[place] for place in (0, 1, 3)] == [whole[place] for place in (0, 1, 3)]
    tokens, is_finished = cut[2]
    assert (tokens, is_finished) == (whole[2][0][: len(tokens)], False)
    assert 0 < len(tokens) < MOST


def test_when_nothing_is_wanted_any_more_nothing_is_written_or_read(llama: Llama) -> None:
    prompts = some_prompts([3] * (BATCH + 2), prefix=4, seed=6)
    looks: list[int] = []

    def is_wanted(place: int) -> bool:
        looks.append(place)
        return len(looks) < 5

    written = Writer(llama, []).continued(prompts, MOST, is_wanted)
    assert {len(tokens) for tokens, _ in written[BATCH:]} == {0}
    assert max(len(tokens) for tokens, _ in written) == 2  # of those wanted for one token more than the others
    fresh = Writer(llama, [])
    assert fresh.continued(prompts[:1], MOST, lambda place: False) == [([], False)]
    assert fresh.continued(prompts[:1], MOST) == Writer(llama, []).continued(prompts[:1], MOST)


@pytest.mark.gpu
def test_a_gpu_writes_what_the_processor_writes(folder: Path, llama: Llama) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: `pytest -m gpu tests/models/language` on a machine with one runs it")
    weights, config = load_file(folder / "model.safetensors"), LlamaConfig.from_pretrained(folder)
    prompts = some_prompts([1, 5, 40, 200], prefix=20, seed=4)
    expected = Writer(llama, ENDS).continued(prompts, MOST)
    assert Writer(Llama(weights, config, Device("cuda", bf16=False)), ENDS).continued(prompts, MOST) == expected
    assert len(Writer(Llama(weights, config, Device("cuda", bf16=True)), ENDS).continued(prompts, MOST)) == 4
