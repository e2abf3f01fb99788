"""What is said of users now: what is stored, corrections in place, or the template's."""

from itertools import count

import pytest
from toy_summaries import FILMS

from features.errors import InvalidInput, UnknownName
from features.events import Event, EventId, ItemId, UserId, user_digest
from features.profile import Claim, Correction, Position, StoredSummary, UserSummary
from features.profiles import ProfileStore, UserBatch
from features.summaries import with_version
from models.summaries.kinds import SummaryKind
from services.summaries import CORRECTIONS_MOST, Summaries

ADA = UserId("ada")
NOW = 1_700_000_000.0
RANKING = SummaryKind.RANKING
COMEDY, DRAMA = "liked_category:Comedy", "liked_category:Drama"
offsets = count()


@pytest.fixture
def summaries(store: ProfileStore) -> Summaries:
    catalogue = {film.id: film for film in FILMS}
    return Summaries(store, catalogue.get, lambda: NOW)


def see(store: ProfileStore, *films: int) -> Position:
    """Ada sees these, one after the other; the profile's stamp from then on."""
    place = Position("log", 0, next(offsets))
    events = [
        Event(EventId(f"e{place.offset}-{film}"), ADA, ItemId(str(film)), "view", None, NOW + place.offset + film)
        for film in films
    ]
    store.apply([UserBatch(user_digest(ADA), place, events)])
    return place


def keep(store: ProfileStore, *versions: UserSummary) -> None:
    [(history, said)] = store.read_with_summaries([ADA])
    stored = said.of(RANKING)
    for version in versions:
        stored = with_version(stored, version)
    assert store.write_summaries([(history, {RANKING: stored})]) == [True]


def version(as_of: Position, *claims: Claim, facts: str = "f1") -> UserSummary:
    return UserSummary(RANKING, claims, facts, "toy", "p", NOW - 60, as_of)


def text(summaries: Summaries, kind: SummaryKind = RANKING) -> str:
    [told] = summaries.read([ADA], kind)
    assert told.summary is not None
    return told.summary.text


def test_what_is_stored_is_shown_and_whether_it_has_seen_the_last_event(
    store: ProfileStore, summaries: Summaries
) -> None:
    old = see(store, 1)
    keep(store, version(old, Claim("Saw it all.", ("recent",), ("e",))))
    [told] = summaries.read([ADA], RANKING)
    assert (told.summary, told.is_current) == (version(old, Claim("Saw it all.", ("recent",), ("e",))), True)
    see(store, 2)
    [told] = summaries.read([ADA], RANKING)
    assert (told.summary and told.summary.text, told.is_current) == ("Saw it all.", False)


def test_where_nothing_is_stored_the_template_speaks_of_the_history_as_it_is(
    store: ProfileStore, summaries: Summaries
) -> None:
    at = see(store, 1, 2)
    [told, nobody] = summaries.read([ADA, UserId("nobody")], RANKING)
    assert told.summary is not None
    assert (told.summary.text, told.summary.model, told.summary.as_of) == ("Recent: Film 2, Film 1.", "template", at)
    assert (told.stored, told.is_current) == (StoredSummary(), True)
    assert (nobody.summary, nobody.is_current) == (None, False)


def test_older_versions_stay_readable_with_corrections_in_place(store: ProfileStore, summaries: Summaries) -> None:
    old = see(store, 1)
    keep(store, version(old, Claim("Old.", ("recent",), ()), facts="f1"), version(old, Claim("New.", ("recent",), ())))
    keep(store, version(old, Claim("Newer.", ("recent",), ()), facts="f2"))
    told = summaries.read_version(ADA, RANKING, 2)
    assert told.summary is not None
    assert told.summary.text == "New."
    summaries.correct(ADA, [Correction("recent", "Sleeps.", False, NOW)])
    told = summaries.read_version(ADA, RANKING, 2)
    assert told.summary is not None
    assert told.summary.text == "Sleeps."
    with pytest.raises(UnknownName, match="version 3 is not kept; of this kind there are 2"):
        summaries.read_version(ADA, RANKING, 3)
    with pytest.raises(UnknownName, match="version 2"):
        summaries.read_version(ADA, SummaryKind.STYLE, 2)


def test_a_correction_outlives_what_is_stored_after_it_and_may_be_taken_back(
    store: ProfileStore, summaries: Summaries
) -> None:
    at = see(store, *range(6))
    recent = "Recent: Film 5, Film 4, Film 3, Film 2."
    assert text(summaries) == f"{recent} Often chooses Comedy, Drama."
    summaries.correct(ADA, [Correction(DRAMA, "Acts in plays.", False, NOW)])
    assert text(summaries) == f"{recent} Often chooses Comedy. Acts in plays."
    keep(store, version(at, Claim("Goes for Comedy and Drama.", (COMEDY, DRAMA), ())))
    assert text(summaries) == "Often chooses Comedy. Acts in plays."
    summaries.correct(ADA, [Correction(COMEDY, None, False, NOW)])
    assert text(summaries) == "Acts in plays."
    summaries.correct(ADA, [], removed=[DRAMA, COMEDY])
    assert text(summaries) == "Goes for Comedy and Drama."


def test_what_is_pinned_is_said_whatever_the_history_shows(store: ProfileStore, summaries: Summaries) -> None:
    see(store, *range(6))
    summaries.correct(
        ADA,
        [Correction(COMEDY, None, True, NOW), Correction("note", "Is a member.", True, NOW + 1)],
    )
    assert text(summaries, SummaryKind.TAGGING) == "Often chooses Comedy (50%). Is a member. Often chooses Drama."
    see(store, 7, 9, 11, 13, 15, 17)  # all of them Drama: nothing else is left of the six events that are kept
    assert text(summaries, SummaryKind.TAGGING).startswith("Often chooses Comedy (50%). Is a member.")


def test_what_cannot_be_corrected_is_refused_by_its_field_and_changes_nothing(
    store: ProfileStore, summaries: Summaries
) -> None:
    see(store, *range(6))
    good = Correction(DRAMA, "Acts.", False, NOW)
    for given, removed, problem in (
        ([good, Correction("liked_category:War", "No.", False, NOW)], [], r"corrections.1.fact: .* liked_category:Com"),
        ([good, Correction("liked_category:War", None, True, NOW)], [], r"corrections.1.text: "),
        ([good], ["recent"], r"removed.0: 'recent' has no correction; there are none"),
        ([Correction(f"n{n}", "x", True, NOW) for n in range(CORRECTIONS_MOST + 1)], [], r"corrections: at most 100"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            summaries.correct(ADA, given, removed)
    [told] = summaries.read([ADA], RANKING)
    assert told.corrections == ()


def test_of_a_user_nobody_knows_or_who_was_erased_nothing_is_kept(store: ProfileStore, summaries: Summaries) -> None:
    pinned = Correction("note", "Is a member.", True, NOW)
    with pytest.raises(UnknownName, match="no events"):
        summaries.correct(ADA, [pinned])
    see(store, 1)
    store.apply([UserBatch(user_digest(ADA), Position("log", 1, 0), [], NOW + 1e6)])
    with pytest.raises(UnknownName, match="no events"):
        summaries.correct(ADA, [pinned])
    [told] = summaries.read([ADA], RANKING)
    assert told.summary is not None
    assert (told.summary.text, told.corrections) == ("", ())
