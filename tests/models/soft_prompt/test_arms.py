import pytest

from features.errors import InvalidInput
from models.encoders.config import preset as encoder
from models.soft_prompt.arms import LENGTHS, SIZES, arms_of, chosen, scaling_arms
from models.soft_prompt.telling import ALL

ARMS = arms_of([encoder("sasrec"), encoder("mean")], ["linear-1", "query-4"], 15, has_gpu=False)


def test_every_encoder_meets_every_adapter_with_its_controls() -> None:
    assert list(ARMS) == [
        *("no-user", "text-10", "text-50", "text-full"),
        *("no-user+lora", "text-10+lora", "text-50+lora", "text-full+lora"),
        *("constant/linear-1", "constant/query-4"),
        *("sasrec/linear-1", "sasrec/query-4", "mean/linear-1", "mean/query-4"),
        *(f"{name} of another user" for name in ("sasrec/linear-1", "sasrec/query-4", "mean/linear-1", "mean/query-4")),
    ]


def test_a_control_differs_in_what_it_controls_alone() -> None:
    own, stranger, constant = (
        ARMS[name] for name in ("sasrec/query-4", "sasrec/query-4 of another user", "constant/query-4")
    )
    assert stranger.learnt == own.learnt == own.name
    assert (stranger.config, stranger.encoder, stranger.is_stranger) == (own.config, own.encoder, True)
    assert constant.config.source == "constant"
    assert (constant.config.kind, constant.config.tokens, constant.config.minutes) == ("query", 4, 15)


def test_what_is_frozen_learns_nothing_and_what_is_tuned_has_the_same_minutes() -> None:
    for name, arm in ARMS.items():
        assert bool(arm.learnt) == (name not in ("no-user", "text-10", "text-50", "text-full"))
        assert arm.config.minutes == (15 if arm.learnt else 0)
        assert arm.config.lora == (8 if arm.config.kind == "none" else 0)
    assert [ARMS[name].told for name in ("no-user", "text-10", "text-50", "text-full")] == [0, 10, 50, ALL]


def test_whole_histories_are_tuned_on_where_there_is_a_gpu() -> None:
    assert ARMS["text-full+lora"].learnt == "text-50+lora"
    arms = arms_of([encoder("mean")], ["linear-1"], 15, has_gpu=True)
    assert arms["text-full+lora"].learnt == "text-full+lora"


def test_an_adapter_that_makes_no_soft_prompt_is_refused() -> None:
    for name in ("none", "quadratic-3"):
        with pytest.raises(InvalidInput, match=name):
            arms_of([encoder("mean")], [name], 15, has_gpu=False)


def test_arms_are_chosen_by_name() -> None:
    assert chosen([*ARMS], ["mean/linear-1", "chance"]) == ["chance", "mean/linear-1"]
    assert chosen([*ARMS], []) == ["chance", "popularity", *(name for name in ARMS if name != "no-user+lora")]
    with pytest.raises(InvalidInput, match="text-11"):
        chosen([*ARMS], ["text-11"])


def test_the_scaling_study_is_over_sizes_and_lengths() -> None:
    points = scaling_arms(encoder("hstu"), 5)
    assert [(one.encoder.dimensions, one.encoder.blocks, one.encoder.length) for one in points] == [
        (*size, length) for size in SIZES for length in LENGTHS
    ]
    assert len({one.name for one in points}) == len(points) >= 9
    assert {(one.config.kind, one.config.minutes, one.encoder.kind) for one in points} == {("linear", 5, "hstu")}
