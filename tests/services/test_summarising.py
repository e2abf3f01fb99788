"""The job that keeps summaries: written anew when facts have changed, once, whatever happens on the way."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event as Signal

import pytest
from faithfulness import Witness
from toy_summaries import FILMS, ITEMS
from toy_writers import Writer, honest, lying

from features.errors import BudgetSpent, InvalidInput, StoreUnavailable
from features.events import Erasure, Event, EventId, ItemId, UserId, encode_erasure, encode_event, user_digest
from features.profile import Correction, StoredSummary
from features.profiles import ProfileStore, connect_for_ingest
from models.language.generator import Completion, Message
from models.summaries.kinds import SummaryKind
from services import summarising
from services.summarising import DOUBTED_LEAST, GROUP, SummaryWriter, follow
from streaming import ingest
from streaming.dead_letters import DeadLetters
from streaming.ingest import into_profiles
from streaming.log import Stream
from streaming.sqlite_log import SqliteLog

NOW = 1_700_000_000.0
DOWN = "toy: no answer within 0.1 s"
numbers = count()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a moment, where a service waits for people and for servers."""
    for module in (summarising, ingest):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.001)
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


class Job:
    """The log, the ingest and the job of one test, which writes what comes next after the newest films."""

    def __init__(self, home: Path, store: ProfileStore) -> None:
        self.log = SqliteLog(home / "log.sqlite", partitions=2)
        self.letters = DeadLetters(home / "dead_letters.sqlite")
        self.store = store

    def append(
        self, *pairs: tuple[str, int], at: float = NOW, id_: str = "", values: Sequence[float | None] = ()
    ) -> None:
        """Each user with a film, a second after the one before. values: ratings, of none where there are none."""
        events = [
            Event(EventId(id_ or f"e{next(numbers)}"), UserId(user), ItemId(str(film)), "view", value, at + place)
            for place, ((user, film), value) in enumerate(zip(pairs, values or [None] * len(pairs), strict=True))
        ]
        self.log.append(Stream.EVENTS, [(event.user, encode_event(event)) for event in events], NOW)

    def ingest(self) -> None:
        with closing(self.log.consumer(Stream.EVENTS, "ingest")) as consumer:
            prepare = into_profiles(self.store, self.letters, lambda: NOW)
            ingest.follow(consumer, prepare, self.store, "ingest", Signal(), until_end=True)

    def see(self, *pairs: tuple[str, int], at: float = NOW) -> None:
        self.append(*pairs, at=at)
        self.ingest()

    def erase(self, user: str, at: float) -> None:
        digest = user_digest(UserId(user))
        self.log.append(Stream.EVENTS, [(digest, encode_erasure(Erasure(digest, at)))], NOW)
        self.ingest()

    def run(
        self,
        generator: Writer | None,
        kinds: tuple[SummaryKind, ...] = (SummaryKind.RANKING,),
        *,
        at_once: int = 64,
        stop: Signal | None = None,
        from_beginning: bool = False,
    ) -> SummaryWriter:
        writer = SummaryWriter(self.store, ITEMS, kinds, generator, lambda: NOW, at_once=at_once)
        with closing(self.log.consumer(Stream.EVENTS, GROUP)) as consumer:
            follow(consumer, self.store, writer, stop or Signal(), from_beginning=from_beginning, patience=0.0)
        return writer

    def stored(self, user: str, kind: SummaryKind = SummaryKind.RANKING) -> StoredSummary:
        [(_, said)] = self.store.read_with_summaries([UserId(user)])
        return said.of(kind)

    def texts(self, user: str) -> list[str]:
        """Of the versions, the newest first."""
        return [version.text for version in self.stored(user).versions]


@pytest.fixture
def job(home: Path, store: ProfileStore) -> Iterator[Job]:
    job = Job(home, store)
    with closing(job.log), closing(job.letters):
        yield job


def counts(writer: SummaryWriter) -> dict[str, int]:
    return {name: number for name, number in writer.counts.items() if number}


def test_users_of_the_log_are_summarised_in_the_generators_words(job: Job) -> None:
    job.see(("ada", 1), ("bob", 7), ("ada", 2))
    writer = job.run(Writer())
    assert counts(writer) == {"users": 2, "by_model": 2}
    [version] = job.stored("ada").versions
    [history] = job.store.read([UserId("ada")])
    assert (version.text, version.model, version.made_at) == ("Recent: Film 2, Film 1.", "toy", NOW)
    assert (version.as_of, version.prompt != "") == (history.as_of, True)
    assert [claim.evidence for claim in version.claims] == [tuple(event.id for event in reversed(history.events))]
    assert job.texts("bob") == ["Recent: Film 7."]


def test_without_a_generator_the_template_writes(job: Job) -> None:
    job.see(("ada", 1))
    assert counts(job.run(None)) == {"users": 1, "by_template": 1}
    [version] = job.stored("ada").versions
    assert (version.text, version.model, version.prompt) == ("Recent: Film 1.", "template", "")


def test_a_second_run_has_nothing_to_write(job: Job) -> None:
    job.see(("ada", 1), ("bob", 7))
    generator = Writer()
    job.run(generator)
    before = job.stored("ada")
    assert counts(job.run(generator)) == {"users": 2, "unchanged": 2}  # the records of the last minute, once more
    assert (job.stored("ada"), len(generator.asked)) == (before, 1)


def test_events_that_change_no_fact_move_the_stamp_and_the_evidence_and_write_nothing(job: Job) -> None:
    tagging = (SummaryKind.TAGGING,)
    job.see(*(("ada", film) for film in range(6)))
    generator = Writer()
    job.run(generator, tagging)
    job.see(("ada", 6), ("ada", 7), at=NOW + 60)  # the store keeps six events: of the first two films none is left
    assert counts(job.run(generator, tagging)) == {"users": 1, "unchanged": 1}
    [version] = job.stored("ada", *tagging).versions
    [history] = job.store.read([UserId("ada")])
    assert version.as_of == history.as_of
    assert {event for claim in version.claims for event in claim.evidence} == {event.id for event in history.events}
    assert (version.text, len(generator.asked)) == ("Often goes for Comedy, Drama.", 1)


def test_changed_facts_make_a_version_and_those_of_before_are_not_paid_for_again(job: Job) -> None:
    generator = Writer()
    job.see(("ada", 1))
    job.run(generator)
    for place, film in enumerate([2, 3, 2]):  # one event, told otherwise each time
        job.append(("ada", film), at=NOW + 60 + place, id_="told")
        job.ingest()
        done = job.run(generator)
    assert (counts(done), len(generator.asked)) == ({"users": 1, "unchanged": 1}, 3)
    assert job.texts("ada") == ["Recent: Film 2, Film 1.", "Recent: Film 3, Film 1.", "Recent: Film 1."]


def test_kinds_are_written_beside_each_other_and_have_marks_of_their_own(job: Job) -> None:
    job.see(*(("ada", film) for film in range(6)))
    job.run(Writer())
    both = job.run(Writer(), (SummaryKind.TAGGING, SummaryKind.RANKING))
    assert counts(both) == {"users": 1, "unchanged": 1, "by_model": 1}
    assert job.stored("ada", SummaryKind.TAGGING).versions[0].text == "Often goes for Comedy, Drama."
    groups = [f"{GROUP}:ranking:toy:events", f"{GROUP}:ranking+tagging:toy:events"]
    assert [len(job.store.checkpoints(group)) for group in groups] == [1, 1]


def test_users_are_written_together_and_never_two_in_one_prompt(job: Job) -> None:
    job.see(*((f"u{number}", number) for number in range(7)))
    generator = Writer()
    job.run(generator, at_once=3)
    assert [len(batch) for batch in generator.asked] == [3, 3, 1]
    assert all(text.count("Film") == 1 for batch in generator.asked for text in batch)


def test_what_the_ingest_has_not_applied_is_left_for_later(job: Job) -> None:
    job.see(("ada", 1))
    job.append(("ada", 2), at=NOW + 1)
    job.append(("bob", 2), at=NOW + 1)
    assert counts(job.run(Writer())) == {"users": 1, "by_model": 1}
    assert (job.texts("ada"), job.texts("bob")) == (["Recent: Film 1."], [])
    job.ingest()
    job.run(Writer())
    assert (job.texts("ada")[0], job.texts("bob")) == ("Recent: Film 2, Film 1.", ["Recent: Film 2."])


def test_a_generator_that_comes_later_writes_what_the_template_has_written(job: Job) -> None:
    job.see(("ada", 1))
    job.run(None)
    generator = Writer()
    assert counts(job.run(generator)) == {"users": 1, "by_model": 1}
    assert [version.model for version in job.stored("ada").versions] == ["toy"]
    assert counts(job.run(None, from_beginning=True)) == {"users": 1, "unchanged": 1}  # and its words stay
    assert counts(job.run(generator, from_beginning=True)) == {"users": 1, "unchanged": 1}


def test_from_the_beginning_users_come_up_whom_the_mark_has_passed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "OVERLAP_SECONDS", -1.0)
    job.see(("ada", 1))
    job.run(None)
    assert counts(job.run(None)) == {}
    assert counts(job.run(None, from_beginning=True)) == {"users": 1, "unchanged": 1}


def test_down_it_leaves_the_last_good_summary_marked_and_gives_the_template_to_others(job: Job) -> None:
    job.see(("ada", 1))
    job.run(Writer())
    good = job.stored("ada").versions
    job.see(("ada", 2), ("bob", 7), at=NOW + 60)
    down = job.run(Writer(until=0))
    assert counts(down) == {"users": 2, "stale": 2, "by_template": 1}
    assert down.problems == {DOWN: 2}
    assert (job.stored("ada").versions, job.stored("ada").stale) == (good, DOWN)
    assert (job.texts("bob"), job.stored("bob").stale) == (["Recent: Film 7."], DOWN)
    assert counts(job.run(Writer(until=0))) == {"users": 2, "stale": 2}  # again, and nothing else
    assert counts(job.run(Writer())) == {"users": 2, "by_model": 2}
    assert (job.texts("ada"), job.stored("ada").stale) == (["Recent: Film 2, Film 1.", "Recent: Film 1."], "")
    assert [version.model for version in job.stored("bob").versions] == ["toy"]


def test_once_it_has_failed_it_is_not_asked_again_and_what_was_written_stays_written(job: Job) -> None:
    users = [f"u{number}" for number in range(10)]
    job.see(*((user, 1) for user in users))
    generator = Writer(until=2)
    assert counts(job.run(generator, at_once=3)) == {"users": 10, "by_model": 6, "by_template": 4, "stale": 4}
    after = Writer()
    assert counts(job.run(after, at_once=3)) == {"users": 10, "unchanged": 6, "by_model": 4}
    assert sum(len(batch) for batch in after.asked) == 4


def test_the_mark_stays_before_what_is_stale_so_that_the_next_run_comes_back(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "OVERLAP_SECONDS", -1.0)
    job.see(("ada", 1))
    job.run(Writer(until=0))
    assert counts(job.run(Writer())) == {"users": 1, "by_model": 1}
    assert counts(job.run(Writer())) == {}


def test_garbage_leaves_the_last_good_summary_and_twice_the_template_is_taken(job: Job) -> None:
    others = [f"u{number}" for number in range(DOUBTED_LEAST - 1)]
    job.see(("ada", 1))
    job.run(Writer())
    job.see(("ada", 2), *((user, 7) for user in others), at=NOW + 60)
    garbage = job.run(Writer(lambda facts: "\x00{]" * 40))
    assert counts(garbage) == {"users": 16, "stale": 16, "by_template": 15}
    assert job.texts("ada") == ["Recent: Film 1."]
    assert [job.stored(user).stale for user in ("ada", "u0")] == list(garbage.problems) * 2
    again = job.run(Writer(lying))
    assert (counts(again), again.problems) == ({"users": 16, "by_template": 16}, {})
    assert (job.texts("ada")[0], job.stored("ada").stale) == ("Recent: Film 2, Film 1.", "")
    generator = Writer()
    assert counts(job.run(generator)) == {"users": 16, "unchanged": 16}  # these facts have had their chance
    assert generator.asked == []


@pytest.mark.parametrize("failed", [1, DOUBTED_LEAST - 1])
def test_a_few_texts_that_fail_are_the_templates_and_nothing_waits(
    job: Job, monkeypatch: pytest.MonkeyPatch, failed: int
) -> None:
    monkeypatch.setattr(ingest, "OVERLAP_SECONDS", -1.0)
    job.see(*((f"u{number}", 1) for number in range(failed)))
    writer = job.run(Writer(lying))
    assert (counts(writer), writer.problems) == ({"users": failed, "by_template": failed}, {})
    assert job.stored("u0").stale == ""
    assert counts(job.run(Writer(lying))) == {}  # the mark has moved


@pytest.mark.parametrize("users", [1, DOUBTED_LEAST])
def test_a_templates_text_of_the_facts_as_they_are_is_not_stale_while_the_generator_is_down(
    job: Job, users: int
) -> None:
    job.see(*((f"u{number}", 1) for number in range(users)))
    job.run(None)
    down = job.run(Writer(until=0))
    assert (counts(down), down.problems) == ({"users": users, "unchanged": users}, {DOWN: users})
    assert {job.stored(f"u{number}").stale for number in range(users)} == {""}
    assert counts(job.run(Writer())) == {"users": users, "by_model": users}  # the mark has not moved


def test_a_templates_text_is_not_stale_when_a_whole_batch_fails_and_is_not_asked_for_again(job: Job) -> None:
    job.see(*((f"u{number}", 1) for number in range(DOUBTED_LEAST)))
    job.run(None)
    assert counts(job.run(Writer(lying))) == {"users": 16, "by_template": 16}
    assert job.stored("u0").stale == ""
    assert counts(job.run(Writer(lying))) == {"users": 16, "unchanged": 16}


RATED = (SummaryKind.RATING,)
RATINGS = (5.0, 5.0, 2.0, 2.0, 5.0)  # of films 1 to 5; with 2 for film 7 they are 3.5 on average


def rate_seven(job: Job, value: float, at: float) -> None:
    """Ada's word on film 7, the last of which counts."""
    job.append(("ada", 7), at=at, id_="seven", values=[value])
    job.ingest()


def unsupported(job: Job) -> list[str]:
    """The sentences of ada's newest version that her events, as the store has them, do not bear out."""
    [history] = job.store.read([UserId("ada")])
    [version, *_] = job.stored("ada", *RATED).versions
    assert (version.as_of, job.stored("ada", *RATED).stale) == (history.as_of, "")
    about = {film.id: (film.title, film.categories) for film in FILMS}
    told = [(event.id, event.item or "", event.value, event.at) for event in history.events]
    return Witness(told, about).unsupported(version.text)


def test_a_number_that_moves_less_than_the_digest_tells_is_put_right_without_a_generator(job: Job) -> None:
    job.append(*(("ada", film) for film in range(1, 6)), values=RATINGS)
    rate_seven(job, 2.0, NOW + 10)
    generator = Writer(lambda facts: " ".join(map(_habit, facts.items())))
    job.run(generator, RATED)
    assert job.stored("ada", *RATED).versions[0].text == "Their mean rating is 3.5, mostly 2 to 5."
    rate_seven(job, 3.0, NOW + 20)
    assert counts(job.run(generator, RATED)) == {"users": 1, "unchanged": 1}
    [version] = job.stored("ada", *RATED).versions
    assert (version.text, version.model) == ("Rates 3.7 on average, mostly 2 to 5.", "template")
    assert (unsupported(job), len(generator.asked)) == ([], 1)


@pytest.mark.parametrize("is_generated", [True, False])
def test_an_older_version_that_comes_back_states_the_numbers_of_now(job: Job, is_generated: bool) -> None:
    job.append(*(("ada", film) for film in range(1, 6)), values=RATINGS)
    for place, (value, mean) in enumerate([(2.0, "3.5"), (5.0, "4"), (3.0, "3.7")]):
        rate_seven(job, value, NOW + 10 + place)
        done = job.run(Writer(lambda facts: " ".join(map(_habit, facts.items()))) if is_generated else None, RATED)
        assert f" {mean}" in job.stored("ada", *RATED).versions[0].text
        assert unsupported(job) == []
    assert counts(done) == {"users": 1, "unchanged": 1}
    assert len(job.stored("ada", *RATED).versions) == 2


def _habit(told: tuple[str, list[str]]) -> str:
    return "Their mean rating is {}, mostly {}.".format(*told[1])


def test_garbage_in_a_whole_batch_is_not_paid_for_again(job: Job) -> None:
    job.see(*((f"u{number}", 1) for number in range(40)))
    generator = Writer(lying)
    assert counts(job.run(generator, at_once=16)) == {"users": 40, "by_template": 40, "stale": 40}
    assert [len(batch) for batch in generator.asked] == [16, 16]  # one batch, and its second chance


def test_a_lie_about_one_user_is_not_kept_and_stops_nobody_elses_summary(job: Job) -> None:
    job.see(("ada", 1), ("bob", 7))
    liar = Writer(lambda facts: lying(facts) if facts == {"recent": ["Film 7"]} else honest(facts))
    writer = job.run(liar)
    assert (counts(writer), writer.problems) == ({"users": 2, "by_model": 1, "by_template": 1}, {})
    assert (job.texts("bob"), job.stored("bob").versions[0].model) == (["Recent: Film 7."], "template")


class Poor(Writer):
    """Has so many prompts to spend."""

    def __init__(self, prompts: int) -> None:
        super().__init__()
        self.left = prompts

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        if len(prompts) > self.left:
            raise BudgetSpent("nothing is left to spend")
        self.left -= len(prompts)
        return super().generate(prompts, most)


def test_over_budget_what_can_be_paid_is_written_and_the_rest_marked(job: Job) -> None:
    job.see(*((f"u{number}", 1) for number in range(8)))
    writer = job.run(Poor(5))
    assert counts(writer) == {"users": 8, "by_model": 5, "by_template": 3, "stale": 3}
    assert writer.problems == {"nothing is left to spend": 3}
    assert counts(job.run(Poor(0))) == {"users": 8, "unchanged": 5, "stale": 3}
    assert counts(job.run(Poor(3))) == {"users": 8, "unchanged": 5, "by_model": 3}


class Forgetful(Writer):
    """Film 7 is too long a story."""

    def generate(self, prompts: Sequence[Sequence[Message]], most: int) -> list[Completion]:
        if any("Film 7" in prompt[-1].content for prompt in prompts):
            raise InvalidInput("prompt", "longer than it reads")
        return super().generate(prompts, most)


def test_a_prompt_that_is_too_long_costs_nobody_else_the_generators_words(job: Job) -> None:
    job.see(*((f"u{number}", number) for number in range(5, 9)))
    writer = job.run(Forgetful())
    assert (counts(writer), writer.problems) == ({"users": 4, "by_model": 3, "by_template": 1}, {})
    assert counts(job.run(Forgetful())) == {"users": 4, "unchanged": 4}


def test_a_corrected_fact_is_not_given_to_the_generator_and_keeps_the_templates_sentence(job: Job) -> None:
    job.see(*(("ada", film) for film in range(6)))
    [history] = job.store.read([UserId("ada")])
    job.store.write_corrections(history, [Correction("liked_category:Drama", "Acts.", False, 1.0)])
    generator = Writer()
    job.run(generator)
    assert "Drama" not in str(generator.asked)
    assert job.texts("ada") == ["Recent: Film 5, Film 4, Film 3, Film 2. Often goes for Comedy. Often chooses Drama."]
    job.store.write_corrections(history, [Correction("recent", None, False, 2.0)])
    assert counts(job.run(generator)) == {"users": 1, "unchanged": 1}  # a correction changes no fact
    everything = [Correction(fact, None, False, 3.0) for fact in ("liked_category:Drama", "liked_category:Comedy")]
    job.store.write_corrections(history, everything)
    job.see(("ada", 6), at=NOW + 60)
    assert counts(job.run(generator)) == {"users": 1, "by_template": 1}
    assert len(generator.asked) == 1


def test_an_erasure_while_a_summary_is_written_leaves_none(job: Job) -> None:
    job.see(("ada", 1), ("bob", 7))
    writer = job.run(Writer(meanwhile=lambda: job.erase("ada", NOW + 100)))
    assert counts(writer) == {"users": 2, "by_model": 1, "overtaken": 1}
    assert (job.texts("ada"), job.texts("bob")) == ([], ["Recent: Film 7."])
    job.run(Writer(), from_beginning=True)
    assert job.texts("ada") == []


def test_an_event_while_a_summary_is_written_brings_the_user_up_again(job: Job) -> None:
    job.see(("ada", 1))
    more = iter([2])

    def act() -> None:
        if film := next(more, None):
            job.see(("ada", film), at=NOW + 60)

    assert counts(job.run(Writer(meanwhile=act))) == {"users": 2, "by_model": 2}
    assert job.texts("ada") == ["Recent: Film 2, Film 1.", "Recent: Film 1."]


def test_an_operator_who_corrects_while_a_summary_is_written_is_not_overwritten(job: Job) -> None:
    job.see(("ada", 1))

    def correct() -> None:
        [history] = job.store.read([UserId("ada")])
        job.store.write_corrections(history, [Correction("recent", "Away.", True, 1.0)])

    assert counts(job.run(Writer(meanwhile=correct))) == {"users": 1, "by_model": 1}
    [(_, said)] = job.store.read_with_summaries([UserId("ada")])
    assert (len(said.corrections), job.texts("ada")) == (1, ["Recent: Film 1."])


class Flaky:
    """A store that does not answer the first calls."""

    def __init__(self, store: ProfileStore, failures: int) -> None:
        self._store, self._failures = store, failures

    def __getattr__(self, name: str) -> object:
        if name in ("checkpoints", "read_with_summaries", "write_summaries", "checkpoint") and self._failures:
            self._failures -= 1
            raise StoreUnavailable("down")
        return getattr(self._store, name)


def test_while_the_store_does_not_answer_it_tries_again(job: Job) -> None:
    job.see(("ada", 1), ("bob", 7))
    job.store = Flaky(job.store, failures=6)  # type: ignore[assignment]
    assert job.run(Writer()).counts["by_model"] == 2
    assert job.texts("ada") == ["Recent: Film 1."]


def test_stopped_it_stores_what_is_in_hand_and_goes_on_another_time(job: Job) -> None:
    job.see(*((f"u{number}", 1) for number in range(6)))
    stop = Signal()
    assert job.run(Writer(meanwhile=stop.set), at_once=2, stop=stop).counts["by_model"] == 2
    generator = Writer()
    assert counts(job.run(generator, at_once=2)) == {"users": 6, "unchanged": 2, "by_model": 4}


def test_killed_again_and_again_it_stores_each_summary_once_and_pays_for_none_that_it_has_stored(
    home: Path, redis_url: str
) -> None:
    tenant, chance = f"summarise-{next(numbers)}", random.Random(5)
    users = [f"u{number}" for number in range(20)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).with_name("summarise_until_killed.py")
    with closing(ProfileStore(connect_for_ingest(redis_url), tenant)) as store:
        job = Job(home, store)
        job.see(*((user, place) for place, user in enumerate(users)))  # every user's facts are that user's alone
        command = [sys.executable, script, job.log.path, redis_url, tenant]

        def stored() -> set[str]:
            return {text for user in users for text in job.texts(user)}

        for _ in range(2):
            before = stored()
            with subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            ) as process:
                assert process.stdin
                assert process.stdout
                answered = chance.randint(0, 3)
                process.stdin.write(b"go on\n" * answered)
                process.stdin.flush()
                asked = [json.loads(process.stdout.readline()) for _ in range(answered + 1)]
                process.kill()
            paid = {f"Recent: {name}." for batch in asked for one in batch for name in json.loads(one)["recent"]}
            assert not paid & before
            assert len(stored()) == len(before) + 2 * answered
        generator = Writer()
        job.run(generator, at_once=2)
        assert stored() == {f"Recent: Film {place}." for place in range(20)}
        assert [len(job.texts(user)) for user in users] == [1] * 20
        assert sum(map(len, generator.asked)) == 20 - len(before) - 2 * answered
