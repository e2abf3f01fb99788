import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.stream_adapter.mapping import ContextMapping

LAYERS, QUERIES, HEADS, WIDTH = 2, 3, 2, 8


@pytest.fixture
def mapping() -> ContextMapping:
    return some(0)


def some(seed: int) -> ContextMapping:
    torch.manual_seed(seed)
    mapping = ContextMapping(LAYERS, QUERIES, HEADS, WIDTH).requires_grad_(False)
    torch.nn.init.normal_(mapping.gates_LDD)
    return mapping


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 9))
def test_the_scan_is_the_steps_one_by_one(counts: list[int], seed: int) -> None:
    mapping = some(seed)
    reads = torch.randn(len(counts), max(counts), LAYERS, QUERIES, WIDTH)
    scanned = mapping.scan(reads, torch.tensor(counts))
    for row, count in enumerate(counts):
        memory = torch.full((1, LAYERS, QUERIES, WIDTH), 7.0)
        for place in range(count):
            memory = mapping.step(memory, reads[row : row + 1, place], torch.tensor([place == 0]))
        torch.testing.assert_close(scanned[row], memory[0], atol=1e-5, rtol=1e-5)


def test_a_step_is_the_gated_mean_of_old_and_new(mapping: ContextMapping) -> None:
    old, new = torch.randn(2, 1, LAYERS, QUERIES, WIDTH)
    found = mapping.step(old, new, torch.tensor([False]))[0, 1, 2].numpy()
    weight, bias = mapping.gates_LDD[1].numpy(), mapping.gates_LQD[1, 2].numpy()
    gate = 1 / (1 + np.exp(-(new[0, 1, 2].numpy() @ weight + bias)))
    expected = gate * old[0, 1, 2].numpy() + (1 - gate) * new[0, 1, 2].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_first_query_begins_with_a_short_memory_and_the_last_with_a_long_one() -> None:
    gates = ContextMapping(LAYERS, QUERIES, HEADS, WIDTH).gates_LQD.sigmoid()
    torch.testing.assert_close(gates[0, :, 0], torch.tensor([1 - 1 / 2, 1 - 1 / 2**2.5, 1 - 1 / 16]))


def test_a_read_is_each_heads_attention(mapping: ContextMapping) -> None:
    chunks = torch.randn(2, LAYERS, 2, HEADS, 5, WIDTH // HEADS)
    size = WIDTH // HEADS
    for head in range(HEADS):
        some = slice(head * size, (head + 1) * size)
        query = mapping.queries_LQD[1, 2, some].numpy()
        keys, values = chunks[1, 1, :, head].numpy()
        weights = np.exp(keys @ query / np.sqrt(size))
        expected = (weights / weights.sum()) @ values
        np.testing.assert_allclose(mapping.read(chunks)[1, 1, 2, some], expected, rtol=1e-4, atol=1e-6)


def test_standardised_values_are_of_one_size(mapping: ContextMapping) -> None:
    chunks = torch.randn(40, LAYERS, 2, HEADS, 16, WIDTH // HEADS) * torch.tensor([3.0, 50.0])[:, None, None, None] + 9
    mapping.queries_LQD.zero_()  # every token as much as any other
    mapping.standardise(chunks)
    reads = mapping.read(chunks)
    assert reads.mean().abs() < 0.01
    torch.testing.assert_close(reads.std(), torch.tensor(0.25), atol=0.03, rtol=0)  # a mean of 16
