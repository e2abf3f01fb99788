import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.encoders.softmax import ROWS, full_softmax_loss

SIZES = [1, 2, ROWS["cpu"] - 1, ROWS["cpu"], ROWS["cpu"] + 1, 3 * ROWS["cpu"] + 5]


def given(count: int, items: int = 50, size: int = 16, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(count)
    states_TD = torch.randn(count, size, generator=random) * scale
    vectors_ND = torch.randn(items, size, generator=random) * scale
    return states_TD, vectors_ND, torch.randint(items, (count,), generator=random)


def ours(states_TD: Tensor, vectors_ND: Tensor, targets_T: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, its gradients by states and by vectors), of the loss times three."""
    states_TD, vectors_ND = states_TD.clone().requires_grad_(), vectors_ND.clone().requires_grad_()
    loss = full_softmax_loss(states_TD, vectors_ND, targets_T, dtype) * 3
    return loss.detach(), *torch.autograd.grad(loss, (states_TD, vectors_ND))


def theirs(states_TD: Tensor, vectors_ND: Tensor, targets_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by PyTorch's cross-entropy, in float64."""
    states_TD, vectors_ND = states_TD.double().requires_grad_(), vectors_ND.double().requires_grad_()
    loss = functional.cross_entropy(states_TD @ vectors_ND.T, targets_T) * 3
    return loss.detach(), *torch.autograd.grad(loss, (states_TD, vectors_ND))


@pytest.mark.parametrize("count", SIZES)
def test_value_and_gradients_are_those_of_cross_entropy_whatever_the_slices(count: int) -> None:
    some = given(count)
    for found, expected in zip(ours(*some, torch.float32), theirs(*some), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_gradients_are_the_slopes_of_the_value() -> None:
    states_TD, vectors_ND, targets_T = (one.double() if one.is_floating_point() else one for one in given(5, 7, 3))
    _, by_states, by_vectors = ours(states_TD, vectors_ND, targets_T, torch.float64)

    def value(states_TD: Tensor, vectors_ND: Tensor) -> float:
        return 3 * float(full_softmax_loss(states_TD, vectors_ND, targets_T, torch.float64))

    step = 1e-2  # scores are float32, so that a smaller one would measure their rounding
    for given_, gradients, is_state in ((states_TD, by_states, True), (vectors_ND, by_vectors, False)):
        for place in range(given_.numel()):
            ends = []
            for sign in (1, -1):
                moved = given_.clone()
                moved.view(-1)[place] += sign * step
                ends.append(value(moved, vectors_ND) if is_state else value(states_TD, moved))
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradients.view(-1)[place]), abs=1e-3)


def test_bf16_is_close() -> None:
    some = given(200)
    found, expected = ours(*some, torch.bfloat16), theirs(*some)
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=5e-3)
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == torch.float32
        assert float((one.double() - other).norm() / other.norm()) < 0.02


def test_great_scores_do_not_overflow() -> None:
    some = given(70, scale=50.0)
    found, expected = ours(*some, torch.float32), theirs(*some)
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


def test_no_states_lose_nothing() -> None:
    loss, by_states, by_vectors = ours(*given(0), torch.float32)
    assert float(loss) == 0
    assert by_states.shape == (0, 16)
    assert not by_vectors.any()


def test_a_state_that_points_nowhere_finds_each_item_equally_likely() -> None:
    loss, _, _ = ours(torch.zeros(4, 16), given(4)[1], torch.arange(4), torch.float32)
    assert float(loss) / 3 == pytest.approx(float(torch.tensor(50.0).log()), rel=1e-6)
