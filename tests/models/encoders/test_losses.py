"""The sampled losses, whose draws are many here so that what holds in the mean can be seen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.nn import functional
from toy_sequences import CPU, by_hand, tiny

from models.encoders.config import EncoderConfig
from models.encoders.train import Arrays, draw, next_item_loss

ITEMS = 30
SAMPLED = ("uniform", "log-uniform")


def arrays(loss: str, negatives: int) -> Arrays:
    """Item 29 is the most popular, item 0 was never chosen."""
    return Arrays(by_hand([[item] * item for item in range(ITEMS)], ITEMS), config(loss, negatives), CPU)


def config(loss: str, negatives: int) -> EncoderConfig:
    return replace(tiny(), loss=loss, negatives=negatives)


def states_vectors_targets() -> tuple[Tensor, Tensor, Tensor]:
    """Of two sequences of three; the second has ended after one event."""
    random = torch.Generator().manual_seed(3)
    states_BLD = torch.randn(2, 3, 16, generator=random) / 2
    vectors_ND = torch.randn(ITEMS, 16, generator=random)
    return states_BLD, vectors_ND, torch.tensor([[29, 4, 0], [15, ITEMS, ITEMS]])


def chances(loss: str) -> np.ndarray:
    """Of drawing each item: equal, or of its rank from 0 on, log((rank + 2) / (rank + 1)) / log(N + 1)."""
    if loss == "uniform":
        return np.full(ITEMS, 1 / ITEMS)
    ranks_N = ITEMS - 1 - np.arange(ITEMS)
    return np.log((ranks_N + 2) / (ranks_N + 1)) / math.log(ITEMS + 1)


@pytest.mark.parametrize("loss", SAMPLED)
def test_items_are_drawn_with_the_chances_that_are_corrected_for(loss: str) -> None:
    torch.manual_seed(0)
    count = 60_000
    expected_N = chances(loss) * count
    assert expected_N.sum() == pytest.approx(count)
    drawn_S, log_expected_S = draw(arrays(loss, count))
    found_N = np.bincount(drawn_S.numpy(), minlength=ITEMS)
    statistic = ((found_N - expected_N) ** 2 / expected_N).sum()
    assert statistic < chi2.ppf(0.999, ITEMS - 1)
    np.testing.assert_allclose(log_expected_S.exp().numpy(), expected_N[drawn_S.numpy()], rtol=1e-5)


@pytest.mark.parametrize("loss", SAMPLED)
def test_corrected_draws_stand_for_the_whole_catalogue(loss: str) -> None:
    """The mean sum of the drawn items' corrected exponentials is the sum over all items, within four errors."""
    torch.manual_seed(0)
    made, (states_BLD, vectors_ND, _) = arrays(loss, 64), states_vectors_targets()
    exponentials_N = (vectors_ND @ states_BLD[0, 0]).exp()
    sums = []
    for _ in range(2000):
        drawn_S, log_expected_S = draw(made)
        sums.append(float((exponentials_N[drawn_S] / log_expected_S.exp()).sum()))
    error = np.std(sums) / math.sqrt(len(sums))
    assert abs(np.mean(sums) - float(exponentials_N.sum())) < 4 * error


def test_padding_has_no_loss() -> None:
    states_BLD, vectors_ND, targets_BL = states_vectors_targets()
    other_BLD = states_BLD.clone()
    other_BLD[1, 1:] = 7.0
    for loss in ("full", *SAMPLED):
        found = []
        for one in (states_BLD, other_BLD):
            torch.manual_seed(1)
            found.append(float(next_item_loss(one, vectors_ND, targets_BL, arrays(loss, 8), CPU)))
        assert found[0] == found[1]


def test_the_full_loss_is_the_mean_cross_entropy_of_the_real_places() -> None:
    states_BLD, vectors_ND, targets_BL = states_vectors_targets()
    found = next_item_loss(states_BLD, vectors_ND, targets_BL, arrays("full", 1), CPU)
    real = [(0, 0), (0, 1), (0, 2), (1, 0)]
    expected = functional.cross_entropy(
        torch.stack([states_BLD[place] @ vectors_ND.T for place in real]),
        torch.stack([targets_BL[place] for place in real]),
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss", SAMPLED)
def test_a_drawn_item_that_is_the_target_is_no_rival_of_itself(loss: str) -> None:
    """With so many draws every item is among them; with the target as the only item of a score there is no loss."""
    torch.manual_seed(0)
    vectors_ND = torch.full((ITEMS, 16), -10.0)
    vectors_ND[4] = 10.0
    found = next_item_loss(torch.ones(1, 1, 16), vectors_ND, torch.tensor([[4]]), arrays(loss, 5000), CPU)
    assert float(found) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("loss", SAMPLED)
def test_gradients_reach_the_drawn_items_and_the_targets_alone(loss: str) -> None:
    states_BLD, vectors_ND, targets_BL = states_vectors_targets()
    vectors_ND.requires_grad_()
    made = arrays(loss, 3)
    torch.manual_seed(2)
    next_item_loss(states_BLD, vectors_ND, targets_BL, made, CPU).backward()
    torch.manual_seed(2)
    drawn_S, _ = draw(made)
    assert vectors_ND.grad is not None
    moved = set(vectors_ND.grad.abs().sum(dim=1).nonzero()[:, 0].tolist())
    assert moved == {29, 4, 0, 15} | set(drawn_S.tolist())


@pytest.mark.parametrize("loss", SAMPLED)
def test_with_many_draws_the_sampled_loss_and_its_gradients_are_the_full_ones(loss: str) -> None:
    """Within 2 % for 100,000 draws: the error falls with their root, and the logarithm's own below that."""
    found = []
    for made in (arrays("full", 1), arrays(loss, 100_000)):
        torch.manual_seed(0)
        states_BLD, vectors_ND, targets_BL = states_vectors_targets()
        states_BLD.requires_grad_()
        vectors_ND.requires_grad_()
        value = next_item_loss(states_BLD, vectors_ND, targets_BL, made, CPU)
        found.append((value.detach(), *torch.autograd.grad(value, (states_BLD, vectors_ND))))
    for full, sampled in zip(*found, strict=True):
        assert float((full - sampled).norm() / full.norm()) < 0.02
