from threading import Thread

from features.events import ItemId
from features.items import Item
from models.catalogue import Catalogue


def item(
    name: str, title: str = "", categories: tuple[str, ...] = (), hidden: bool = False, added: float = 0.0
) -> Item:
    return Item(ItemId(name), title, "", categories, {}, hidden, added)


def test_the_later_version_of_an_item_wins_whatever_the_order() -> None:
    old, new = item("a", "Old", added=1.0), item("a", "New", added=2.0)
    for versions in ((old, new), (new, old)):
        catalogue = Catalogue()
        for one in versions:
            catalogue.put([one])
        assert catalogue.get(ItemId("a")) == new


def test_what_changes_nothing_leaves_the_version_as_it_was() -> None:
    catalogue = Catalogue([item("a", "One", added=2.0)])
    before = catalogue.version
    assert catalogue.put([item("a", "Zero", added=1.0), item("a", "One", added=2.0)]) == 0
    assert catalogue.version == before
    assert catalogue.put([item("b")]) == 1
    assert catalogue.version > before


def test_an_item_without_a_title_is_called_by_its_id() -> None:
    catalogue = Catalogue([item("a", "Title"), item("b")])
    assert [catalogue.title(ItemId(name)) for name in "abz"] == ["Title", "b", "z"]
    assert catalogue.get(ItemId("z")) is None


def test_an_item_that_changes_its_categories_leaves_the_old_ones() -> None:
    catalogue = Catalogue([item("a", categories=("Comedy", "Drama"), added=1.0), item("b", categories=("Drama",))])
    catalogue.put([item("a", categories=("Comedy",), added=2.0)])
    assert catalogue.rows_in(["Drama"]).tolist() == [1]
    assert sorted(catalogue.rows_in(["Drama", "Comedy", "Unknown"]).tolist()) == [0, 1]
    assert catalogue.categories() == ["Comedy", "Drama"]


def test_it_grows_past_its_first_arrays() -> None:
    catalogue = Catalogue(
        item(str(number), categories=(str(number),), hidden=number % 2 == 1) for number in range(3000)
    )
    snapshot = catalogue.snapshot()
    assert len(catalogue) == snapshot.count == 3000
    assert snapshot.hidden_C[:3000].sum() == 1500
    assert (snapshot.packed_CR8[:3000].sum(axis=1) > 0).all()


def test_readers_never_meet_a_half_put_item() -> None:
    catalogue = Catalogue()
    names = [ItemId(str(number)) for number in range(20_000)]

    def put() -> None:
        for name in names:
            catalogue.put([item(name, f"Title {name}")])

    writer = Thread(target=put)
    writer.start()
    while writer.is_alive():
        snapshot = catalogue.snapshot()
        rows = catalogue.rows(names[:: len(names) // 50])
        assert all(catalogue.title(names[row]) == f"Title {row}" for row in rows.tolist() if 0 <= row < snapshot.count)
    writer.join()
    assert len(catalogue) == len(names)
