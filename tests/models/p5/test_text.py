import pytest
import torch
from toy_t5 import TOKENS, encoded, toy_prompts, toy_t5

from models.p5.decoder import CachedDecoder
from models.p5.text import generate_text

T5 = toy_t5(seed=34)
DECODER = CachedDecoder(T5)
PROMPTS, MASK = toy_prompts(users=6)
STATES = encoded(T5, PROMPTS, MASK)


def greedy(allowed: list[int] | None = None, most: int = 12) -> list[list[int]]:
    """Transformers' own, without what stands for the beginning, the end and padding."""
    barred = [0] if allowed is None else [token for token in range(TOKENS) if token not in {*allowed, 1} or token == 0]
    answers = T5.generate(
        input_ids=PROMPTS, attention_mask=MASK, do_sample=False, max_new_tokens=most, suppress_tokens=barred
    )
    return [[token for token in answer if token > 1] for answer in answers.tolist()]


def test_text_is_the_likeliest_token_at_every_step() -> None:
    texts = generate_text(DECODER, STATES, MASK, most=12)
    assert texts == greedy()
    assert len({len(text) for text in texts}) > 1  # some end before the others


def test_text_is_of_allowed_tokens() -> None:
    allowed = list(range(0, TOKENS, 3))
    texts = generate_text(DECODER, STATES, MASK, most=12, allowed=allowed)
    assert texts == greedy(allowed)
    assert {token for text in texts for token in text} <= {*allowed}


@pytest.mark.parametrize("most", [1, 5])
def test_text_is_no_longer_than_asked_for(most: int) -> None:
    texts = generate_text(DECODER, STATES, MASK, most=most)
    assert texts == greedy(most=most)
    assert max(map(len, texts)) == most


def test_a_prompt_alone_says_what_it_says_among_others() -> None:
    texts = generate_text(DECODER, STATES, MASK, most=12)
    for user in range(6):
        alone = slice(user, user + 1)
        assert generate_text(DECODER, STATES[alone], MASK[alone], most=12) == texts[alone]
    assert torch.is_grad_enabled()
