import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_p5_checkpoint import t5_folder
from toy_p5_model import tiny
from transformers import BertConfig, T5Config, T5EncoderModel, T5ForConditionalGeneration

from features.errors import InvalidInput, WeightsRefused
from models.p5.model import PLACES, P5Model, checkpoint_digest, from_shape, new_model, shape_of, text_vocabulary

TOKENS = torch.tensor([[5, 6, 7, 1], [8, 9, 1, 0]])
PLACES_OF = torch.tensor([[1, 1, 2, 0], [1, 2, 0, 0]])
ANSWERS = torch.tensor([[10, 11, 12], [13, 1, 0]])


def made(**settings: object) -> P5Model:
    torch.manual_seed(0)
    return new_model(tiny(**settings), 40).eval()


def test_the_loss_is_the_mean_over_the_answers_tokens_of_what_transformers_says_of_them() -> None:
    model = made(whole_words=False)
    logits = model.t5(
        input_ids=TOKENS, attention_mask=(TOKENS != 0).long(), labels=ANSWERS.masked_fill(ANSWERS == 0, -100)
    ).logits
    chances = logits.log_softmax(-1)
    told = [chances[0, 0, 10], chances[0, 1, 11], chances[0, 2, 12], chances[1, 0, 13], chances[1, 1, 1]]
    expected = -torch.stack(told).mean()
    found = model.loss(TOKENS, PLACES_OF, ANSWERS, torch.float32)
    torch.testing.assert_close(found, expected)


def test_whole_words_change_what_is_read_and_padding_does_not() -> None:
    model = made()
    states, mask = model.encode(TOKENS, PLACES_OF)
    other, _ = model.encode(TOKENS, torch.ones_like(PLACES_OF))
    assert not torch.allclose(states, other)
    alone, _ = model.encode(TOKENS[1:, :3], PLACES_OF[1:, :3])
    torch.testing.assert_close(states[1, :3], alone[0])
    assert mask.tolist() == [[True] * 4, [True] * 3 + [False]]


def test_words_beyond_the_last_place_share_it() -> None:
    model = made()
    far, further = (model.encode(TOKENS, torch.full_like(PLACES_OF, place))[0] for place in (PLACES - 1, PLACES + 90))
    torch.testing.assert_close(far, further)


def test_a_model_of_the_same_shape_takes_the_weights_and_gives_the_same_numbers() -> None:
    model = made()
    copy = from_shape(json.loads(json.dumps(shape_of(model))), whole_words=True).eval()
    copy.load_state_dict(model.state_dict())
    losses = [one.loss(TOKENS, PLACES_OF, ANSWERS, torch.float32).item() for one in (model, copy)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("tied", [True, False])
def test_any_t5_checkpoint_can_be_grown_by_items(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(1)
    kept = T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, tie_word_embeddings=tied)
    ).eval()
    kept.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert text_vocabulary(tmp_path) == 20
    model = new_model(tiny(checkpoint=str(tmp_path), whole_words=False), 25).eval()
    logits = kept(input_ids=TOKENS, decoder_input_ids=ANSWERS).logits
    grown = model.t5(input_ids=TOKENS, decoder_input_ids=ANSWERS).logits
    assert grown.shape == (2, 3, 25)
    torch.testing.assert_close(grown[..., :20], logits)
    assert np.isfinite(model.loss(TOKENS, PLACES_OF, ANSWERS, torch.float32).item())


def test_a_folder_that_is_no_t5_is_refused_with_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no config.json that can be read .*name a T5 checkpoint's folder"):
        text_vocabulary(tmp_path)
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="its model is 'bert', not t5"):
        text_vocabulary(tmp_path)
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match=r"has no tokenizer.json"):
        new_model(tiny(checkpoint=str(tmp_path)), 40)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsRefused, match="its weights cannot be loaded"):
        new_model(tiny(checkpoint=str(tmp_path)), 40)


def test_an_output_layer_apart_from_the_embeddings_is_kept(tmp_path: Path) -> None:
    folder = t5_folder(tmp_path, own_output=True)
    output = load_file(folder / "model.safetensors")["lm_head.weight"]
    model = new_model(tiny(checkpoint=str(folder), whole_words=False), 215).eval()
    torch.testing.assert_close(model.t5.lm_head.weight[:210], output)
    assert model.t5.decoder.embed_tokens.weight is model.t5.encoder.embed_tokens.weight is model.t5.shared.weight
    copy = from_shape(json.loads(json.dumps(shape_of(model))), whole_words=False).eval()
    copy.load_state_dict(model.state_dict())
    assert copy.t5.lm_head.weight is not copy.t5.shared.weight
    assert copy.t5.decoder.embed_tokens.weight is copy.t5.encoder.embed_tokens.weight is copy.t5.shared.weight
    losses = [one.loss(TOKENS, PLACES_OF, ANSWERS, torch.float32).item() for one in (model, copy)]
    assert losses[0] == losses[1]
    assert shape_of(copy) == shape_of(model)
    assert not model.t5.config.scale_decoder_outputs


def test_a_shape_says_nothing_of_an_output_layer_that_is_not_apart() -> None:
    assert "own_output" not in shape_of(made())


def test_a_checkpoint_of_any_dtype_is_trained_in_float32(tmp_path: Path) -> None:
    model = new_model(tiny(checkpoint=str(t5_folder(tmp_path, dtype=torch.bfloat16))), 215)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_checkpoint_without_a_decoder_is_refused(tmp_path: Path) -> None:
    T5EncoderModel.from_pretrained(t5_folder(tmp_path)).save_pretrained(tmp_path)
    with pytest.raises(WeightsRefused, match=r"weights of a T5 are missing, such as decoder\."):
        new_model(tiny(checkpoint=str(tmp_path)), 215)


def test_a_checkpoints_digest_is_of_what_its_files_hold(tmp_path: Path) -> None:
    first, same, other = (
        checkpoint_digest(t5_folder(tmp_path / name, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == same != other
    (tmp_path / "a" / "README.md").write_text("more")
    assert checkpoint_digest(tmp_path / "a") == first
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    assert checkpoint_digest(tmp_path / "a") != first
    with pytest.raises(InvalidInput, match=r"no config\.json"):
        checkpoint_digest(tmp_path)
