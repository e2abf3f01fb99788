"""Weight updates of users' streams: what a request and an update cost, beside the plain model and beside a LoRA.

SmolLM2-135M's real weights and an adapter of the default configuration, untrained but for weights that do change the
model: it takes the time of a trained one. `latency_growth`: a question with four choices, answered from the stored
bytes of a state that has seen 4,096 tokens of history; the peer has seen 256. `mixed_batch`: 8 users' next 64 tokens
read by the model with each one's core, from their states; the peer is the plain model on the same tokens.
`update_vs_lora`: a state taken on by a chunk of 64 tokens, bytes to bytes; the peer is three steps of a LoRA (rank 8, q
and v, AdamW) on the same tokens in the same precision. `lora_1024`: the same three steps on a history of 1,024 tokens.
Tokens are drawn. All runs on one thread, and on a CPU it is that thread's own time that counts.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from _report import alternate, measure, print_report, say
from peft import LoraConfig, get_peft_model

from models.language.adapters import without_notice
from models.language.weights import SMOLLM2, pull_weights
from models.soft_prompt.language import Language
from models.stream_adapter.config import preset
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter
from services.settings import limit_threads, load_settings

USERS: Final = 8
CHUNK: Final = preset().chunk
ROUNDS: Final = 5
STEPS: Final = 3
CLOCK = time.perf_counter if torch.cuda.is_available() else time.thread_time
CHOICES: Final = (" Comedy", " Drama", " Crime", " Horror")


def main() -> None:
    folder = pull_weights(SMOLLM2, load_settings().home)
    language = Language(folder)
    torch.manual_seed(0)
    adapter = StreamAdapter(preset(), language)
    for ups_LRO in adapter.absorption.ups_KLRO:
        torch.nn.init.normal_(ups_LRO, std=1e-3)
    adapter.weights.requires_grad_(False)
    rng = np.random.default_rng(0)

    def tokens(count: int) -> list[int]:
        return rng.integers(20, 49_152, count).tolist()

    history = tokens(4096)
    [short] = adapter.advance([adapter.fresh()], [history[:256]])
    [long] = adapter.advance([short], [history[256:]])
    question = language.asked("Which of these genres does this user watch most?", CHOICES, 0)
    users = adapter.advance([adapter.fresh()] * USERS, [tokens(CHUNK) for _ in range(USERS)])
    next_BT = torch.tensor([tokens(CHUNK) for _ in range(USERS)], device=language.device.name)
    chunk = tokens(CHUNK)

    def request(state: bytes) -> Callable[[], tuple[float]]:
        return timed("a request", lambda: adapter.scores(adapter.cores([State.from_bytes(state)]), [question]))

    def mixed() -> None:
        with torch.inference_mode(), adapter.applied(adapter.cores(users)):
            language.model(input_ids=next_BT, use_cache=False, logits_to_keep=1)

    def plain() -> None:
        with torch.inference_mode():
            language.model(input_ids=next_BT, use_cache=False, logits_to_keep=1)

    def update() -> None:
        [after] = adapter.advance([State.from_bytes(kept)], [chunk])
        after.to_bytes()

    kept = short.to_bytes()
    growth = alternate(request(long.to_bytes()), request(kept), 2 * ROUNDS)
    batch = alternate(timed("a mixed batch", mixed), timed("the plain model", plain), ROUNDS)
    lora = tuned(Language(folder).model)
    taken = alternate(timed("an update", update), timed("a LoRA", lambda: lora(chunk)), ROUNDS)
    (long_lora,) = timed("a LoRA on 1,024", lambda: lora(history[:1024]), is_warm=True)()
    print_report(
        "adapt",
        {
            "latency_growth": of(growth, "the same request at 256 tokens of history"),
            "mixed_batch": of(batch, "the plain model on the same tokens"),
            "update_vs_lora": of(taken, f"{STEPS} steps of a LoRA of rank 8, q and v, on the same tokens"),
            "lora_1024": measure("ms", 1000 * long_lora),
            "bytes_per_user": measure("bytes", adapter.state_bytes),
        },
        device=str(language.device),
        threads=torch.get_num_threads(),
    )


def timed(name: str, run: Callable[[], object], *, is_warm: bool = False) -> Callable[[], tuple[float]]:
    """Its seconds; run once before, to warm up."""
    if not is_warm:
        run()

    def once() -> tuple[float]:
        start = CLOCK()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = CLOCK() - start
        say(f"{name}: {1000 * seconds:.1f} ms")
        return (seconds,)

    return once


def tuned(model: Any) -> Callable[[list[int]], None]:
    """Teaches a LoRA of the model a text, by so many steps."""
    with without_notice():
        lora = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    lora.train()
    optimizer = torch.optim.AdamW((one for one in lora.parameters() if one.requires_grad), lr=1e-4)

    def learn(tokens: list[int]) -> None:
        tokens_1T = torch.tensor([tokens], device=model.device)
        for _ in range(STEPS):
            optimizer.zero_grad()
            lora(input_ids=tokens_1T, labels=tokens_1T, use_cache=False).loss.backward()
            optimizer.step()

    return learn


def of(sides: tuple[list[float], list[float]], peer_is: str) -> dict[str, Any]:
    (product,), (peer,) = sides
    return measure("ms", 1000 * product, 1000 * peer, peer_is)


if __name__ == "__main__":
    limit_threads(1)
    torch.set_num_threads(1)
    main()
