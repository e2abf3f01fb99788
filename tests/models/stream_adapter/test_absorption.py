import pytest
import torch
from torch import nn
from torch.nn import functional

from models.stream_adapter.absorption import Cores, WeightAbsorption, standing_in, swapped

LAYERS, QUERIES, WIDTH, RANK, ALPHA = 2, 3, 4, 2, 6.0


class Layers(nn.Module):
    """Two layers of two maps, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.ModuleList([nn.Linear(5, 6), nn.Linear(6, 5, bias=False)]) for _ in "ab")

    def forward(self, inputs_BTI: torch.Tensor) -> torch.Tensor:
        for first, second in self.linears:
            inputs_BTI = second(torch.tanh(first(inputs_BTI)))
        return inputs_BTI


@pytest.fixture
def layers() -> Layers:
    torch.manual_seed(0)
    return Layers().requires_grad_(False)


@pytest.fixture
def absorption(layers: Layers) -> WeightAbsorption:
    absorption = WeightAbsorption(layers.linears, QUERIES, WIDTH, RANK, ALPHA).requires_grad_(False)
    for ups in absorption.ups_KLRO:
        nn.init.normal_(ups)
    return absorption


def some_cores(absorption: WeightAbsorption, is_adapted: list[bool]) -> Cores:
    memory = torch.randn(len(is_adapted), LAYERS, QUERIES, WIDTH)
    return Cores(absorption.cores(memory), torch.tensor(is_adapted).numpy())


def test_rows_are_changed_by_their_own_weights(layers: Layers, absorption: WeightAbsorption) -> None:
    cores, inputs = some_cores(absorption, [True, True]), torch.randn(2, 3, 5)
    with absorption.applied(cores):
        found = layers(inputs)
    for row in range(2):
        state = inputs[row]
        for layer, maps in enumerate(layers.linears):
            for place, linear in enumerate(maps):
                core = cores.cores_NLKQR[row, layer, place]
                change = absorption.ups_KLRO[place][layer].T @ core.T @ absorption.downs_KLQI[place][layer]
                state = functional.linear(state, linear.weight + ALPHA / RANK * change, linear.bias)
                state = torch.tanh(state) if place == 0 else state
        torch.testing.assert_close(found[row], state, rtol=1e-4, atol=1e-5)


def test_memories_that_are_much_alike_are_evened(absorption: WeightAbsorption) -> None:
    axes = torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q
    memory = 50 + 1e-3 * (torch.randn(2000, LAYERS, QUERIES, WIDTH) * torch.tensor([9.0, 6.0, 3.0, 0.0])) @ axes
    absorption.even(memory)
    evened = torch.einsum("nlqd,lqde->nlqe", memory - absorption.mean_LQD, absorption.turn_LQDD)[:, 1, 2]
    wanted = sorted(size / (size + 0.1 * 81) for size in (81, 36, 9, 0))
    torch.testing.assert_close(torch.cov(evened.T), torch.diag(torch.tensor(wanted)), rtol=0.1, atol=0.02)


def test_merged_weights_answer_as_the_core_does(layers: Layers, absorption: WeightAbsorption) -> None:
    cores, inputs = some_cores(absorption, [True]), torch.randn(4, 3, 5)
    with absorption.applied(cores.of([0, 0, 0, 0])):
        expected = layers(inputs)
    with swapped(absorption.merged(cores)):
        torch.testing.assert_close(layers(inputs), expected, rtol=1e-4, atol=1e-5)


def test_rows_without_an_update_are_the_frozen_models_bit_by_bit(layers: Layers, absorption: WeightAbsorption) -> None:
    inputs = torch.randn(3, 4, 5)
    plain = layers(inputs)
    for is_adapted in ([False, True, False], [False, False, False]):
        with absorption.applied(some_cores(absorption, is_adapted)):
            found = layers(inputs)
        for row, one in enumerate(is_adapted):
            assert torch.equal(found[row], plain[row]) is not one


def test_nothing_is_left_behind(layers: Layers, absorption: WeightAbsorption) -> None:
    before = {name: weight.clone() for name, weight in layers.state_dict().items()}
    inputs = torch.randn(2, 3, 5)
    plain, cores = layers(inputs), some_cores(absorption, [True, True])
    with absorption.applied(cores):
        layers(inputs)
    with swapped(absorption.merged(cores.of([0]))), pytest.raises(RuntimeError):
        layers(torch.randn(2, 3, 7))
    assert torch.equal(layers(inputs), plain)
    assert all(torch.equal(weight, before[name]) for name, weight in layers.state_dict().items())


def test_a_poisoned_core_stays_in_its_row(layers: Layers, absorption: WeightAbsorption) -> None:
    cores, inputs = some_cores(absorption, [True, True, True]), torch.randn(3, 2, 5)
    with absorption.applied(cores):
        alone = layers(inputs)
    cores.cores_NLKQR[1] = torch.nan
    with absorption.applied(cores):
        found = layers(inputs)
    assert found[1].isnan().all()
    assert torch.equal(found[[0, 2]], alone[[0, 2]])


def test_measured_maps_are_fed_with_and_give_about_one(layers: Layers, absorption: WeightAbsorption) -> None:
    inputs = 100 * torch.randn(64, 2, 5)
    absorption.measure(lambda: layers(inputs))
    drawn = inputs @ absorption.downs_KLQI[0][0].T
    assert 0.3 < drawn.std() < 3
    given = functional.linear(inputs, layers.linears[0][0].weight, layers.linears[0][0].bias)
    assert absorption.scale_LK[0, 0].item() == pytest.approx(given.square().mean().sqrt().item(), rel=1e-5)


def test_a_stand_in_stands_in_until_its_block_ends(layers: Layers) -> None:
    linear = layers.linears[0][0]
    with standing_in({linear: lambda inputs: inputs}):
        assert linear(1) == 1
    assert linear(torch.zeros(5)).shape == (6,)
