import numpy as np
import pytest
import torch
from toy_llama import toy_llama
from toy_sequences import CPU
from toy_streams import small

from features.errors import InvalidInput
from models.soft_prompt.language import Language
from models.stream_adapter.chunks import ChunkCache, ChunkReader

TOKENS = np.arange(30, 80, dtype=np.int32)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return Language(toy_llama(tmp_path_factory.mktemp("llm") / "toy"), CPU)


def keys_and_values(language: Language, tokens: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """As transformers keeps them, keys turned by their positions, of each layer."""
    kept = language.model(input_ids=torch.from_numpy(tokens).long()[None], use_cache=True).past_key_values
    return [tuple(one[0].transpose(0, 1).flatten(1) for one in (part.keys, part.values)) for part in kept.layers]


def by_tokens(one: torch.Tensor) -> torch.Tensor:
    return one.transpose(0, 1).flatten(1)


@pytest.mark.parametrize("sees_previous", [False, True])
def test_chunks_are_the_models_keys_and_values_of_each_window(language: Language, sees_previous: bool) -> None:
    reader = ChunkReader(language, small(sees_previous=sees_previous, undo_rotary=False))
    read = reader.read(reader.windows(TOKENS, 0, 3))
    for place in range(3):
        window = TOKENS[max(0, 8 * (place - sees_previous)) : 8 * (place + 1)]
        for layer, (keys, values) in enumerate(keys_and_values(language, window)):
            torch.testing.assert_close(by_tokens(read[place, layer, 0]), keys[-8:], rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(by_tokens(read[place, layer, 1]), values[-8:], rtol=1e-4, atol=1e-4)


def test_without_their_positions_equal_tokens_have_equal_first_keys(language: Language) -> None:
    reader = ChunkReader(language, small(undo_rotary=True))
    read = reader.read([np.full(8, 44, np.int32)])
    torch.testing.assert_close(read[0, 0, 0, :, 0], read[0, 0, 0, :, 7])
    turned = ChunkReader(language, small(undo_rotary=False)).read([np.full(8, 44, np.int32)])
    torch.testing.assert_close(turned[0, 0, 0, :, 0], read[0, 0, 0, :, 0])
    assert not torch.allclose(turned[0, 0, 0, :, 0], turned[0, 0, 0, :, 7])


def test_layers_and_maps_are_those_named(language: Language) -> None:
    reader = ChunkReader(language, small(layers="1", maps="q_proj,up_proj"))
    layer = language.model.get_decoder().layers[1]
    assert reader.linears == [[layer.self_attn.q_proj, layer.mlp.up_proj]]
    assert reader.read(reader.windows(TOKENS, 0, 2)).shape == (2, 1, 2, 2, 8, 8)


def test_nothing_above_the_last_adapted_layer_is_read(language: Language) -> None:
    layers = language.model.get_decoder().layers
    calls: list[int] = []
    hooks = [layer.register_forward_hook(lambda *_, at=at: calls.append(at)) for at, layer in enumerate(layers)]
    try:
        first = ChunkReader(language, small(layers="0", undo_rotary=False)).read([TOKENS[:8]])
    finally:
        for hook in hooks:
            hook.remove()
    assert calls == [0]
    assert torch.equal(first[:, 0], ChunkReader(language, small(undo_rotary=False)).read([TOKENS[:8]])[:, 0])


def test_maps_that_are_not_there_are_named(language: Language) -> None:
    with pytest.raises(InvalidInput, match="down_proj"):
        ChunkReader(language, small(maps="v_proj,w_proj"))


def test_a_chunk_is_no_longer_than_the_model_reads(language: Language) -> None:
    with pytest.raises(InvalidInput, match="256"):
        ChunkReader(language, small(chunk=129, sees_previous=True))


class Told:
    """Everybody's stream is the same tokens; counts how often it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def tokens(self, user: int) -> np.ndarray:
        self.asked.append(user)
        return TOKENS + user


def test_a_cache_keeps_the_users_last_asked_for(language: Language) -> None:
    reader, told = ChunkReader(language, small()), Told()
    spans = dict.fromkeys(range(3), (1, 4))
    most = reader.read(reader.windows(TOKENS, 1, 4)).nbytes  # of two users, in half precision
    cache = ChunkCache(reader, told, spans, most)
    for user in (0, 1, 0, 2, 0, 1):
        torch.testing.assert_close(
            cache.chunks(user, 2, 4), reader.read(reader.windows(TOKENS + user, 2, 4)), rtol=2e-3, atol=2e-3
        )
    assert told.asked == [0, 1, 2, 1]
