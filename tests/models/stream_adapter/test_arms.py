import pytest

from features.errors import InvalidInput
from models.encoders.config import preset as encoder
from models.soft_prompt import arms as soft
from models.stream_adapter.arms import RECENT, AdapterArm, OwnContextArm, ablation_arms, arms_of, chosen
from models.stream_adapter.config import StreamAdapterConfig

ARMS = arms_of(StreamAdapterConfig(rank=4), encoder("mean"), "linear-1", 15, has_gpu=False)


def test_every_way_of_telling_a_model_of_a_user_is_there_with_its_controls() -> None:
    texts = ("zero-shot", "text-5", "text-10", "text-25", "text-50", "text-full")
    assert list(ARMS) == [
        *texts,
        *(f"{name}+lora" for name in texts),
        *("lora-3", "mean/linear-1"),
        *("stream-adapter", "stream-adapter of another user", "constant/stream-adapter"),
        *("stream-adapter+distilled", "stream-adapter+distilled of another user", "constant/stream-adapter+distilled"),
    ]
    assert RECENT == ("text-5+lora", "text-10+lora", "text-25+lora", "text-50+lora")


def test_a_control_differs_in_what_it_controls_alone_and_has_the_same_minutes() -> None:
    own, constant, stranger, distilled = (
        ARMS[name]
        for name in (
            "stream-adapter",
            "constant/stream-adapter",
            "stream-adapter of another user",
            "stream-adapter+distilled",
        )
    )
    assert all(isinstance(one, AdapterArm) for one in (own, constant, stranger, distilled))
    assert stranger.learnt == own.learnt == own.name
    assert (stranger.config, stranger.is_stranger) == (own.config, True)
    assert (own.config.source, own.config.distil, own.config.rank, own.config.minutes) == ("user", 0, 4, 15)
    assert (constant.config.source, constant.config.minutes, constant.learnt) == ("constant", 15, constant.name)
    assert distilled.config.distil > 0


def test_what_was_trained_to_answer_other_questions_is_the_same_arm_here() -> None:
    there = soft.arms_of([encoder("mean")], ["linear-1"], 15, has_gpu=False)
    for name in ("text-10", "text-50", "text-full", "text-10+lora", "text-50+lora", "mean/linear-1"):
        assert ARMS[name] == there[name]


def test_the_ablation_changes_one_thing_at_a_time() -> None:
    points = ablation_arms(StreamAdapterConfig(), 5)
    plain = points[0].config
    assert (plain.rank, plain.chunk, plain.distil, plain.minutes) == (8, 64, 0, 5)
    for point in points[1:]:
        changed = [name for name in ("rank", "chunk", "distil") if getattr(point.config, name) != getattr(plain, name)]
        assert len(changed) == 1, point.name
    assert len({point.name for point in points}) == len(points) == 8


def test_arms_are_chosen_by_name() -> None:
    assert chosen(ARMS, ["stream-adapter", "chance"]) == ["chance", "stream-adapter"]
    every = chosen(ARMS, [])
    assert "stream-adapter+distilled" in every
    assert "zero-shot+lora" not in every
    assert isinstance(ARMS["lora-3"], OwnContextArm)
    with pytest.raises(InvalidInput, match="text-11"):
        chosen(ARMS, ["text-11"])
    with pytest.raises(InvalidInput, match="quadratic"):
        arms_of(StreamAdapterConfig(), encoder("mean"), "quadratic", 15, has_gpu=False)
