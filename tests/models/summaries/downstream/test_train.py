from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_raters import CPU, ITEMS, SMALL, raters

from features.errors import InvalidInput
from models.summaries.downstream.cases import Case, Log, Task, cases_of, log_of
from models.summaries.downstream.forms import FORMS, Told, told
from models.summaries.downstream.store import _texts
from models.summaries.downstream.tokens import Prompts, trained_on
from models.summaries.downstream.train import Trained, drawing, train
from models.summaries.downstream.writing import usual
from models.summaries.retrieval import BM25

BRIEF = replace(SMALL, examples=240, rounds=3)

Known = list[tuple[Case, Told]]


def known(log: Log, cases: list[Case], task: Task) -> Known:
    return list(zip(cases, told(log, cases, task, BM25(), usual(task)), strict=True))


def trained(checkpoint: Path | None = None, *, stop_after: int = 99, identity: str = "toy", seed: int = 0) -> Trained:
    log = log_of(raters(), ITEMS, BRIEF)
    cases = cases_of(log, BRIEF, 0)
    training, validation = (known(log, list(part), Task.RATING) for part in (cases.training, cases.validation))
    prompts = Prompts(trained_on(_texts(log, training), BRIEF.vocabulary), log, Task.RATING, BRIEF.length)

    def stop(done: int, total: int, what: str) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    return train(
        log,
        prompts,
        training,
        validation,
        BRIEF,
        identity=identity,
        seed=seed,
        checkpoint=checkpoint,
        device=CPU,
        progress=stop,
    )


def test_every_form_is_read_as_often_as_any_other_and_every_case_as_well() -> None:
    drawn = drawing(30, 0, seed=0)
    first = [next(drawn) for _ in range(30 * len(FORMS))]
    forms = [form for _, form in first]
    assert {forms.count(form) for form in range(len(FORMS))} == {30}
    assert {sum(case == one for case, _ in first) for one in range(30)} == {len(FORMS)}


def test_the_drawing_goes_on_where_it_was_left() -> None:
    drawn = drawing(7, 0, seed=3)
    whole = [next(drawn) for _ in range(50)]
    later = drawing(7, 20, seed=3)
    assert [next(later) for _ in range(30)] == whole[20:]


def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "checkpoint", stop_after=2)
    resumed = trained(tmp_path / "checkpoint")
    assert resumed.round == whole.round
    assert resumed.curves == whole.curves
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weights), name


def test_another_trainings_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "checkpoint", stop_after=1)
    with pytest.raises(InvalidInput, match="of another training"):
        trained(tmp_path / "checkpoint", identity="other")


def test_seeds_decide() -> None:
    same, other = trained(), trained(seed=1)
    assert trained().curves == same.curves
    assert same.curves["loss"] != other.curves["loss"]
