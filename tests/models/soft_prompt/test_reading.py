from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_favourites import favourite, frozen
from toy_sequences import by_hand, untrained

from features.errors import InvalidInput
from models.soft_prompt.reading import ConstantReader, EncoderReader, Past, past_of, pasts_of, pasts_of_strangers
from models.soft_prompt.tasks import Task

EVENTS = by_hand([[0, 1, 2], [3], [4, 5, 6, 7]], 8, values=[[5, 4, 3], [2], [1, 1, 1, 1]])
ASKED = [favourite(0, 2, "war"), favourite(0, 3, "war"), favourite(1, 1, "war"), favourite(2, 3, "war")]


def test_a_past_ends_at_its_cut() -> None:
    past = past_of(EVENTS, 2, 3)
    assert past.items_L.tolist() == [4, 5, 6]
    assert past.values_L is not None
    assert past.at_L is not None
    assert len(past.values_L) == len(past.at_L) == 3
    assert len(past_of(EVENTS, 1, 0).items_L) == 0


@pytest.mark.parametrize("cut", [-1, 4])
def test_a_cut_that_a_user_has_not_come_to_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput, match="cut"):
        past_of(EVENTS, 0, cut)


def test_a_stranger_is_another_user_and_the_same_for_all_questions_of_one() -> None:
    for seed in range(10):
        strangers = [past.items_L.tolist() for past in pasts_of_strangers(EVENTS, ASKED, seed)]
        own = [past.items_L.tolist() for past in pasts_of(EVENTS, ASKED)]
        assert strangers[0] == strangers[1]
        assert all(set(one).isdisjoint(other) for one, other in zip(strangers, own, strict=True))
    with pytest.raises(InvalidInput, match="one user"):
        pasts_of_strangers(EVENTS, ASKED[:2])


def test_a_strangers_past_is_as_long_as_the_task_takes() -> None:
    later = [replace(one, task=Task.NEXT_ITEM, cut=cut) for one, cut in ((ASKED[0], 3), (ASKED[3], 4))]
    strangers = pasts_of_strangers(EVENTS, [*ASKED, *later])
    assert [past.items_L.tolist() for past in strangers[4:]] == [[4, 5, 6, 7], [0, 1, 2]]
    assert all(len(past.items_L) <= 3 for past in strangers[:4])


@pytest.mark.parametrize("kind", ["sasrec", "hstu", "mean", "gru4rec"])
def test_states_are_the_encoders_after_each_event_whatever_stands_beside(kind: str) -> None:
    encoder = frozen(EVENTS, kind, rating=True, gaps=True)
    reader = EncoderReader(encoder, is_tuned=False).eval()
    pasts = pasts_of(EVENTS, ASKED)
    states, is_event = reader(pasts)
    assert is_event.sum(dim=1).tolist() == [2, 3, 1, 3]
    for row, past in enumerate(pasts):
        alone, is_own = reader([past])
        assert is_own.all()
        torch.testing.assert_close(alone[0], states[row, : len(past.items_L)], rtol=1e-5, atol=1e-5)
    last = states[torch.arange(4), is_event.sum(dim=1) - 1].numpy()
    vectors = encoder.vectors(
        [past.items_L for past in pasts], [past.at_L for past in pasts], [past.values_L for past in pasts]
    )
    np.testing.assert_allclose(last, vectors, rtol=1e-5, atol=1e-6)


def test_only_the_newest_events_are_read() -> None:
    encoder = frozen(EVENTS, "mean", length=2)
    states, is_event = EncoderReader(encoder, is_tuned=False)([past_of(EVENTS, 2, 4)])
    newest, _ = EncoderReader(encoder, is_tuned=False)([Past(np.array([6, 7]))])
    assert is_event.tolist() == [[True, True]]
    assert torch.equal(states, newest)


def test_a_user_without_events_is_all_padding() -> None:
    states, is_event = EncoderReader(frozen(EVENTS), is_tuned=False)([past_of(EVENTS, 0, 0)])
    assert states.shape[1] == 1
    assert not is_event.any()


def test_weights_are_tuned_only_where_they_are_to_be_and_in_a_copy() -> None:
    encoder = frozen(EVENTS, "sasrec")
    assert not any(one.requires_grad for one in EncoderReader(encoder, is_tuned=False).parameters())
    tuned = EncoderReader(encoder, is_tuned=True)
    before = encoder.digest
    with torch.no_grad():
        for one in tuned.parameters():
            assert one.requires_grad
            one.add_(1)
    assert encoder.digest == before


def test_a_constant_is_the_same_for_all() -> None:
    states, is_event = ConstantReader(4)(pasts_of(EVENTS, ASKED))
    assert states.shape == (4, 1, 4)
    assert is_event.all()
    assert (states == states[:1]).all()


def test_another_encoder_has_another_digest() -> None:
    one = frozen(EVENTS, "sasrec")
    assert one.digest == frozen(EVENTS, "sasrec").digest
    others = [frozen(EVENTS, "hstu"), frozen(EVENTS, "sasrec", length=7), frozen(EVENTS, "sasrec", dimensions=8)]
    assert len({one.digest, *(other.digest for other in others)}) == 4
    assert untrained(one.config, EVENTS).n_items == 8
