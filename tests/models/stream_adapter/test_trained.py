from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_llama import toy_llama
from toy_sequences import CPU
from toy_streams import WORDS, small, toy_adapter

from features.errors import BundleRefused, InvalidInput, WeightsRefused
from models.language.adapters import base_digest
from models.soft_prompt.language import Language
from models.stream_adapter.absorption import Cores
from models.stream_adapter.state import State
from models.stream_adapter.trained import StreamAdapter

EVENTS = [("war film", 4.0), ("love story [jazz]", None), ("space", 1.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_llama(tmp_path_factory.mktemp("llm") / "toy", words=WORDS)


@pytest.fixture(scope="module")
def adapter(folder: Path) -> StreamAdapter:
    return toy_adapter(folder)


@pytest.fixture(scope="module")
def states(adapter: StreamAdapter) -> list[State]:
    """Of three users, the last of whom has no full chunk yet."""
    told = [adapter.context.tokens(EVENTS[:count] * times) for count, times in ((3, 4), (1, 5))]
    return adapter.advance([adapter.fresh()] * 3, [*told, adapter.context.tokens([("a", None)])])


@pytest.mark.parametrize("more", [{}, {"sees_previous": True}, {"undo_rotary": False}])
def test_events_one_by_one_are_the_whole_stream(folder: Path, more: dict[str, bool]) -> None:
    adapter = toy_adapter(folder, **more)
    [whole] = adapter.advance([adapter.fresh()], [adapter.context.tokens(EVENTS * 4)])
    state = adapter.fresh()
    for event in EVENTS * 4:
        [state] = adapter.advance([state], [adapter.context.tokens([event])])
    assert state.to_bytes() == whole.to_bytes()
    assert state.chunks >= 5


def test_a_state_says_what_the_scan_says(adapter: StreamAdapter) -> None:
    tokens = adapter.context.tokens(EVENTS * 5)
    [state] = adapter.advance([adapter.fresh()], [tokens])
    windows = adapter.reader.windows(np.array(tokens, np.int32), 0, state.chunks)
    reads = adapter.mapping.read(adapter.reader.read(windows))
    scanned = adapter.mapping.scan(reads[None], torch.tensor([state.chunks]))[0]
    np.testing.assert_allclose(state.memory_LQD, scanned, rtol=1e-3, atol=1e-3)


def test_users_together_are_as_alone(adapter: StreamAdapter, states: list[State]) -> None:
    more = [adapter.context.tokens(EVENTS * count) for count in (3, 0, 1)]
    together = adapter.advance(states, more)
    for state, told, found in zip(states, more, together, strict=True):
        [alone] = adapter.advance([state], [told])
        np.testing.assert_allclose(found.memory_LQD, alone.memory_LQD, rtol=1e-3, atol=1e-3)
        assert found.tail_T.tolist() == alone.tail_T.tolist()
        assert found.chunks == alone.chunks


def test_a_state_is_never_changed(adapter: StreamAdapter, states: list[State]) -> None:
    before = [state.to_bytes() for state in states]
    adapter.advance(states, [adapter.context.tokens(EVENTS * 4)] * 3)
    assert [state.to_bytes() for state in states] == before


def test_a_row_of_a_mixed_batch_is_the_user_alone(adapter: StreamAdapter, states: list[State]) -> None:
    cores = adapter.cores(states)
    asked = [
        adapter.language.asked(question, answers, 0)
        for question, answers in (
            ("likes what", [" war", " love"]),
            ("what", [" jazz"]),
            ("user what", [" space", "!"]),
        )
    ]
    together = adapter.scores(cores, asked)
    for place in range(3):
        [alone] = adapter.scores(cores.of([place]), [asked[place]])
        np.testing.assert_allclose(together[place], alone, rtol=1e-5, atol=1e-5)
        [merged] = adapter.scores(adapter.merged(cores.of([place])), [asked[place]])
        np.testing.assert_allclose(merged, alone, rtol=1e-5, atol=1e-4)


def test_an_update_changes_answers_and_none_is_the_frozen_model_bit_by_bit(
    adapter: StreamAdapter, states: list[State]
) -> None:
    asked = [adapter.language.asked("likes what", [" war", " love"], 0)] * 3
    frozen, mixed = adapter.scores(None, asked), adapter.scores(adapter.cores(states), asked)
    assert list(adapter.cores(states).is_adapted_N) == [True, True, False]
    assert np.array_equal(mixed[2], frozen[2])
    assert np.abs(mixed[0] - frozen[0]).min() > 0.01
    assert np.abs(mixed[0] - mixed[1]).min() > 0.01
    [fresh] = adapter.scores(adapter.cores([adapter.fresh()]), asked[:1])
    assert np.array_equal(fresh, adapter.scores(None, asked[:1])[0])


def test_choices_are_compared_by_their_lifts_over_the_frozen_models(
    adapter: StreamAdapter, states: list[State]
) -> None:
    language, cores = adapter.language, adapter.cores(states[:1])
    asked = language.asked("likes what", [" war", " love you"], 0)
    [lifts] = adapter.scores(cores, [asked])
    with torch.no_grad():
        chances = adapter.log_likelihoods(cores, [asked])
        alone = adapter.log_likelihoods(None, [(language.tokens.plain("\nAnswer:"), [one]) for one in asked[1]])
    np.testing.assert_allclose(lifts, chances - alone, rtol=1e-4, atol=1e-5)


def test_an_untrained_adapter_changes_nothing(folder: Path) -> None:
    torch.manual_seed(0)
    adapter = StreamAdapter(small(), Language(folder, CPU))
    [state] = adapter.advance([adapter.fresh()], [adapter.context.tokens(EVENTS * 4)])
    asked = [adapter.language.asked("likes what", [" war", " love"], 0)]
    np.testing.assert_allclose(adapter.scores(adapter.cores([state]), asked), adapter.scores(None, asked), rtol=1e-6)


def test_the_base_model_is_never_written(folder: Path, adapter: StreamAdapter, states: list[State]) -> None:
    fresh = Language(folder, CPU).model.state_dict()
    cores = adapter.cores(states)
    adapter.generate(adapter.merged(cores.of([0])), [[30, 31]], 4)
    adapter.generate(cores, [[30, 31]] * 3, 4)
    assert all(torch.equal(weight, fresh[name]) for name, weight in adapter.language.model.state_dict().items())
    assert base_digest(folder) == adapter.base


def test_users_generate_together_as_alone_and_as_transformers_does(adapter: StreamAdapter, states: list[State]) -> None:
    cores, prompts = adapter.cores(states), [[40, 41, 42], [50], [60, 61]]
    assert max(map(len, prompts)) <= len(adapter.language.cue)  # all of it is read by changed weights
    together = adapter.generate(cores, prompts, 6)
    for place, prompt in enumerate(prompts):
        assert adapter.generate(cores.of([place]), [prompt], 6) == [together[place]]
        ids = torch.tensor([prompt])
        with adapter.applied(cores.of([place])):
            said = adapter.language.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
            )
        expected = said[0, len(prompt) :].tolist()
        assert together[place] == [token for token in expected if token not in adapter.language.tokens.special]


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_is_before_the_cue_is_read_by_the_frozen_model_unless_all_is_changed(folder: Path, is_whole: bool) -> None:
    adapter = toy_adapter(folder, is_whole=is_whole)
    language, model = adapter.language, adapter.language.model
    cores = adapter.cores(adapter.advance([adapter.fresh()], [adapter.context.tokens(EVENTS * 4)]))
    question, [answer] = language.asked("likes what", [" war"], 0)
    before, behind = torch.tensor([question]).split([len(question) - len(language.cue), len(language.cue)], dim=1)
    with torch.no_grad():
        if is_whole:
            with adapter.applied(cores):
                cache = model(input_ids=before, use_cache=True).past_key_values
        else:
            cache = model(input_ids=before, use_cache=True).past_key_values
        with adapter.applied(cores):
            read = torch.cat((behind, torch.tensor([answer])), dim=1)
            logits = model(input_ids=read, past_key_values=cache).logits[0, behind.shape[1] - 1 : -1]
    wanted = logits.log_softmax(dim=-1)[torch.arange(len(answer)), torch.tensor(answer)].sum()
    with torch.no_grad():
        found = adapter.log_likelihoods(cores, [(question, [answer])])
    torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_title_is_scored_by_its_mean_token(adapter: StreamAdapter, states: list[State]) -> None:
    cores = adapter.cores(states[:2])
    scores = adapter.title_scores(cores, [["war", "war [jazz]"], ["love"]])
    assert [one.shape for one in scores] == [(2,), (1,)]
    asked = adapter.language.asked("The user's next items:", ["war [jazz]"], 0)
    [[alone]] = adapter.scores(cores.of([0]), [asked])
    assert scores[0][1] == pytest.approx(alone / len(asked[1][0]), rel=1e-4)
    many, none = adapter.title_scores(cores, [["war", "war [jazz]"] * 40, []])
    np.testing.assert_allclose(many, list(scores[0]) * 40, rtol=1e-4)
    assert none.shape == (0,)


def test_a_poisoned_state_is_caught_and_changes_nobody_else(adapter: StreamAdapter, states: list[State]) -> None:
    guarded = toy_like(adapter)
    guarded.absorption.bound_LK.copy_(torch.from_numpy(2 * guarded.cores(states[:2]).norms().max(axis=0)))
    asked = [adapter.language.asked("likes what", [" war", " love"], 0)] * 3
    before = guarded.scores(guarded.cores(states), asked)
    for poison in (np.nan, np.inf, 6e4):
        poisoned = replace(states[0], memory_LQD=np.full_like(states[0].memory_LQD, poison))
        cores = guarded.cores([poisoned, *states[1:]])
        assert guarded.checked(cores).tolist() == [False, True, True]
        after = guarded.scores(cores, asked)
        assert np.array_equal(after[1:], before[1:])
    assert guarded.checked(guarded.cores(states)).all()


def toy_like(adapter: StreamAdapter) -> StreamAdapter:
    other = StreamAdapter(adapter.config, adapter.language)
    other.weights.load_state_dict(adapter.weights.state_dict())
    other.weights.requires_grad_(False)
    return other


def test_a_constant_is_everybodys(folder: Path, states: list[State]) -> None:
    control = toy_adapter(folder, source="constant")
    cores = control.cores(states)
    assert cores.is_adapted_N.all()
    assert torch.equal(cores.cores_NLKQR[0], cores.cores_NLKQR[1])


def test_it_reads_back(adapter: StreamAdapter, states: list[State], folder: Path, tmp_path: Path) -> None:
    adapter.save(tmp_path / "kept")
    read = StreamAdapter.load(tmp_path / "kept", folder, CPU)
    assert read.version == adapter.version == read.manifest()["version"]
    assert read.manifest()["state_bytes"] >= len(states[0].to_bytes())
    assert torch.equal(read.cores(states).cores_NLKQR, adapter.cores(states).cores_NLKQR)


def test_another_language_model_is_refused(adapter: StreamAdapter, tmp_path: Path) -> None:
    adapter.save(tmp_path / "kept")
    with pytest.raises(WeightsRefused, match="another language model"):
        StreamAdapter.load(tmp_path / "kept", toy_llama(tmp_path / "other", seed=1), CPU)
    (tmp_path / "kept" / "stream-adapter.safetensors").write_bytes(b"other")
    with pytest.raises(BundleRefused):
        StreamAdapter.load(tmp_path / "kept", tmp_path / "other", CPU)


def test_weights_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    diverged = toy_adapter(folder)
    diverged.mapping.queries_LQD.fill_(torch.nan)
    diverged.save(tmp_path / "kept")
    with pytest.raises(WeightsRefused, match="not finite"):
        StreamAdapter.load(tmp_path / "kept", folder, CPU)


def test_its_version_is_of_all_that_states_are_made_by(folder: Path, adapter: StreamAdapter) -> None:
    assert toy_adapter(folder).version == adapter.version
    assert toy_adapter(folder, seed=1).version != adapter.version
    assert toy_adapter(folder, chunk=9).version != adapter.version


def test_a_state_of_another_shape_is_refused(folder: Path, adapter: StreamAdapter, states: list[State]) -> None:
    for other in (toy_adapter(folder, queries=3).fresh(), State(states[0].memory_LQD, np.zeros(8, np.int32))):
        with pytest.raises(InvalidInput, match="state"):
            adapter.advance([other], [[]])
        with pytest.raises(InvalidInput, match="state"):
            adapter.cores([other])


def test_states_too_big_to_keep_are_refused_before_anything_is_learned(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="queries"):
        StreamAdapter(small(queries=1200), Language(folder, CPU))


def test_one_users_cores_are_merged(adapter: StreamAdapter, states: list[State]) -> None:
    with pytest.raises(InvalidInput, match="one user's"):
        adapter.merged(adapter.cores(states))
    frozen = adapter.merged(adapter.cores([adapter.fresh()]))
    assert not frozen.weights
    assert isinstance(adapter.cores(states).of([1, 1]), Cores)
