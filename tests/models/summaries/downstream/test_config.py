import pytest

from features.errors import InvalidInput
from models.summaries.downstream.config import configured


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test", 0),
        ("candidates", 1),
        ("learning_rate", 0),
        ("heads", 5),
        ("rounds", "many"),
        ("depth", 3),
        ("length", 8),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        configured({name: value})
    assert refused.value.field == name


def test_settings_come_as_text() -> None:
    assert configured({"examples": "500", "dropout": "0.3"}).t5().dropout == 0.3
