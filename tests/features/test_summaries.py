"""What is said about a user, as it is stored: what may be, when, and that an erasure takes it for good."""

from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_of_events import USER

from features.events import Event, EventId, ItemId, UserId, user_digest
from features.history import UserHistory
from features.profile import Claim, Correction, Position, StoredSummary, UserSummary
from features.profiles import ProfileStore, UserBatch, connect_for_ingest
from features.summaries import (
    VERSIONS_KEPT,
    UserSummaries,
    correction_field,
    decode_summary,
    encode_correction,
    encode_summary,
    with_version,
)

numbers = count()


def at(offset: int) -> Position:
    return Position("log", 0, offset)


def summary(facts: str, text: str = "Likes Drama (4.1).", kind: str = "general") -> UserSummary:
    return UserSummary(kind, (Claim(text, ("liked_category:Drama",), ("e1", "e2")),), facts, "template", "", 1.5, at(1))


def applied(
    store: ProfileStore, offset: int, user: UserId = USER, erased_at: float | None = None, time: float = 1.0
) -> UserHistory:
    """The history after one more batch: an event of this time, or an erasure."""
    event = Event(EventId(f"e{time}"), user, ItemId("x"), "view", None, time)
    store.apply([UserBatch(user_digest(user), at(offset), [] if erased_at is not None else [event], erased_at)])
    return store.read([user])[0]


def kept(store: ProfileStore, user: UserId = USER) -> UserSummaries:
    [(_, found)] = store.read_with_summaries([user])
    return found


def write(store: ProfileStore, history: UserHistory, stored: StoredSummary, kind: str = "general") -> bool:
    [is_stored] = store.write_summaries([(history, {kind: stored})])
    return is_stored


def test_summaries_and_corrections_are_read_back_with_the_history(store: ProfileStore) -> None:
    history = applied(store, 1)
    of_kinds = {kind: with_version(StoredSummary(), summary("f1", kind=kind)) for kind in ("rating", "general")}
    assert store.write_summaries([(history, of_kinds)]) == [True]
    hidden, said = Correction("variety", None, False, 9.0), Correction("favourite:Alien", "Adores Alien.", True, 8.0)
    assert store.write_corrections(history, [hidden, said])
    [(read, found), (nobody, nothing)] = store.read_with_summaries([USER, UserId("nobody")])
    assert (read, found.kinds, found.corrections) == (history, ("general", "rating"), (said, hidden))
    assert found.of("rating") == replace(of_kinds["rating"], revision=1)
    assert found.of("tagging") == StoredSummary()
    assert (nobody.as_of, nothing) == (None, UserSummaries({}))


def test_a_newer_correction_of_a_fact_takes_the_place_of_the_older_and_may_be_removed(store: ProfileStore) -> None:
    history = applied(store, 1)
    store.write_corrections(history, [Correction("variety", None, False, 1.0), Correction("era", "Old.", True, 2.0)])
    store.write_corrections(history, [Correction("variety", "Sees anything.", False, 3.0)], removed=["era", "times"])
    assert kept(store).corrections == (Correction("variety", "Sees anything.", False, 3.0),)
    store.write_corrections(history, [], removed=["variety"])
    assert kept(store) == UserSummaries({})


def test_the_newest_versions_are_kept_and_of_one_digest_the_last() -> None:
    stored = StoredSummary(stale="down")
    for facts in "abcdefg":
        stored = with_version(stored, summary(facts))
    assert ([version.facts for version in stored.versions], stored.stale) == (["g", "f", "e", "d", "c"], "")
    stored = with_version(stored, summary("d", "Anew."))
    assert [version.facts for version in stored.versions] == ["d", "g", "f", "e", "c"]
    assert (stored.versions[0].text, VERSIONS_KEPT) == ("Anew.", 5)


def test_what_was_made_before_an_erasure_never_comes_back(store: ProfileStore) -> None:
    history = applied(store, 1)
    stored = with_version(StoredSummary(), summary("f1"))
    write(store, history, stored)
    store.write_corrections(history, [Correction("variety", None, False, 1.0)])
    erased = applied(store, 2, erased_at=5.0)
    assert kept(store) == UserSummaries({})
    assert not write(store, history, stored)
    assert not store.write_corrections(history, [Correction("variety", None, False, 1.0)])
    assert kept(store) == UserSummaries({})
    anew = applied(store, 3, time=6.0)
    assert (erased.erased_at, anew.erased_at) == (5.0, 5.0)
    assert not write(store, history, stored)
    assert write(store, anew, stored)
    again = applied(store, 4, erased_at=7.0)
    assert (again.erased_at, write(store, anew, stored), kept(store)) == (7.0, False, UserSummaries({}))


def test_nothing_is_stored_of_a_user_nobody_has_heard_of(store: ProfileStore) -> None:
    nobody = UserHistory(UserId(f"nobody-{next(numbers)}"))
    assert not write(store, nobody, with_version(StoredSummary(), summary("f1")))
    assert not store.write_corrections(nobody, [Correction("variety", None, False, 1.0)])
    assert kept(store, nobody.user) == UserSummaries({})


def test_a_profile_that_has_moved_on_takes_a_summary_of_what_it_was(store: ProfileStore) -> None:
    before = applied(store, 1)
    applied(store, 2, time=2.0)
    assert write(store, before, with_version(StoredSummary(), summary("f1")))
    assert kept(store).of("general").versions[0].as_of == at(1)


def test_of_two_who_write_from_one_reading_the_first_is_kept_and_may_say_so_again(store: ProfileStore) -> None:
    history = applied(store, 1)
    first, second = (with_version(StoredSummary(), summary(facts)) for facts in ("f1", "f2"))
    assert write(store, history, first)
    assert not write(store, history, second)
    assert write(store, history, first)
    assert not store.write_summaries([(history, {"rating": first, "general": second})])[0]
    assert kept(store).kinds == ("general",)  # all of a user's or none
    assert write(store, history, with_version(kept(store).of("general"), summary("f2")))
    assert [version.facts for version in kept(store).of("general").versions] == ["f2", "f1"]


def test_erased_words_are_in_no_key_and_memory_counts_those_that_are_there(store: ProfileStore, redis_url: str) -> None:
    user = UserId(f"erased-{next(numbers)}")
    history = applied(store, 1, user)
    without = store.memory(user)
    write(store, history, with_version(StoredSummary(), summary("f1", "long " * 100)))
    assert store.memory(user) >= without + 500
    with connect_for_ingest(redis_url) as client:
        assert list(client.scan_iter(f"*{user_digest(user)}}}:y"))
        applied(store, 2, user, erased_at=5.0)
        assert list(client.scan_iter(f"*{user_digest(user)}*")) == list(client.scan_iter(f"*{user_digest(user)}}}:m"))


def test_tokens_are_counted_by_the_day_and_forgotten(store: ProfileStore, redis_url: str) -> None:
    store.spend_tokens("2026-11-24", 40)
    store.spend_tokens("2026-11-24", 2)
    assert (store.tokens_spent("2026-11-24"), store.tokens_spent("2026-11-25")) == (42, 0)
    with connect_for_ingest(redis_url) as client:
        assert all(client.ttl(key) > 0 for key in client.scan_iter("*:tokens:2026-11-24"))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.lists(texts, max_size=3).map(tuple)
times = st.floats(allow_nan=False, allow_infinity=False)
claims = st.builds(Claim, texts, names, names)
logs = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=9)
summaries = st.builds(
    UserSummary,
    kind=texts,
    claims=st.lists(claims, max_size=3).map(tuple),
    facts=texts,
    model=texts,
    prompt=texts,
    made_at=times,
    as_of=st.builds(Position, logs, st.integers(0, 9), st.integers(0, 2**53)),
)
stored_summaries = st.builds(
    StoredSummary, st.lists(summaries, max_size=3).map(tuple), stale=texts, revision=st.integers(0, 2**31)
)


@given(stored_summaries)
def test_decoding_gives_back_the_summary_that_was_encoded_at_the_next_revision(stored: StoredSummary) -> None:
    assert decode_summary(encode_summary(stored)) == replace(stored, revision=stored.revision + 1)


@given(st.lists(st.builds(Correction, texts, st.none() | texts, st.booleans(), times), unique_by=lambda c: c.fact))
def test_decoding_gives_back_the_corrections_that_were_encoded(given_corrections: list[Correction]) -> None:
    encoded = {correction_field(one.fact): encode_correction(one) for one in given_corrections}
    assert sorted(UserSummaries(encoded).corrections, key=repr) == sorted(given_corrections, key=repr)


steps = st.lists(
    st.tuples(st.sampled_from(["event", "erasure", "read", "write", "correct"]), st.integers(0, 5)), max_size=25
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps)
def test_in_any_interleaving_nothing_stands_that_was_made_before_the_last_erasure(
    store: ProfileStore, given_steps: list[tuple[str, int]]
) -> None:
    """Writers read at one step and write at any later one, in any order, as often as they like."""
    user, erasures, revision, is_known = UserId(f"interleaved-{next(numbers)}"), -1, 0, False
    readings: list[tuple[UserHistory, StoredSummary, int, int]] = []
    for offset, (step, what) in enumerate(given_steps):
        is_known |= step in ("event", "erasure")
        if step == "event":
            applied(store, offset, user, time=float(offset) + 0.5)
        elif step == "erasure":
            applied(store, offset, user, erased_at=float(offset))
            erasures, revision = offset, 0
        elif step == "read":
            [(history, found)] = store.read_with_summaries([user])
            readings.append((history, found.of("general"), erasures, revision))
        elif readings:
            history, stored, known, read_at = readings[what % len(readings)]
            is_fresh = is_known and known == erasures
            if step == "correct":
                assert store.write_corrections(history, [Correction(str(known), None, False, 1.0)]) == is_fresh
            else:
                is_stored = write(store, history, with_version(stored, summary(f"{known}", str(offset))))
                assert is_stored == (is_fresh and read_at == revision)
                revision += is_stored
        [(_, found)] = store.read_with_summaries([user])
        assert {version.facts for version in found.of("general").versions} <= {str(erasures)}
        assert {one.fact for one in found.corrections} <= {str(erasures)}
