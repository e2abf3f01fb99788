import pytest

from features.errors import InvalidInput
from models.soft_prompt.config import PRESETS, SoftPromptConfig, configured, preset


def test_every_preset_is_a_configuration() -> None:
    assert {name: (preset(name).kind, preset(name).tokens) for name in PRESETS} == {
        "linear-1": ("linear", 1),
        "query-4": ("query", 4),
        "query-16": ("query", 16),
        "instructed-4": ("instructed", 4),
        "dept-2": ("dept", 2),
        "none": ("none", 0),
    }
    with pytest.raises(InvalidInput, match="preset"):
        preset("query-5")


def test_settings_are_read_from_text() -> None:
    config = configured({"kind": "query", "tokens": "4", "tune_encoder": "true", "minutes": "2.5"})
    assert (config.kind, config.tokens, config.tune_encoder, config.minutes) == ("query", 4, True, 2.5)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("kind", {"kind": "square"}),
        ("source", {"source": "neighbour"}),
        ("style", {"style": "songs"}),
        ("tokens", {"tokens": 2}),
        ("tokens", {"kind": "query", "tokens": 0}),
        ("tokens", {"kind": "query", "tokens": -1}),
        ("tokens", {"kind": "none", "tokens": 1}),
        ("heads", {"hidden": 10, "heads": 3}),
        ("batch", {"batch": 0}),
        ("learning_rate", {"learning_rate": 0.0}),
        ("lora_rate", {"lora_rate": float("nan")}),
        ("minutes", {"minutes": -1.0}),
        ("contrast", {"contrast": 1.5}),
        ("lora", {"kind": "none", "tokens": 0}),
        ("tune_encoder", {"source": "constant", "tune_encoder": True}),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(field: str, given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        SoftPromptConfig(**given)
    assert refused.value.field == field
