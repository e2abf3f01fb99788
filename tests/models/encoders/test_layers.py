import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from toy_sequences import tiny

from models.encoders.config import KINDS
from models.encoders.layers import Attention, HstuBlock, Recurrent, RunningMean, StateSpaceBlock, layers_of, turned

LENGTH = 7


def layers(kind: str, seed: int = 0) -> nn.Module:
    """Two blocks of two heads, with no weight that is zero or one by construction."""
    torch.manual_seed(seed)
    made = layers_of(tiny(kind, blocks=2, heads=2, dropout=0.3)).eval()
    for weights in made.parameters():
        nn.init.normal_(weights, std=0.4)
    return made


def events(batch: int = 3, length: int = LENGTH, seed: int = 1) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_no_state_knows_of_what_follows(kind: str) -> None:
    made, events_BLD = layers(kind), events()
    states_BLD = made(events_BLD)
    for place in range(1, LENGTH):
        other_BLD = events_BLD.clone()
        other_BLD[:, place:] = events(seed=9)[:, place:]
        changed_BLD = made(other_BLD)
        torch.testing.assert_close(changed_BLD[:, :place], states_BLD[:, :place])
        assert (changed_BLD[:, place] - states_BLD[:, place]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_behind_changes_nothing(kind: str) -> None:
    made, events_BLD = layers(kind), events(length=5)
    padded_BLD = torch.cat((events_BLD, torch.zeros(3, 3, 16)), dim=1)
    torch.testing.assert_close(made(padded_BLD)[:, :5], made(events_BLD))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_sequence_alone_is_as_it_is_among_others(kind: str) -> None:
    made, events_BLD = layers(kind), events()
    together_BLD = made(events_BLD)
    for row in range(3):
        torch.testing.assert_close(made(events_BLD[row : row + 1])[0], together_BLD[row])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_kind_but_the_mean_knows_the_order(kind: str) -> None:
    made, events_BLD = layers(kind), events(length=4)
    swapped_BLD = events_BLD[:, [1, 0, 2, 3]]
    difference = float((made(swapped_BLD)[:, -1] - made(events_BLD)[:, -1]).abs().max())
    assert (difference < 1e-5) == (kind == "mean")


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind: str) -> None:
    made = layers(kind)
    (made(events()) * events(seed=2)).sum().backward()
    for name, weights in made.named_parameters():
        assert weights.grad is not None, name
        assert float(weights.grad.abs().max()) > 0, name


@torch.no_grad()
def test_rotary_scores_depend_on_the_distance_alone() -> None:
    query, key = events(1, 1, 3)[0, 0], events(1, 1, 4)[0, 0]
    queries = turned(query.expand(1, 1, 12, 16).clone())[0, 0]
    keys = turned(key.expand(1, 1, 12, 16).clone())[0, 0]
    scores_LL = (queries @ keys.T).numpy()
    for distance in range(-11, 12):
        same = np.diagonal(scores_LL, distance)
        np.testing.assert_allclose(same, same[0], atol=1e-4)
    assert len(np.unique(scores_LL[:, 0].round(3))) == 12  # and on every distance


@torch.no_grad()
def test_turning_is_by_place_times_frequency_in_each_pair_and_keeps_lengths() -> None:
    vectors = events(1, 5)[None]
    found = turned(vectors)[0, 0].numpy()
    given = vectors[0, 0].numpy()
    for place in range(5):
        for pair in range(8):
            angle = place * 10_000.0 ** (-2 * pair / 16)
            whole = complex(given[place, pair], given[place, pair + 8]) * complex(math.cos(angle), math.sin(angle))
            np.testing.assert_allclose(
                [found[place, pair], found[place, pair + 8]], [whole.real, whole.imag], atol=1e-5
            )


def silu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / (1 + np.exp(-values))


def normal(vector: NDArray[np.float64], norm: nn.Module) -> NDArray[np.float64]:
    """Layer normalisation of one vector."""
    centred = vector - vector.mean()
    scaled = centred / np.sqrt((centred**2).mean() + 1e-5)
    return np.asarray(scaled * array(norm.weight) + array(norm.bias))


def array(weights: object) -> NDArray[np.float64]:
    assert isinstance(weights, Tensor)
    return weights.detach().double().numpy()


def randomised(block: nn.Module) -> nn.Module:
    torch.manual_seed(5)
    for weights in block.parameters():
        nn.init.normal_(weights, std=0.4)
    return block.eval()


@pytest.mark.parametrize("rotary", [False, True])
def test_attention_is_the_softmax_of_scaled_products_with_what_came_before(rotary: bool) -> None:
    block = randomised(Attention(tiny(heads=2), rotary=rotary))
    given = events(1)
    with torch.no_grad():
        found = block(given)[0].numpy()
    x = given[0].double().numpy()
    bias = 0.0 if rotary else array(block.queries_keys_values.bias)
    projected = x @ array(block.queries_keys_values.weight).T + bias
    out = np.zeros_like(x)
    for head in range(2):
        q, k, v = (projected[:, part * 16 + head * 8 : part * 16 + head * 8 + 8] for part in range(3))
        if rotary:
            q, k = (turned(torch.from_numpy(part.copy())[None, None])[0, 0].numpy() for part in (q, k))
        for place in range(LENGTH):
            weights = np.exp([q[place] @ k[before] / math.sqrt(8) for before in range(place + 1)])
            out[place, head * 8 : head * 8 + 8] = weights @ v[: place + 1] / weights.sum()
    expected = out @ array(block.out.weight).T + (0.0 if rotary else array(block.out.bias))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_hstu_is_its_equations_place_by_place() -> None:
    """f(X) = SiLU(linear(norm(x))) is U, V, Q, K; A = SiLU(QK + bias of distance) / n; Y = linear(norm(AV) U)."""
    block = randomised(HstuBlock(tiny("hstu", heads=2, length=9)))
    given = events(1)
    with torch.no_grad():
        found = block(given)[0].numpy()
    x = given[0].double().numpy()
    rows = [silu(array(block.project.weight) @ normal(row, block.norm) + array(block.project.bias)) for row in x]
    gates, queries, keys, values = np.split(np.array(rows), 4, axis=1)
    biases = array(block.distances)
    for place in range(LENGTH):
        mixed = np.zeros(16)
        for head in range(2):
            here = slice(head * 8, head * 8 + 8)
            for before in range(place + 1):
                score = queries[place, here] @ keys[before, here] + biases[head, place - before]
                mixed[here] += silu(score) / 9 * values[before, here]
        gated = normal(mixed, block.mixed_norm) * gates[place]
        expected = x[place] + array(block.out.weight) @ gated + array(block.out.bias)
        np.testing.assert_allclose(found[place], expected, atol=1e-4)


def test_the_selective_state_space_is_its_recurrence_place_by_place() -> None:
    """h = exp(-step * rate) h + step * write * x; y = read . h + skip * x; gated by SiLU (Mamba, equations 2 and 4)."""
    block = randomised(StateSpaceBlock(tiny("mamba")))
    given = events(1)
    with torch.no_grad():
        found = block(given)[0].numpy()
    x = given[0].double().numpy()
    unit = np.finfo(np.float32).eps
    normed = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + unit) * array(block.norm.weight)
    inner, gates = np.split(normed @ array(block.split.weight).T, 2, axis=1)
    kernel, kernel_bias = array(block.convolution.weight)[:, 0], array(block.convolution.bias)
    state = np.zeros((32, 16))
    for place in range(LENGTH):
        mixed = kernel_bias.copy()
        for back in range(min(4, place + 1)):
            mixed += kernel[:, 3 - back] * inner[place - back]
        mixed = silu(mixed)
        selected = array(block.select.weight) @ mixed
        low, write, read = selected[:1], selected[1:17], selected[17:]
        step = np.log1p(np.exp(array(block.steps.weight) @ low + array(block.steps.bias)))
        for wide in range(32):
            for one in range(16):
                kept = math.exp(-step[wide] * math.exp(array(block.log_rates)[wide, one]))
                state[wide, one] = kept * state[wide, one] + step[wide] * write[one] * mixed[wide]
        out = (state @ read + array(block.skip) * mixed) * silu(gates[place])
        np.testing.assert_allclose(found[place], x[place] + array(block.out.weight) @ out, atol=1e-4)


def test_the_state_space_begins_with_steps_between_a_thousandth_and_a_tenth() -> None:
    torch.manual_seed(0)
    biases = array(StateSpaceBlock(tiny("mamba", dimensions=64)).steps.bias)
    steps = np.log1p(np.exp(biases))
    assert 0.001 <= steps.min() < 0.002 < 0.05 < steps.max() <= 0.1


def test_the_recurrent_layer_is_a_gated_recurrent_unit() -> None:
    block = randomised(Recurrent(tiny("gru4rec")))
    given = events(1)
    with torch.no_grad():
        found = block(given)[0].numpy()
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w_in, w_state, b_in, b_state = (array(getattr(block.recurrent, name)) for name in names)
    state = np.zeros(16)
    for place, x in enumerate(given[0].double().numpy()):
        from_x, from_state = w_in @ x + b_in, w_state @ state + b_state
        reset = 1 / (1 + np.exp(-from_x[:16] - from_state[:16]))
        update = 1 / (1 + np.exp(-from_x[16:32] - from_state[16:32]))
        new = np.tanh(from_x[32:] + reset * from_state[32:])
        state = (1 - update) * new + update * state
        expected = array(block.out.weight) @ state + array(block.out.bias)
        np.testing.assert_allclose(found[place], expected, atol=1e-5)


@torch.no_grad()
def test_the_running_mean_is_the_mean_of_the_events_so_far() -> None:
    block = RunningMean(tiny("mean", dimensions=2)).eval()
    block.out.weight.copy_(torch.eye(2))
    block.out.bias.copy_(torch.tensor([10.0, 0.0]))
    found = block(torch.tensor([[[3.0, 0.0], [1.0, 2.0], [5.0, 4.0]]]))
    assert found.tolist() == [[[13.0, 0.0], [12.0, 1.0], [13.0, 2.0]]]
