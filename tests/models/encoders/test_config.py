import pytest

from features.errors import InvalidInput
from models.encoders.config import KINDS, LOSSES, EncoderConfig, configured, preset


def test_an_unknown_kind_or_loss_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"kind: 'bert' was given; it is one of sasrec, hstu, .*, mean$"):
        EncoderConfig("bert")
    with pytest.raises(InvalidInput, match=r"loss: 'hinge' was given; it is one of full, uniform, log-uniform$"):
        EncoderConfig(loss="hinge")


@pytest.mark.parametrize(
    "name", ["dimensions", "blocks", "heads", "length", "negatives", "batch", "epochs", "patience"]
)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_are_at_least_one(name: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: {value} was given; it is at least 1$"):
        EncoderConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("dimensions", "heads"), [(15, 1), (16, 3), (18, 2)])
def test_every_head_has_whole_pairs_of_dimensions(dimensions: int, heads: int) -> None:
    with pytest.raises(InvalidInput, match=f"heads: {dimensions} dimensions do not divide by twice {heads} heads"):
        EncoderConfig(dimensions=dimensions, heads=heads)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_leaves_something(dropout: float) -> None:
    with pytest.raises(InvalidInput, match=f"dropout: {dropout} was given; it is in "):
        EncoderConfig(dropout=dropout)


@pytest.mark.parametrize("name", ["learning_rate", "temperature", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_rates_and_temperatures_are_not_negative(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"^{name}: {value} was given; it is finite and not negative"):
        EncoderConfig(**{name: value})  # type: ignore[arg-type]


def test_a_learning_rate_of_0_is_none() -> None:
    with pytest.raises(InvalidInput, match=r"^learning_rate: 0 was given"):
        EncoderConfig(learning_rate=0)


def test_text_becomes_what_each_setting_is() -> None:
    text = {"kind": "hstu", "dimensions": "32", "dropout": ".25", "words": "false", "gaps": "1", "rating": "TRUE"}
    assert configured(text) == EncoderConfig("hstu", 32, dropout=0.25, words=False, gaps=True, rating=True)
    values = {"dimensions": 32, "dropout": 0.25, "words": False}
    assert configured(values) == EncoderConfig(dimensions=32, dropout=0.25, words=False)


def test_what_is_not_set_is_as_it_was() -> None:
    base = EncoderConfig("gru4rec", 32, temperature=0.1)
    assert configured({}, base) == base
    assert configured({"dimensions": "64"}, base) == EncoderConfig("gru4rec", 64, temperature=0.1)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("dimensions", "many", "int"),
        ("dimensions", "64.5", "int"),
        ("dimensions", "", "int"),
        ("dimensions", 64.5, "int"),
        ("dimensions", True, "int"),
        ("epochs", [3], "int"),
        ("dropout", "half", "float"),
        ("dropout", None, "float"),
        ("dropout", False, "float"),
        ("words", "perhaps", "bool"),
        ("words", 2, "bool"),
        ("kind", 3, "str"),
    ],
)
def test_what_a_setting_is_not_is_refused_by_its_name(name: str, value: object, kind: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: .* was given; it is of type {kind}$"):
        configured({name: value})


def test_an_unknown_setting_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"^layers: no such setting of an encoder; there are batch, blocks, .*"):
        configured({"layers": "3"})


def test_every_kind_has_a_preset_of_that_kind() -> None:
    assert {preset(kind).kind for kind in KINDS} == set(KINDS)
    assert preset() == EncoderConfig()
    assert {preset(kind).loss for kind in KINDS} <= set(LOSSES)
    assert {preset(kind).blocks for kind in ("hstu", "transformer")} == {2}
    with pytest.raises(InvalidInput, match="bert"):
        preset("bert")
