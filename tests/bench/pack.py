"""Prompts read in packs against the same model on padded batches: a Llama of SmolLM2-135M's shape, in float32.

64 prompts of 32 to 512 tokens, uniformly, and of each the likeliest next token. The product is what the generator does:
batches of 16 neighbours in length, each in packs of at most 1,024 tokens. The peer is transformers' model on the same
batches, padded, with their mask, its cache, and logits of the last places alone. `rate_by_room`: the peer's batches are
of as many neighbours as fit in 1,024 places with their padding. `rate_instructed`: the product's prompts begin with the
same 24 tokens, as those with one instruction do, which it reads once.
Weights and tokens are random: they take the time of real ones. All runs on one thread, and on a CPU it is that thread's
own time that counts, not what others take of the core.
"""

import random
import time
from collections.abc import Callable
from typing import Final

import torch
from _report import alternate, measure, print_report, say
from transformers import LlamaConfig, LlamaForCausalLM

from models.device import Device, best_device
from models.language.llama import Llama
from models.language.writing import BATCH, PACK, Writer
from services.settings import limit_threads

PROMPTS, SHORTEST, LONGEST, INSTRUCTION = 64, 32, 512, 24
ROUNDS: Final = 3
CLOCK = time.perf_counter if torch.cuda.is_available() else time.thread_time
PEER: Final = "transformers on the same weights, sorted by length, padded batches of {}"

Prompts = list[list[int]]
Read = Callable[[Prompts], list[int]]  # the token after each prompt


def main() -> None:
    device = Device(best_device().name, bf16=False)
    theirs = some_llama().to(device.name)
    ours = Llama(theirs.state_dict(), theirs.config, device)
    apart, alike = some_prompts(0), some_prompts(INSTRUCTION)
    said: dict[str, list[int]] = {}

    def packed(prompts: Prompts) -> list[int]:
        return [token for [token], _ in Writer(ours, ends=()).continued(prompts, 1)]

    def by_count(prompts: Prompts) -> list[int]:
        batches = [prompts[first : first + BATCH] for first in range(0, len(prompts), BATCH)]
        return [token for batch in batches for token in padded(theirs, batch)]

    def by_room(prompts: Prompts) -> list[int]:
        return [token for batch in with_room(prompts) for token in padded(theirs, batch)]

    def rate(read: Read, prompts: Prompts) -> float:
        start = CLOCK()
        said[read.__name__] = read(prompts)
        each = sum(map(len, prompts)) / (CLOCK() - start)
        say(f"{read.__name__}: {each:.0f} prompt tokens/s")
        return each

    packed(apart[:2]), padded(theirs, apart[:2])  # to warm up
    (instructed, product), (by_16, by_1024) = alternate(
        lambda: (rate(packed, alike), rate(packed, apart)),
        lambda: (rate(by_count, apart), rate(by_room, apart)),
        ROUNDS,
    )
    print_report(
        "pack",
        {
            "rate": measure("prompt tokens/s", product, by_16, PEER.format(BATCH)),
            "rate_by_room": measure("prompt tokens/s", product, by_1024, PEER.format(f"at most {PACK:,} places")),
            "rate_instructed": measure("prompt tokens/s", instructed, by_16, PEER.format(BATCH)),
            "identical": measure("share of tokens", sum(map(int.__eq__, said["packed"], said["by_count"])) / PROMPTS),
        },
        device=str(device),
        threads=torch.get_num_threads(),
        prompts={"number": PROMPTS, "tokens": sum(map(len, apart))},
    )


def some_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def some_prompts(alike: int) -> Prompts:
    """Sorted by length. alike: how many tokens all begin with."""
    chance = random.Random(0)
    tokens = [chance.choices(range(20, 49152), k=chance.randint(SHORTEST, LONGEST)) for _ in range(PROMPTS)]
    return sorted(([*tokens[0][:alike], *one[alike:]] for one in tokens), key=len)


@torch.inference_mode()
def padded(llama: LlamaForCausalLM, prompts: Prompts) -> list[int]:
    """On the left, as `generate` would have it."""
    width = max(map(len, prompts))
    tokens_BL = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=llama.device)
    mask_BL = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=llama.device)
    read = llama(
        input_ids=tokens_BL,
        attention_mask=mask_BL,
        position_ids=(mask_BL.cumsum(1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    return read.logits[:, -1].argmax(dim=-1).tolist()


def with_room(prompts: Prompts) -> list[Prompts]:
    batches: list[Prompts] = [[]]
    for prompt in prompts:
        if (len(batches[-1]) + 1) * len(prompt) > PACK:
            batches.append([])
        batches[-1].append(prompt)
    return batches


if __name__ == "__main__":
    limit_threads(1)
    torch.set_num_threads(1)
    main()
