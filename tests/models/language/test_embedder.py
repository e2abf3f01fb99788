from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from features.errors import WeightsRefused
from models.device import Device
from models.language.embedder import BATCH, Embedder

GOLDEN = [-0.0251, -0.0212, -0.0139, 0.0249]  # the first of 384; as of transformers 5.23 and tokenizers 0.23
FULL = Device("cpu", bf16=False)


@pytest.fixture(scope="module")
def embedder(minilm: Path) -> Embedder:
    return Embedder(minilm, FULL)


def test_texts_that_mean_the_like_are_near_each_other(embedder: Embedder) -> None:
    travel, astronaut, cookbook = embedder.vectors(["a film about space travel", "an astronaut movie", "a cookbook"])
    assert travel @ astronaut > 0.7
    assert travel @ cookbook < 0.2


def test_vectors_do_not_drift_with_the_libraries(embedder: Embedder) -> None:
    [vector_D] = embedder.vectors(["a film about space travel"])
    np.testing.assert_allclose(vector_D[:4], GOLDEN, atol=2e-4)


def test_vectors_have_length_one_and_the_texts_order_whatever_they_are_batched_with(embedder: Embedder) -> None:
    texts = ["", "x", "word " * 1000, *(f"film {'very ' * (n % 7)}{n}" for n in range(BATCH + 5))]
    vectors_ND = embedder.vectors(texts)
    assert vectors_ND.shape == (len(texts), 384)
    assert vectors_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1.0, atol=1e-5)
    for place in (0, 1, 2, 3, len(texts) - 1):
        np.testing.assert_allclose(vectors_ND[place], embedder.vectors([texts[place]])[0], atol=1e-5)


def test_no_text_has_no_vector(embedder: Embedder) -> None:
    assert embedder.vectors([]).shape == (0, 384)


def test_half_precision_says_nearly_the_same(minilm: Path, embedder: Embedder) -> None:
    texts = ["a film about space travel", "a cookbook"]
    halved = Embedder(minilm, Device("cpu", bf16=True)).vectors(texts)
    np.testing.assert_allclose((halved * embedder.vectors(texts)).sum(axis=1), 1.0, atol=1e-3)


@pytest.mark.gpu
def test_a_gpu_gives_the_vectors_of_the_processor(minilm: Path, embedder: Embedder) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: `pytest -m gpu tests/models/language` on a machine with one runs it")
    texts = ["a film about space travel", "a cookbook"]
    np.testing.assert_allclose(
        Embedder(minilm, Device("cuda", False)).vectors(texts), embedder.vectors(texts), atol=1e-3
    )


def test_other_weights_have_another_digest_and_damaged_ones_are_refused(minilm: Path, tmp_path: Path) -> None:
    folder = copytree(minilm, tmp_path / "weights")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][0, 0] += 1.0
    save_file(weights, folder / "model.safetensors")
    assert Embedder(folder).digest != Embedder(minilm).digest
    del weights["embeddings.word_embeddings.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(WeightsRefused, match=r"lacks embeddings\.word_embeddings"):
        Embedder(folder)
    content = (minilm / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsRefused, match="pull the weights again"):
        Embedder(folder)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(minilm: Path, tmp_path: Path, missing: str) -> None:
    folder = copytree(minilm, tmp_path / "weights")
    (folder / missing).unlink()
    with pytest.raises(WeightsRefused, match="pull the weights again"):
        Embedder(folder)
