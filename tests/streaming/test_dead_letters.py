"""Dead letters: kept once, sent again, and gone when their user is."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from features.errors import LogUnavailable
from features.events import UserId
from features.profile import Position
from features.profiles import ProfileStore
from streaming.dead_letters import DeadLetter, DeadLetters
from streaming.ingest import into_profiles
from streaming.log import Record, Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0


@pytest.fixture
def path(home: Path) -> Path:
    return home / "dead_letters.sqlite"


@pytest.fixture
def letters(path: Path) -> Iterator[DeadLetters]:
    with closing(DeadLetters(path)) as letters:
        yield letters


@pytest.fixture
def log(home: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(home / "log.sqlite", partitions=2)) as log:
        yield log


def at(offset: int) -> Position:
    return Position("log", 0, offset)


def records_of(log: SqliteLog, stream: Stream) -> list[Record]:
    with closing(log.consumer(stream, None)) as consumer:
        return consumer.read(1000, 0.0)


def test_a_letter_is_listed_as_it_was_added(letters: DeadLetters) -> None:
    letters.add(Stream.ITEMS, "é", b"\x00\xff{", Position("a:b", 3, 7), "item_id: missing", NOW)
    [letter] = letters.list()
    assert letter == DeadLetter(
        letter.id, Stream.ITEMS, Position("a:b", 3, 7), "é", b"\x00\xff{", "item_id: missing", NOW
    )
    assert letters.count() == 1


def test_letters_are_listed_oldest_first_and_page_after_page(letters: DeadLetters) -> None:
    for number in range(7):
        letters.add(Stream.EVENTS, "ada", b"%d" % number, at(10 - number), "wrong", NOW - number)
    pages, after = [], 0
    while page := letters.list(most=3, after=after):
        pages.append([letter.value for letter in page])
        after = page[-1].id
    assert pages == [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]]


def test_letters_outlive_the_process(path: Path) -> None:
    with closing(DeadLetters(path)) as letters:
        letters.add(Stream.EVENTS, "ada", b"{", at(1), "wrong", NOW)
    with closing(DeadLetters(path)) as letters:
        assert [letter.value for letter in letters.list()] == [b"{"]


def test_a_record_found_again_by_a_replay_stays_one_letter_as_it_was(letters: DeadLetters) -> None:
    for hour in range(3):
        letters.add(Stream.EVENTS, "ada", b"{", at(1), f"reason {hour}", NOW + 3600 * hour)
    letters.add(Stream.ITEMS, "ada", b"{", at(1), "another stream", NOW)
    letters.add(Stream.EVENTS, "ada", b"{", Position("log", 1, 1), "another partition", NOW)
    assert [(letter.reason, letter.at) for letter in letters.list()] == [
        ("reason 0", NOW),
        ("another stream", NOW),
        ("another partition", NOW),
    ]


def test_sent_letters_stand_in_the_log_in_their_streams_and_order_and_leave_the_list(
    letters: DeadLetters, log: SqliteLog
) -> None:
    letters.add(Stream.EVENTS, "ada", b"first", at(1), "wrong", NOW)
    letters.add(Stream.ITEMS, "i1", b"item", at(1), "wrong", NOW)
    letters.add(Stream.EVENTS, "ada", b"second", at(2), "wrong", NOW)
    letters.add(Stream.EVENTS, "ada", b"not sent", at(3), "wrong", NOW)
    letters.send(letters.list(most=3), log, NOW + 1)
    sent = [(record.key, record.value, record.appended) for record in records_of(log, Stream.EVENTS)]
    assert sent == [("ada", b"first", NOW + 1), ("ada", b"second", NOW + 1)]
    assert [(record.key, record.value) for record in records_of(log, Stream.ITEMS)] == [("i1", b"item")]
    assert [letter.value for letter in letters.list()] == [b"not sent"]


def test_letters_that_could_not_be_sent_stay(letters: DeadLetters, log: SqliteLog) -> None:
    letters.add(Stream.EVENTS, "ada", b"{", at(1), "wrong", NOW)
    log.close()
    with pytest.raises(LogUnavailable):
        letters.send(letters.list(), log, NOW)
    assert letters.count() == 1


def test_a_letter_that_fails_again_comes_back_with_its_new_reason(
    letters: DeadLetters, log: SqliteLog, store: ProfileStore
) -> None:
    record = orjson.dumps({"user_id": "ada", "type": "view"})
    letters.add(Stream.EVENTS, "ada", record, at(1), "the reason of an older release", NOW)
    old = letters.list()
    letters.send(old, log, NOW)
    assert letters.count() == 0
    applied = into_profiles(store, letters, lambda: NOW + 5)(records_of(log, Stream.EVENTS))()
    assert (applied.records, applied.dead) == (0, 1)
    [back] = letters.list()
    assert back.value == record
    assert back.position.log_id == log.log_id
    assert "event_id" in back.reason
    assert back.at == NOW + 5
    assert back.id > old[0].id


def test_a_letter_that_is_good_now_is_applied(letters: DeadLetters, log: SqliteLog, store: ProfileStore) -> None:
    record = orjson.dumps({"event_id": "e1", "user_id": "ada", "type": "view", "timestamp": NOW})
    letters.add(Stream.EVENTS, "ada", record, at(1), "a release that was wrong", NOW)
    letters.send(letters.list(), log, NOW)
    into_profiles(store, letters, lambda: NOW)(records_of(log, Stream.EVENTS))()
    assert [event.id for event in store.read([UserId("ada")])[0].events] == ["e1"]
    assert letters.count() == 0


def test_forgetting_finds_the_user_as_key_and_anywhere_in_the_record(letters: DeadLetters) -> None:
    for offset, (key, value) in enumerate(
        [
            ("ada", b"not JSON"),
            ("", b'{"user_id": "ada", "type": 5}'),
            ("bob", b'{"user_id":"bob","properties":{"friend":"ada"}}'),
            ("bob", b'{"user_id":"bob","properties":{"friend":"adam"}}'),
            ("adam", b'{"user_id":"adam","text":"see ada"}'),
        ]
    ):
        letters.add(Stream.EVENTS, key, value, at(offset), "wrong", NOW)
    assert letters.forget("ada") == 3
    assert [letter.position.offset for letter in letters.list()] == [3, 4]
    assert letters.forget("ada") == 0


@pytest.mark.parametrize("user", ['a"b', "a\\b", "é", "100%", "a_b", "a\nb"])
def test_forgetting_finds_users_whose_ids_are_escaped_in_json(letters: DeadLetters, user: str) -> None:
    letters.add(Stream.EVENTS, "", orjson.dumps({"user_id": user, "type": 5}), at(0), "wrong", NOW)
    letters.add(Stream.EVENTS, "", orjson.dumps({"user_id": "another", "type": 5}), at(1), "wrong", NOW)
    assert letters.forget(user) == 1
    assert [letter.position.offset for letter in letters.list()] == [1]


def test_a_forgotten_user_is_nowhere_in_the_files(letters: DeadLetters, path: Path) -> None:
    # With these sizes and this order SQLite merges pages on the way, and leaves behind what was on them.
    chance = random.Random(3)
    users = [f"distinctive-{number:02d}" for number in range(10)]
    for offset in range(150):
        user = chance.choice(users)
        value = b'{"user_id":"%s"}%s' % (user.encode(), b"x" * chance.randrange(1500))
        letters.add(Stream.EVENTS, user, value, at(offset), f"{user} is wrong", NOW)
    for number, user in enumerate(users):
        assert letters.forget(user) > 0
        assert user.encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert {letter.key for letter in letters.list(most=1000)} == set(users[number + 1 :])


def test_forgetting_finds_both_spellings_that_json_has_for_a_letter(letters: DeadLetters) -> None:
    letters.add(Stream.EVENTS, "k", '{"user_id":"zoë"'.encode(), at(1), "torn", NOW)
    letters.add(Stream.EVENTS, "k", rb'{"user_id":"zo\u00eb"', at(2), "torn", NOW)
    letters.add(Stream.EVENTS, "k", b'{"user_id":"zoe"', at(3), "torn", NOW)
    assert letters.forget("zoë") == 2
    assert [letter.position for letter in letters.list()] == [at(3)]


def test_dropped_letters_are_gone_and_the_others_stay(letters: DeadLetters) -> None:
    for offset in range(3):
        letters.add(Stream.EVENTS, "k", b"{", at(offset), "torn", NOW)
    first, second, third = letters.list()
    letters.drop([first, third])
    assert letters.list() == [second]


def test_a_file_that_cannot_be_used_is_refused_by_its_path(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LogUnavailable, match=r"dead_letters\.sqlite cannot be used"):
        DeadLetters(path)


def test_two_processes_keep_one_list(letters: DeadLetters, path: Path) -> None:
    with closing(DeadLetters(path)) as other:
        other.add(Stream.EVENTS, "ada", b"{", at(1), "theirs", NOW)
        letters.add(Stream.EVENTS, "ada", b"{", at(2), "mine", NOW)
        assert [letter.reason for letter in other.list()] == ["theirs", "mine"]


def test_a_closed_list_says_that_it_is_unavailable(path: Path) -> None:
    with closing(DeadLetters(path)) as letters:
        pass
    with pytest.raises(LogUnavailable, match="closed"):
        letters.count()


def test_letters_are_found_by_the_sqlite_shell(letters: DeadLetters, path: Path) -> None:
    letters.add(Stream.EVENTS, "ada", b"{", at(1), "wrong", NOW)
    with closing(sqlite3.connect(path)) as shell:
        assert shell.execute("SELECT stream, key, reason FROM dead_letters").fetchall() == [("events", "ada", "wrong")]
