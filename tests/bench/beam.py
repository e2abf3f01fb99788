"""The beam search over item ids against transformers' `generate` with `prefix_allowed_tokens_fn`: one T5, one question.

T5-small's shape, prompts of 64 tokens, 20 beams, the ten likeliest of 12,101 items. Ids are as TIGER's: a code of each
of three books of 256, and one that settles collisions. The weights are random, as T5 begins, but for what makes them
like those of a trained model: what the decoder reads of a prompt is louder and logits are larger, so that users' lists
and items' scores differ, and two units of the last layer make the fourth code and the end of an id as sure as the
first steps of any training do. Both sides encode the prompts by transformers' encoder; `search_*` are without it. All
runs on one thread, and on a CPU it is that thread's own time that counts, not what others take of the core.
A list is identical where it has the same items in the same order, except among items that `generate` scores less than
1e-4 apart.
"""

import time
from collections.abc import Callable
from itertools import combinations, pairwise
from statistics import fmean, median
from typing import Final

import numpy as np
import torch
from _report import alternate, measure, print_report, say
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from models.device import best_device
from models.p5.beam import beam_search
from models.p5.decoder import CachedDecoder
from models.p5.trie import EOS, PAD, Trie
from services.settings import limit_threads

WORDS: Final = 1000  # tokens of text, before those of the books
BOOKS, CODES, ITEMS, MANY_ITEMS = 4, 256, 12_101, 1_000_000
LENGTH, BEAMS, K = 64, 20, 10
LOUDER, LARGER, MARK, SURE = 6.0, 2.0, 40.0, 150.0
BATCH, BATCHES, SINGLES = 16, 13, 20
TIED = 1e-4
CLOCK = time.perf_counter if torch.cuda.is_available() else time.thread_time
PEER = "transformers generate with prefix_allowed_tokens_fn, on the same weights"

Answer = list[dict[int, float]]  # for each user items and their log-probabilities, likeliest first
Side = Callable[[Tensor, Tensor], Answer]  # of prompts and what the encoder makes of them


def main() -> None:
    t5, ids = some_t5(), some_ids(ITEMS)
    sides = tasteprint(t5, ids), transformers(t5, ids)
    (time_b16, search_b16), many = compared(t5, *sides, BATCH, BATCHES)
    (time_b1, search_b1), single = compared(t5, *sides, 1, SINGLES)
    lists = many + single
    print_report(
        "beam",
        {
            "time_b16": measure("ms a user", *time_b16, PEER),
            "time_b1": measure("ms a user", *time_b1, PEER),
            "search_b16": measure("ms a user", *search_b16, PEER),
            "search_b1": measure("ms a user", *search_b1, PEER),
            "identical_top10": measure("share of users", fmean(identical(*pair) for pair in lists)),
            "legal": measure("share of places with an item, none twice", fmean(len(found) / K for found, _ in lists)),
            "trie_bytes_1m": measure("bytes", Trie.of(some_ids(MANY_ITEMS)).nbytes),
        },
        device=str(best_device()),
        threads=torch.get_num_threads(),
        lists={
            "users": len(lists),
            "shared_by_two_users": round(fmean(len({*a} & {*b}) / K for (a, _), (b, _) in combinations(lists, 2)), 3),
            "median_gap": round(median(gap for _, known in lists for gap in gaps(known)), 4),
            "ties": sum(gap < TIED for _, known in lists for gap in gaps(known)),
            "greatest_difference": max(
                abs(known[row] - score) for found, known in lists for row, score in found.items() if row in known
            ),
        },
    )


def some_ids(count: int) -> NDArray[np.int32]:
    """The tokens of each item's id."""
    random = np.random.default_rng(0)
    threes_N = np.sort(random.integers(0, CODES**3, count))
    places_N = np.arange(count)
    firsts_N = np.maximum.accumulate(np.where(np.diff(threes_N, prepend=-1) > 0, places_N, 0))
    codes_NC = np.stack([*(threes_N // CODES**book % CODES for book in range(3)), places_N - firsts_N], axis=1)
    return random.permutation(codes_NC + WORDS + CODES * np.arange(BOOKS)).astype(np.int32)


def some_t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(vocab_size=WORDS + BOOKS * CODES, num_layers=6, num_heads=8, decoder_start_token_id=PAD)
    t5 = T5ForConditionalGeneration(config).eval()
    tokens_VD, last = t5.shared.weight, t5.decoder.block[-1].layer[2].DenseReluDense
    with torch.no_grad():
        t5.decoder.final_layer_norm.weight *= LARGER
        for block in t5.decoder.block:
            block.layer[1].EncDecAttention.o.weight *= LOUDER
        for unit, (book, then) in enumerate([(2, WORDS + 3 * CODES), (3, EOS)]):  # no collision; the end
            mark_D = functional.normalize(torch.randn(config.d_model), dim=0)
            tokens_VD[WORDS + book * CODES :][:CODES] += MARK * mark_D
            last.wi.weight[unit] = mark_D
            last.wo.weight[:, unit] = SURE * functional.normalize(tokens_VD[then], dim=0)
    return t5.to(best_device().name)


def tasteprint(t5: T5ForConditionalGeneration, ids_NC: NDArray[np.int32]) -> Side:
    decoder, trie = CachedDecoder(t5), Trie.of(ids_NC).to(t5.device)

    def search(prompts_BT: Tensor, states_BTD: Tensor) -> Answer:
        found = beam_search(decoder, states_BTD, torch.ones_like(prompts_BT), trie, beams=BEAMS, k=K)
        return [
            {row: score for row, score in zip(rows, scores, strict=True) if row >= 0}
            for rows, scores in zip(found.rows_BK.tolist(), found.log_probabilities_BK.tolist(), strict=True)
        ]

    return search


def transformers(t5: T5ForConditionalGeneration, ids_NC: NDArray[np.int32]) -> Side:
    """It gives all of its beams, so that the scores of the items next to the ten are known too."""
    rows = {tuple(tokens): row for row, tokens in enumerate(ids_NC.tolist())}
    following: dict[tuple[int, ...], set[int]] = {tokens: {EOS} for tokens in rows}
    for tokens in rows:
        for depth in range(BOOKS):
            following.setdefault(tokens[:depth], set()).add(tokens[depth])
    allowed = {begun: list(tokens) for begun, tokens in following.items()}

    def search(prompts_BT: Tensor, states_BTD: Tensor) -> Answer:
        made = t5.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=states_BTD),
            attention_mask=torch.ones_like(prompts_BT),
            prefix_allowed_tokens_fn=lambda _, begun: allowed[tuple(begun[1:].tolist())],
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            max_new_tokens=BOOKS + 1,
            length_penalty=0.0,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        found = [rows[tuple(tokens[1 : BOOKS + 1])] for tokens in made.sequences.tolist()]
        pairs = list(zip(found, made.sequences_scores.tolist(), strict=True))
        return [dict(pairs[first : first + BEAMS]) for first in range(0, len(pairs), BEAMS)]

    return search


def compared(
    t5: T5ForConditionalGeneration, ours: Side, theirs: Side, batch: int, rounds: int
) -> tuple[list[tuple[float, float]], list[tuple[dict[int, float], dict[int, float]]]]:
    """Both sides' medians of milliseconds a user, whole and without the encoder; their answers to the same prompts."""
    tokens = torch.Generator().manual_seed(batch)
    shape = (rounds + 1, batch, LENGTH)
    prompts = torch.randint(EOS + 1, WORDS + BOOKS * CODES, shape, generator=tokens).to(t5.device)
    answers: dict[Side, Answer] = {ours: [], theirs: []}

    def figures(side: Side) -> Callable[[], tuple[float, float]]:
        asked = iter(prompts)

        def run() -> tuple[float, float]:
            prompts_BT = next(asked)
            start = CLOCK()
            with torch.inference_mode():
                states_BTD = t5.encoder(input_ids=prompts_BT).last_hidden_state
            encoded = CLOCK()
            answers[side] += side(prompts_BT, states_BTD)
            end = CLOCK()
            return (end - start) / batch * 1000, (end - encoded) / batch * 1000

        run()  # to warm up
        return run

    medians = alternate(figures(ours), figures(theirs), rounds)
    say(f"{batch} users at once: {medians[0][0]:.0f} ms a user, generate {medians[1][0]:.0f} ms")
    return list(zip(*medians, strict=True)), list(zip(answers[ours], answers[theirs], strict=True))


def identical(found: dict[int, float], known: dict[int, float]) -> bool:
    expected = list(known.values())[:K]
    return len(found) == K and all(
        abs(known.get(row, float("inf")) - score) < TIED for row, score in zip(found, expected, strict=True)
    )


def gaps(known: dict[int, float]) -> list[float]:
    """Between each of the ten and the next."""
    return [better - worse for better, worse in pairwise(list(known.values())[: K + 1])]


if __name__ == "__main__":
    limit_threads(1)
    torch.set_num_threads(1)
    main()
