import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_p5_checkpoint import t5_folder
from toy_p5_model import CPU, ITEMS, ringed, tiny

from features.errors import BundleRefused, InvalidInput
from models.p5.corpus import Corpus
from models.p5.past import Person
from models.p5.templates import Family, Task, templates_of
from models.p5.train import train
from models.p5.trained import P5, PARTS


@pytest.fixture(scope="module", params=["independent", "semantic"])
def p5(request: pytest.FixtureRequest) -> Iterator[P5]:
    config = tiny(epochs=15, indexing=request.param)
    trained = train(ringed(), config, device=CPU)
    return P5.of(config, trained.tokenizer, trained.model, Corpus(ringed(), config.mix), {"seed": 0}, CPU)


def test_the_next_items_are_those_that_always_come_next_and_none_that_was_seen(p5: P5) -> None:
    persons = [Person([3, 4, 5, 6]), Person([8, 9, 10])]
    seen = [np.array([3, 4, 5, 6]), np.array([8, 9, 10])]
    found = p5.next_items(persons, k=4, seen=seen)
    assert found.rows_BK[:, 0].tolist() == [7, 11]
    assert not set(found.rows_BK[0].tolist()) & {3, 4, 5, 6}
    assert (np.diff(found.log_probabilities_BK, axis=1) <= 0).all()
    held_out = p5.next_items(persons, k=1, seen=seen, template=templates_of(Task.NEXT, held_out=True)[0])
    assert held_out.rows_BK[:, 0].tolist() == [7, 11]


def test_a_score_is_the_models_own_log_probability(p5: P5) -> None:
    found = p5.next_items([Person([3, 4, 5, 6])], k=3, beams=ITEMS, seen=[np.zeros(0, np.int64)])
    states, mask = p5.read([_prompt(p5)])
    for row, score in zip(found.rows_BK[0].tolist(), found.log_probabilities_BK[0].tolist(), strict=True):
        tokens = [token for token in p5.tokenizer.item_tokens_NC[row].tolist() if token >= 0]
        with torch.no_grad():
            logits = p5.model.t5(
                encoder_outputs=(states,),
                attention_mask=mask.long(),
                decoder_input_ids=torch.tensor([[0, *tokens[:-1]]]),
            ).logits[0]
        expected = sum(logits.log_softmax(-1)[place, token].item() for place, token in enumerate(tokens))
        assert score == pytest.approx(expected, abs=1e-4)


def _prompt(p5: P5) -> tuple[str | int, ...]:
    from models.p5.questions import worded

    return worded(p5.asker.next(Person([3, 4, 5, 6])), templates_of(Task.NEXT)[0])


def test_what_is_generated_is_above_the_last_found_and_not_seen(p5: P5) -> None:
    rows_BR, values_BR = p5.generate([[3, 4, 5], []], seen=[[6], []])
    assert rows_BR.shape == values_BR.shape == (2, ITEMS)
    assert sorted(rows_BR[0][:-4].tolist()) == [row for row in range(ITEMS) if row not in (3, 4, 5, 6)]
    assert rows_BR[0][-4:].tolist() == [-1] * 4
    assert values_BR[0][-4:].tolist() == [0.0] * 4
    assert values_BR[0][len(rows_BR[0]) - 5] == 0.0
    assert (values_BR >= 0).all()
    assert sorted(rows_BR[1].tolist()) == list(range(ITEMS))  # a user who is new has a list as well


def test_an_item_outside_the_index_and_a_prompt_too_long_are_refused(p5: P5) -> None:
    with pytest.raises(InvalidInput, match=f"{ITEMS} is no row of the {ITEMS} items"):
        p5.next_items([Person([ITEMS])], k=1, seen=[np.zeros(0, np.int64)])
    with pytest.raises(InvalidInput, match="the model reads"):
        p5.read([["comedy"] * 2000])


def test_its_parts_give_the_same_model_to_the_last_bit(p5: P5) -> None:
    parts = p5.parts("digest")
    assert set(parts) == set(PARTS)
    again = P5.from_parts(parts, "digest", ITEMS, CPU)
    assert (again.config, again.families, again.from_facts) == (p5.config, p5.families, True)
    assert Family.REVIEW not in again.families
    for one, other in zip(p5.generate([[3, 4, 5]]), again.generate([[3, 4, 5]]), strict=True):
        assert one.tolist() == other.tolist()
    assert again.parts("digest") == parts
    assert again.described() == {"seed": 0}


def test_damaged_or_foreign_parts_are_refused(p5: P5) -> None:
    parts = p5.parts("digest")
    with pytest.raises(BundleRefused, match="of other items"):
        P5.from_parts(parts, "another", ITEMS, CPU)
    with pytest.raises(BundleRefused, match="of other items"):
        P5.from_parts(parts, "digest", ITEMS + 1, CPU)
    for name in PARTS:
        with pytest.raises(BundleRefused):
            P5.from_parts({**parts, name: parts[name][:-3]}, "digest", ITEMS, CPU)
        with pytest.raises(BundleRefused):
            P5.from_parts({other: content for other, content in parts.items() if other != name}, "digest", ITEMS, CPU)


def test_weights_that_are_not_finite_are_refused(p5: P5) -> None:
    broken = P5.from_parts(p5.parts("digest"), "digest", ITEMS, CPU)
    with torch.no_grad():
        broken.model.t5.shared.weight[0, 0] = torch.nan
    with pytest.raises(BundleRefused, match="not finite"):
        P5.from_parts(broken.parts("digest"), "digest", ITEMS, CPU)


@pytest.mark.parametrize(
    "made", [{}, {"own_output": True}, {"dtype": torch.bfloat16}], ids=["tied", "own output", "bfloat16"]
)
def test_what_was_trained_from_a_checkpoint_is_saved_and_loaded_without_its_folder(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    config = tiny(checkpoint=str(t5_folder(tmp_path / "t5", **made)), epochs=1)
    trained = train(ringed(), config, device=CPU)
    p5 = P5.of(config, trained.tokenizer, trained.model, Corpus(ringed(), config.mix), {"seed": 0}, CPU)
    parts = p5.parts("digest")
    shutil.rmtree(tmp_path / "t5")
    again = P5.from_parts(parts, "digest", ITEMS, CPU)
    assert again.parts("digest") == parts
    assert again.config == config
    (rows_BR, values_BR), (again_BR, said_BR) = p5.generate([[3, 4, 5]]), again.generate([[3, 4, 5]])
    assert rows_BR.tolist() == again_BR.tolist()
    np.testing.assert_allclose(values_BR, said_BR, atol=1e-4)  # where weights lie in memory decides the last digits


def test_what_users_write_is_not_remembered_and_what_prompts_are_made_of_is(p5: P5) -> None:
    before = dict(p5.tokenizer._pieces)
    p5.read([["secret", "words"]], cut=True)
    with pytest.raises(InvalidInput):
        p5.read([["secret"] * 2000])
    assert p5.tokenizer._pieces == before
    assert before.keys() >= {word for word in _prompt(p5) if isinstance(word, str)}
