import pytest

from features.errors import InvalidInput
from models.stream_adapter.config import PRESETS, StreamAdapterConfig, configured, preset


def test_layers_are_told_by_ranges() -> None:
    assert StreamAdapterConfig().layers_of(3) == (0, 1, 2)
    assert StreamAdapterConfig(layers="0-6:3,5,2-3").layers_of(7) == (0, 2, 3, 5, 6)


@pytest.mark.parametrize("layers", ["0-7", "7", "3-2"])
def test_layers_that_are_not_there_are_refused(layers: str) -> None:
    with pytest.raises(InvalidInput, match="layers"):
        StreamAdapterConfig(layers=layers).layers_of(7)


def test_settings_come_as_text() -> None:
    config = configured({"maps": "v_proj, o_proj", "sees_previous": "true", "lengths": "2,0", "alpha": "4"})
    assert config.adapted == ("v_proj", "o_proj")
    assert config.stages == (2, 0)
    assert (config.sees_previous, config.alpha) == (True, 4.0)


@pytest.mark.parametrize(
    "given",
    [
        {"chunk": 0},
        {"rank": 0},
        {"alpha": float("inf")},
        {"maps": "v_proj,,"},
        {"maps": "v_proj,v_proj"},
        {"layers": "1-"},
        {"layers": "0-9:0"},
        {"lengths": ""},
        {"lengths": "4,-1"},
        {"source": "stranger"},
        {"style": "songs"},
        {"distilled": "words"},
        {"distil": -1.0},
        {"contrast": 1.5},
        {"batch": 33},
        {"cache": 0.0},
    ],
)
def test_a_mistake_is_named_by_its_field(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        StreamAdapterConfig(**given)
    assert caught.value.field == next(iter(given))


def test_presets_are_by_name() -> None:
    assert all(preset(name) for name in PRESETS)
    with pytest.raises(InvalidInput, match="default"):
        preset("best")
