import pytest

from features.errors import InvalidInput
from models.p5.config import PRESETS, P5Config, configured, preset
from models.p5.item_index import INDEXINGS
from models.p5.templates import Family


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_configurations(name: str) -> None:
    assert preset(name) == P5Config(**PRESETS[name])


def test_settings_come_as_text_or_as_values() -> None:
    assert configured({"indexing": "semantic", "dimensions": "32", "whole_words": "false", "rating": "0"}) == P5Config(
        indexing="semantic", dimensions=32, whole_words=False, rating=0.0
    )
    assert configured({"heads": 2}, preset("base")).layers == 6


def test_the_mix_is_what_the_fields_of_the_families_say() -> None:
    mix = P5Config(sequential=1.0, rating=0.5, history=7, candidates=5, following=3).mix
    assert (mix.families[Family.SEQUENTIAL], mix.families[Family.RATING]) == (1.0, 0.5)
    assert (mix.history, mix.candidates, mix.following) == (7, 5, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("indexing", "alphabetical"),
        ("dimensions", 0),
        ("heads", 3),
        ("dropout", 1.0),
        ("vocabulary", 5),
        ("length", 3),
        ("candidates", 1),
        ("following", 0),
        ("rating", -0.1),
        ("minutes", float("inf")),
        ("learning_rate", 0.0),
        ("epochs", "many"),
        ("layer", 2),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=name):
        configured({name: value})


def test_an_unknown_preset_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match="tiny, small, base"):
        preset("huge")


def test_every_indexing_can_be_configured() -> None:
    assert [P5Config(indexing=one).indexing for one in INDEXINGS] == list(INDEXINGS)
