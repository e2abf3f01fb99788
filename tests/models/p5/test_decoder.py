import pytest
import torch
from torch import Tensor
from toy_t5 import TOKENS, encoded, toy_prompts, toy_t5
from transformers import T5ForConditionalGeneration

from models.p5 import decoder as module
from models.p5.decoder import CachedDecoder, Tree

ANSWERS = torch.randint(2, TOKENS, (3, 20), generator=torch.Generator().manual_seed(2))
ANSWERS[:, 0] = 0  # with which a decoder starts; longer than distances are told apart


def planted(decoder: CachedDecoder, t5: T5ForConditionalGeneration, room: int, users: int = 3) -> Tree:
    tokens_BT, mask_BT = toy_prompts(users)
    return decoder.read(encoded(t5, tokens_BT, mask_BT), mask_BT, room)


def expected(t5: T5ForConditionalGeneration, answers_BN: Tensor) -> Tensor:
    tokens_BT, mask_BT = toy_prompts(len(answers_BN))
    return t5(input_ids=tokens_BT, attention_mask=mask_BT, decoder_input_ids=answers_BN).logits.log_softmax(-1)


@pytest.mark.parametrize("gated", [False, True])
@torch.no_grad()
def test_a_chain_of_nodes_says_what_transformers_says(gated: bool) -> None:
    t5 = toy_t5(gated=gated)
    decoder = CachedDecoder(t5)
    tree = planted(decoder, t5, 20)
    places = None
    steps = []
    for tokens_B1 in ANSWERS.split(1, dim=1):
        places = tree.grow(tokens_B1, places)
        steps.append(decoder.log_probabilities(decoder.run(tree)))
    torch.testing.assert_close(torch.cat(steps, dim=1), expected(t5, ANSWERS), atol=1e-4, rtol=0)


@torch.no_grad()
def test_nodes_run_together_are_as_those_run_one_by_one() -> None:
    t5 = toy_t5()
    decoder = CachedDecoder(t5)
    tree = planted(decoder, t5, 20)
    places = None
    for tokens_B1 in ANSWERS.split(1, dim=1):
        places = tree.grow(tokens_B1, places)
    found = decoder.log_probabilities(decoder.run(tree))
    torch.testing.assert_close(found, expected(t5, ANSWERS), atol=1e-4, rtol=0)
    tree.clear()
    tree.grow(ANSWERS[:, :1])
    torch.testing.assert_close(decoder.log_probabilities(decoder.run(tree)), found[:, :1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_branches_do_not_see_each_other() -> None:
    """0 -> 5 -> 7, 0 -> 5 -> 8 and 0 -> 6 -> 9, the last step under other parents for each user."""
    t5 = toy_t5()
    decoder = CachedDecoder(t5)
    tree = planted(decoder, t5, 6, users=2)
    root = tree.grow(torch.tensor([[0], [0]]))
    middle = tree.grow(torch.tensor([[5, 6], [6, 5]]), root.expand(2, 2))
    parents = torch.stack([middle[0, [0, 0, 1]], middle[1, [1, 1, 0]]])
    tree.grow(torch.tensor([[7, 8, 9], [7, 8, 9]]), parents)
    found = decoder.log_probabilities(decoder.run(tree))[:, 3:]
    for place, answer in enumerate([[0, 5, 7], [0, 5, 8], [0, 6, 9]]):
        alone = expected(t5, torch.tensor([answer, answer]))[:, -1]
        torch.testing.assert_close(found[:, place], alone, atol=1e-4, rtol=0)


@torch.no_grad()
def test_one_token_of_each_node_is_said_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    t5 = toy_t5()
    decoder = CachedDecoder(t5)
    states_BND = torch.randn(2, 3, t5.config.d_model)
    whole_BNV = decoder.log_probabilities(states_BND)
    places_BX, tokens_BX = torch.tensor([[0, 2, 2, 1], [1, 1, 0, 0]]), torch.tensor([[3, 4, 5, 6], [7, 8, 9, 3]])
    expected_BX = whole_BNV[torch.arange(2)[:, None], places_BX, tokens_BX]
    torch.testing.assert_close(decoder.log_probabilities_of(states_BND, places_BX, tokens_BX), expected_BX)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    torch.testing.assert_close(decoder.log_probabilities_of(states_BND, places_BX, tokens_BX), expected_BX)


@torch.no_grad()
def test_bfloat16_says_nearly_the_same() -> None:
    t5 = toy_t5()
    decoder = CachedDecoder(t5, torch.bfloat16)
    tree = planted(decoder, t5, 1)
    tree.grow(ANSWERS[:, :1])
    found = decoder.log_probabilities(decoder.run(tree))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp(), expected(t5, ANSWERS[:, :1]).exp(), atol=0.05, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device here: `pytest -m gpu tests/models/p5` on a machine with one runs it",
)
@torch.no_grad()
def test_a_gpu_says_the_same() -> None:
    t5 = toy_t5()
    wanted = expected(t5, ANSWERS)
    tokens_BT, mask_BT = toy_prompts()
    states_BTD = encoded(t5, tokens_BT, mask_BT).cuda()
    decoder = CachedDecoder(t5.cuda())
    tree = decoder.read(states_BTD, mask_BT.cuda(), 20)
    places = None
    for tokens_B1 in ANSWERS.cuda().split(1, dim=1):
        places = tree.grow(tokens_B1, places)
    found = decoder.log_probabilities(decoder.run(tree))
    torch.testing.assert_close(found.cpu(), wanted, atol=1e-3, rtol=0)
