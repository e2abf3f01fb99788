"""What an adapter learns before the language model is asked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_favourites import favourites, quick
from toy_llama import toy_llama
from toy_sequences import CPU

from models.soft_prompt.aligning import settle
from models.soft_prompt.language import Language
from models.soft_prompt.reading import pasts_of
from models.soft_prompt.trained import Aligned
from models.soft_prompt.warming import warm

DATA = favourites()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy")


def warmed(folder: Path, **more: object) -> Aligned:
    torch.manual_seed(0)
    aligned = Aligned(quick(warm=120, warm_rate=1e-2, **more), DATA.encoder, Language(folder, CPU))
    settle(aligned, DATA)
    warm(aligned, DATA, seed=0)
    return aligned


@pytest.mark.usefixtures("one_thread")
def test_a_soft_prompt_comes_to_point_to_the_words_of_its_users_answer(folder: Path) -> None:
    aligned = warmed(folder)
    soft = aligned.prompts(pasts_of(DATA.events, DATA.questions))[:, 0]
    embeddings = aligned.language.model.get_input_embeddings().weight.detach().numpy()
    right = 0
    for question, soft_W in zip(DATA.questions, soft, strict=True):
        words = [embeddings[aligned.language.tokens.plain(f" {choice}")].mean(axis=0) for choice in question.choices]
        likeness = [soft_W @ word / np.linalg.norm(word) for word in words]
        right += int(np.argmax(likeness)) == question.truth
    assert right > 0.9 * len(DATA.questions)


@pytest.mark.usefixtures("one_thread")
def test_no_layer_of_the_language_model_is_read_and_nothing_of_it_changes(folder: Path) -> None:
    torch.manual_seed(0)
    aligned = Aligned(quick(warm=1), DATA.encoder, Language(folder, CPU))
    before = {name: tensor.clone() for name, tensor in aligned.language.model.state_dict().items()}
    with torch.no_grad():
        for layer in aligned.language.model.model.layers:
            for weights in layer.parameters():
                weights.fill_(torch.nan)
    warm(aligned, DATA, seed=0)
    assert all(weights.isfinite().all() for weights in aligned.weights.parameters())
    after = aligned.language.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if ".layers." not in name)


@pytest.mark.usefixtures("one_thread")
def test_it_is_the_same_again(folder: Path) -> None:
    one, other = (warmed(folder, kind="query", tokens=2).weights.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
