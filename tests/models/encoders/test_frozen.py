from collections.abc import Callable

import numpy as np
import pytest
import torch
from toy_sequences import CPU, by_hand, tiny

from features.errors import BundleRefused
from models.encoders.config import KINDS, EncoderConfig
from models.encoders.data import EncoderData
from models.encoders.frozen import FrozenEncoder
from models.encoders.model import Batch, Encoder
from models.encoders.train import Arrays, Trained, sides_of, train

SIDES = {"words": True, "categories": True, "rating": True, "gaps": True}


def ring() -> EncoderData:
    """Described items, rated and a minute apart."""
    generator = np.random.default_rng(0)
    histories = [[(start + step) % 20 for step in range(6)] for start in range(20)] * 2
    return by_hand(
        histories,
        20,
        targets=[(history[-1] + 1) % 20 for history in histories],
        at=[np.cumsum(generator.integers(1, 10**6, 6)).astype(float).tolist() for _ in histories],
        values=[generator.integers(1, 6, 6).astype(float).tolist() for _ in histories],
        words=[[item % 3, 3] for item in range(20)],
        categories=[[item % 2] for item in range(20)],
    )


def trained(config: EncoderConfig) -> tuple[Trained, EncoderData]:
    data = ring()
    return train(data, config, epochs=2, device=CPU), data


@pytest.mark.parametrize("temperature", [0.0, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_the_trained_encoders_states_after_the_newest_events(kind: str, temperature: float) -> None:
    made, data = trained(tiny(kind, length=4, temperature=temperature, **SIDES))
    frozen = FrozenEncoder.of(made, data)
    encoder = Encoder(made.config, data.n_items, sides_of(data)).eval()
    encoder.load_state_dict(dict(made.weights))
    arrays = Arrays(data, made.config, CPU)
    asked = [(0, 6), (6, 7), (12, 17), (18, 22)]  # places in E of users' first events; the newest four are read
    with torch.no_grad():
        expected_BD = np.array(
            [
                encoder.states(arrays.gathered(np.array([max(begin, end - 4)]), np.array([end]))[0])[0, -1].numpy()
                for begin, end in asked
            ]
        )
        np.testing.assert_allclose(frozen.vectors_ND, encoder.item_vectors().numpy(), atol=1e-6)
    whole = [slice(begin, end) for begin, end in asked]
    found_BD = frozen.vectors(
        [data.items_E[one] for one in whole], [data.at_E[one] for one in whole], [data.values_E[one] for one in whole]
    )
    np.testing.assert_allclose(found_BD, expected_BD, atol=1e-5)


def test_what_is_not_known_of_events_is_read_as_first_and_unrated() -> None:
    made, data = trained(tiny(**SIDES))
    frozen = FrozenEncoder.of(made, data)
    items, at, values = data.items_E[:1], np.array([5.0]), np.array([np.nan], np.float32)
    plain, told = frozen.vectors([items]), frozen.vectors([items], [at], [values])
    np.testing.assert_array_equal(plain, told)
    np.testing.assert_array_equal(plain, frozen.vectors([items.tolist()], [None], [None]))
    assert not np.allclose(plain, frozen.vectors([items], [at], [np.array([5.0], np.float32)]))


def test_an_empty_history_has_a_vector_of_zeros_among_others() -> None:
    made, data = trained(tiny())
    frozen = FrozenEncoder.of(made, data)
    vectors_BD = frozen.vectors([[], [3, 4], []])
    assert not vectors_BD[[0, 2]].any()
    np.testing.assert_allclose(vectors_BD[1], frozen.vectors([[3, 4]])[0], atol=1e-6)
    assert not frozen.vectors([[]]).any()
    assert frozen.vectors([]).shape == (0, 16)


def test_a_history_has_one_vector_whoever_else_is_asked_for() -> None:
    made, data = trained(tiny("hstu"))
    frozen = FrozenEncoder.of(made, data)
    histories = [[1], [2, 3, 4, 5, 6, 7], list(range(20)), [9, 9]]
    alone_BD = np.concatenate([frozen.vectors([history]) for history in histories])
    np.testing.assert_allclose(frozen.vectors(histories), alone_BD, atol=1e-6)


def test_an_encoder_frozen_from_its_own_arrays_is_the_same() -> None:
    made, data = trained(tiny("mamba", **SIDES))
    first = FrozenEncoder.of(made, data)
    again = FrozenEncoder(first.config, first.items_ND, first.layers)
    np.testing.assert_array_equal(first.vectors([[1, 2]]), again.vectors([[1, 2]]))
    assert not any(name.startswith(("rows", "words", "categories")) for name in first.layers)
    assert not first.config.words
    assert not first.config.categories


def widen(frozen: FrozenEncoder) -> None:
    frozen.items_ND = np.zeros((20, 8), np.float32)


def double(frozen: FrozenEncoder) -> None:
    frozen.items_ND = frozen.items_ND.astype(np.float64)  # type: ignore[assignment]


def flatten(frozen: FrozenEncoder) -> None:
    frozen.items_ND = frozen.items_ND.ravel()


def poison_items(frozen: FrozenEncoder) -> None:
    frozen.items_ND[3, 4] = np.nan


def poison_layers(frozen: FrozenEncoder) -> None:
    frozen.layers["layers.out.bias"] = np.full(16, np.inf, np.float32)


def lose(frozen: FrozenEncoder) -> None:
    del frozen.layers["layers.out.bias"]


def bring(frozen: FrozenEncoder) -> None:
    frozen.layers["layers.extra"] = np.zeros(3, np.float32)


def reshape(frozen: FrozenEncoder) -> None:
    frozen.layers["layers.out.bias"] = np.zeros(15, np.float32)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (widen, r"float32\[20, 8\], not float32\[N, 16\]"),
        (double, r"float64\[20, 16\]"),
        (flatten, r"float32\[320\]"),
        (poison_items, "items has values that are not finite"),
        (poison_layers, "layers.out.bias has values that are not finite"),
        (lose, "not those of a mean: .*Missing"),
        (bring, "Unexpected"),
        (reshape, "size mismatch"),
    ],
)
def test_arrays_that_are_not_its_own_are_refused(damage: Callable[[FrozenEncoder], None], said: str) -> None:
    made, data = trained(tiny("mean"))
    frozen = FrozenEncoder.of(made, data)
    damage(frozen)
    with pytest.raises(BundleRefused, match=f"(?s){said}.*train again"):
        FrozenEncoder(frozen.config, frozen.items_ND, frozen.layers)


def test_a_batch_is_padded_behind_with_a_row_of_zeros() -> None:
    made, data = trained(tiny("mean"))
    encoder = Encoder(made.config, data.n_items, sides_of(data)).eval()
    encoder.load_state_dict(dict(made.weights))
    items_BL = torch.tensor([[1, 2, 20]])
    nothing_BL = torch.zeros_like(items_BL)
    with torch.no_grad():
        padded = encoder.states(Batch(items_BL, nothing_BL, nothing_BL))[0, 1].numpy()
    np.testing.assert_allclose(FrozenEncoder.of(made, data).vectors([[1, 2]])[0], padded, atol=1e-6)
