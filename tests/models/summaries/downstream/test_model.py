import numpy as np
import pytest
import torch
from torch import Tensor
from toy_raters import SMALL

from models.p5.model import new_model
from models.p5.tokens import END, PAD
from models.summaries.downstream import model as module
from models.summaries.downstream.model import Downstream, scores_of
from models.summaries.downstream.tokens import Prompt

PROMPTS = [
    Prompt((), (5, 6, 20)),
    Prompt(((7, 8), (9, 10, 11)), (5, 21)),
    Prompt(((9, 10, 11), (12,), (7, 8)), (5, 6, 13, 22)),
    Prompt(((14,) * 9,), (5, 23)),
]


def made(seed: int = 0) -> Downstream:
    torch.manual_seed(seed)
    return Downstream(new_model(SMALL.t5(), 40), range(30, 40), torch.zeros(10)).eval()


def by_hand(model: Downstream, prompt: Prompt) -> Tensor:
    """One prompt, each part read alone and nothing shared."""
    t5, memory = model.t5.t5, []
    parts = [*prompt.told, (END,)]
    for place, part in enumerate(parts):
        states = t5.encoder(input_ids=torch.tensor([part])).last_hidden_state[0]
        memory.append(states + model.t5.whole.weight[len(parts) - place])  # type: ignore[union-attr]
    decoded = t5.decoder(
        input_ids=torch.tensor([[PAD, *prompt.question]]), encoder_hidden_states=torch.cat(memory)[None]
    )
    return t5.shared.weight[30:40] @ (decoded.last_hidden_state[0, -1] * t5.config.d_model**-0.5)


def test_prompts_read_together_score_as_each_by_hand() -> None:
    model = made()
    with torch.inference_mode():
        expected = torch.stack([by_hand(model, prompt) for prompt in PROMPTS])
        np.testing.assert_allclose(model.scores(PROMPTS), expected, rtol=0, atol=2e-5)


def test_scores_are_the_same_however_few_tokens_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made()
    together = scores_of(model, PROMPTS)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module, "_ASKED_AT_ONCE", 2)
    np.testing.assert_allclose(scores_of(model, PROMPTS), together, rtol=0, atol=2e-5)


def test_the_order_of_what_is_told_tells_something() -> None:
    model = made()
    there, back = Prompt(((7, 8), (9,)), (5,)), Prompt(((9,), (7, 8)), (5,))
    scores = scores_of(model, [there, back])
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_every_weight_that_is_used_learns() -> None:
    model = made().train()
    model.loss(PROMPTS, torch.tensor([0, 1, 2, 3])).backward()
    still = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().any()}
    assert still == set()


def test_the_loss_counts_the_prior_and_the_scores_do_not() -> None:
    prior = torch.log_softmax(torch.arange(10.0), 0)
    plain, skewed = made(), made()
    skewed.prior_A.copy_(prior)
    with torch.inference_mode():
        assert torch.equal(plain.scores(PROMPTS), skewed.scores(PROMPTS))
        answers = torch.tensor([9, 9, 9, 9])
        expected = torch.nn.functional.cross_entropy(plain.scores(PROMPTS) + prior, answers)
        assert skewed.loss(PROMPTS, answers) == pytest.approx(float(expected))


def test_lengths_that_are_read_together_are_alike_and_few() -> None:
    lengths = np.random.default_rng(0).integers(1, 2000, 300).tolist()
    groups = list(module._together(lengths))
    assert sorted(place for group in groups for place in group) == list(range(300))
    for group in groups:
        some = [lengths[place] for place in group]
        assert len(group) == 1 or len(group) * max(some) <= module.AT_ONCE
        assert max(some) <= 1.33 * min(some) + 2
