from typing import Any

import pytest
import torch
from toy_favourites import quick

from models.soft_prompt.adapters import WORDS_MOST, Adapter, LowRank

B, L, D, T, W = 3, 5, 6, 4, 10
TOKENS = {"linear": 1, "query": 4, "instructed": 3, "dept": 2, "none": 0}


def made(kind: str, **more: Any) -> Adapter:
    torch.manual_seed(0)
    lora = 1 if kind == "none" else 0
    return Adapter(quick(kind=kind, tokens=TOKENS[kind], lora=lora, **more), D, W, norm=3.0, length=L).eval()


def given(seed: int = 0) -> list[torch.Tensor]:
    """States of 1, 3 and 5 events, and questions of 4, 2 and 3 words."""
    rng = torch.Generator().manual_seed(seed)
    states, words = (torch.randn(B, size, wide, generator=rng) for size, wide in ((L, D), (T, W)))
    is_event, is_word = (
        torch.arange(size) < torch.tensor(counts)[:, None] for size, counts in ((L, [1, 3, 5]), (T, [4, 2, 3]))
    )
    return [states, is_event, words, is_word]


@pytest.mark.parametrize("kind", TOKENS)
def test_a_prompt_has_the_width_and_the_length_of_words(kind: str) -> None:
    soft_BKW = made(kind)(*given())
    assert soft_BKW.shape == (B, TOKENS[kind], W)
    torch.testing.assert_close(soft_BKW.norm(dim=-1), torch.full((B, TOKENS[kind]), 3.0))


@pytest.mark.parametrize("kind", TOKENS)
def test_what_stands_in_padding_changes_nothing(kind: str) -> None:
    adapter, (states, is_event, words, is_word) = made(kind), given()
    other = [
        states.masked_fill(~is_event[:, :, None], 9.0),
        is_event,
        words.masked_fill(~is_word[:, :, None], 9.0),
        is_word,
    ]
    torch.testing.assert_close(adapter(*other), adapter(states, is_event, words, is_word))


@pytest.mark.parametrize("kind", TOKENS)
def test_a_user_has_the_same_prompt_alone_and_without_padding(kind: str) -> None:
    adapter, (states, is_event, words, is_word) = made(kind), given()
    whole = adapter(states, is_event, words, is_word)
    for row in range(B):
        events, asked = int(is_event[row].sum()), int(is_word[row].sum())
        alone = adapter(
            states[row : row + 1, :events],
            is_event[row : row + 1, :events],
            words[row : row + 1, :asked],
            is_word[row : row + 1, :asked],
        )
        torch.testing.assert_close(alone[0], whole[row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", TOKENS)
def test_a_user_without_events_has_a_prompt_of_numbers(kind: str) -> None:
    states, _, words, is_word = given()
    soft = made(kind)(states, torch.zeros(B, L, dtype=torch.bool), words, is_word)
    assert torch.isfinite(soft).all()


def test_linear_is_a_linear_map_of_the_mean_state_brought_to_length() -> None:
    adapter, (states, is_event, words, is_word) = made("linear"), given()
    out = adapter.out.weight @ states[1, :3].mean(dim=0) + adapter.out.bias
    torch.testing.assert_close(adapter(states, is_event, words, is_word)[1, 0], 3 * out / out.norm())


def test_linear_knows_no_order_and_queries_do() -> None:
    states, is_event, words, is_word = given()
    turned = [states.flip(1), torch.ones_like(is_event), words, is_word]
    straight = [states, torch.ones_like(is_event), words, is_word]
    linear, query = made("linear"), made("query")
    torch.testing.assert_close(linear(*turned), linear(*straight))
    assert not torch.allclose(query(*turned), query(*straight), atol=1e-3)


def test_attention_is_that_of_keys_and_values_which_are_not_made() -> None:
    adapter = made("query")
    adapter.settle(10 * torch.randn(B, L, D) + 3, torch.ones(B, L, dtype=torch.bool))
    queries, even = adapter.pool, adapter.even
    torch.nn.init.normal_(queries.keys_values.bias)
    size, heads = queries.queries_KH.shape[1], queries.heads
    asks, states, is_event = torch.randn(B, 4, size), torch.randn(B, L, D), given()[1]
    events = queries.read(even(states)) + queries.ago.weight[:L]
    seen = torch.cat((queries.nothing_H.expand(B, 1, -1), events), dim=1)
    keys, values = queries.keys_values(seen).chunk(2, dim=-1)
    split = [one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (asks, keys, values)]
    is_seen = torch.nn.functional.pad(is_event, (1, 0), value=True)
    whole = torch.nn.functional.scaled_dot_product_attention(*split, attn_mask=is_seen[:, None, None])
    found = queries._attended(asks, states, is_event, even)
    torch.testing.assert_close(found, whole.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-5)


def test_queries_count_from_the_newest_event() -> None:
    """What a state of two events ago is read as matters to those who have so many, wherever theirs stand."""
    adapter, inputs = made("query"), given()
    before = adapter(*inputs)
    counts = inputs[1].sum(dim=1).tolist()
    for age in range(L):
        with torch.no_grad():
            adapter.pool.ago.weight[age] += 1
        after = adapter(*inputs)
        changed = [not torch.allclose(one, other, atol=1e-6) for one, other in zip(before, after, strict=True)]
        assert changed == [count > age for count in counts]
        with torch.no_grad():
            adapter.pool.ago.weight[age] -= 1


@pytest.mark.parametrize(("kind", "hangs"), [("query", False), ("instructed", True), ("dept", False)])
def test_a_prompt_hangs_on_the_question_where_it_is_instructed(kind: str, hangs: bool) -> None:
    adapter, (states, is_event, words, is_word) = made(kind), given()
    assert (
        torch.allclose(adapter(states, is_event, words, is_word), adapter(states, is_event, -words, is_word)) != hangs
    )


def test_words_are_what_they_are_but_for_dept() -> None:
    *_, words, is_word = given()
    for kind in ("linear", "query", "instructed", "none"):
        assert made(kind).reworded(words, is_word) is words
    dept = made("dept")
    assert torch.equal(dept.reworded(words, is_word), words)
    torch.nn.init.ones_(dept.update.up_RW)
    changed = dept.reworded(words, is_word) != words
    assert torch.equal(changed.any(dim=-1), is_word)


def test_an_update_of_words_is_of_low_rank_and_counts_from_the_end() -> None:
    update = LowRank(2, W)
    torch.nn.init.normal_(update.up_RW)
    added = update(torch.ones(1, WORDS_MOST + 3, dtype=torch.bool))[0]
    assert torch.linalg.matrix_rank(added) == 2
    assert (added[:3] == 0).all()
    assert (added[3:] != 0).any(dim=-1).all()
    shorter = update(torch.tensor([[True, True, False]]))[0]
    torch.testing.assert_close(shorter[:2], added[-2:])


@pytest.mark.parametrize("kind", ["linear", "query"])
def test_what_states_have_in_common_is_taken_out_and_what_users_differ_by_is_made_even(kind: str) -> None:
    """Of states that are alike but for one small direction, that direction is most of what is left."""
    torch.manual_seed(0)
    adapter = made(kind)
    own = torch.randn(300, 1, 1) * torch.tensor([5.0] + [1.0] * (D - 1)) * 0.01
    states = 50 + own * torch.randn(300, 1, D)
    adapter.settle(states, torch.ones(300, 1, dtype=torch.bool))
    evened = adapter.even(states)[:, 0]
    torch.testing.assert_close(evened.mean(dim=0), torch.zeros(D), rtol=0, atol=1e-2)
    spread = evened.var(dim=0)
    assert spread.max() < 1.01
    assert spread.min() > 0.1
    assert states.var(dim=0).max() / states.var(dim=0).min() > 10
    again = made(kind)
    again.load_state_dict(adapter.state_dict())
    torch.testing.assert_close(again.even(states), adapter.even(states))
