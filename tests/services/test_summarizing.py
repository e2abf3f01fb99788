"""`tasteprint summarize`: a generator behind a URL, the day's tokens, and the report."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from chat_server import ChatServer, Reply, completion
from toy_writers import Writer

from features.errors import BudgetSpent, InvalidInput, LogUnavailable
from features.events import Event, EventId, ItemId, UserId, encode_event
from features.items import Item, encode_item
from features.profiles import ProfileStore
from models.language.generator import Message, Role, prompt_bounds
from models.language.spending import Metered
from services.jobs.summarizing import Booked, day_of, summarize_users
from services.jobs.users import export_user
from services.settings import Settings
from services.summarising import GROUP
from services.wiring import backends, open_log
from streaming.ingest import follow, into_catalogue, into_profiles
from streaming.log import Stream

NOW = 1_700_000_000.0
USAGE = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
SAID = Reply(body=completion("Recent: Alien.", usage=USAGE))
tenants = count()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    yield
    for one, handler in handlers.items():
        signal.signal(one, handler)


Configured = Callable[..., Settings]


@pytest.fixture
def configured(own_home: Path, redis_url: str, server: ChatServer) -> Configured:
    """Settings of the test's own, with the server for a generator."""
    tenant = f"summarize-{next(tenants)}"

    def settings(**more: Any) -> Settings:
        given = {"generator": server.url, "generator_model": "toy", "generator_concurrency": 1} | more
        return Settings(home=own_home, redis_url=redis_url, tenant=tenant, **given)

    return settings


def see(settings: Settings, *users: str) -> None:
    """Each has seen Alien; and the ingest has come by."""
    with backends(settings) as opened:
        alien = Item(ItemId("1"), "Alien (1979)")
        opened.log.append(Stream.ITEMS, [(alien.id, encode_item(alien))], NOW)
        events = [Event(EventId(f"e-{user}"), UserId(user), alien.id, "view", None, NOW) for user in users]
        opened.log.append(Stream.EVENTS, [(event.user, encode_event(event)) for event in events], NOW)
        for stream, into in ((Stream.EVENTS, into_profiles), (Stream.ITEMS, into_catalogue)):
            with closing(opened.log.consumer(stream, "ingest")) as consumer:
                prepare = into(opened.patient, opened.dead_letters, lambda: NOW)
                follow(consumer, prepare, opened.patient, "ingest", Signal(), until_end=True)


def summarize(settings: Settings, tokens: int | None = None) -> dict[str, Any]:
    return summarize_users(settings, ["ranking"], everyone=False, tokens=tokens)


def test_the_report_tells_what_was_written_and_what_it_cost(configured: Configured, server: ChatServer) -> None:
    settings = configured(generator_price_in=2.0, generator_price_out=10.0)
    see(settings, "ada", "bob")
    server.always = SAID
    report = summarize(settings)
    assert report.pop("seconds") >= 0.0
    assert report == {
        "kinds": ["ranking"],
        "generator": "openai:toy",
        "users": 2,
        "unchanged": 0,
        "written": 2,
        "by_model": 2,
        "by_template": 0,
        "stale": 0,
        "overtaken": 0,
        "tokens_in": 180,
        "tokens_out": 20,
        "cost": pytest.approx((180 * 2 + 20 * 10) / 1e6),
        "not_applied": 0,
        "problems": [],
    }
    [version] = export_user(settings, "ada")["summaries"]["ranking"]
    assert (version["model"], version["claims"][0]["text"]) == ("openai:toy", "Recent: Alien.")


def test_a_days_tokens_hold_over_several_runs(configured: Configured, server: ChatServer) -> None:
    see(configured(), "ada", "bob")
    server.always = SAID
    with ChatServer() as elsewhere:  # what a summary may cost at most, as the refusal tells
        refused = summarize(configured(generator=elsewhere.url), tokens=0)
    bound = int(refused["problems"][0].split(" may take ")[1].split()[0])
    settings = configured(summary_tokens_per_day=bound + 50)
    first = summarize(settings)
    assert (first["by_model"], first["stale"], first["tokens_in"] + first["tokens_out"]) == (1, 1, 100)
    again = summarize(settings)
    assert (again["unchanged"], again["stale"], again["tokens_in"]) == (1, 1, 0)
    assert len(server.asked) == 1
    assert f"{bound - 50} are left" in again["problems"][0]
    assert summarize(configured())["by_model"] == 1


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(body=b'{"choices": "none"}'), Reply(body=b"<html>"), Reply(body=completion(None))]
)
def test_a_server_that_gives_no_completion_leaves_what_there_is_and_the_job_finishes(
    configured: Configured, server: ChatServer, reply: Reply
) -> None:
    settings = configured()
    see(settings, "ada", "bob")
    server.always = reply
    report = summarize(settings)
    assert (report["by_template"], report["stale"], len(report["problems"])) == (2, 2, 1)
    assert server.url in report["problems"][0]
    server.always = SAID
    assert summarize(settings)["by_model"] == 2


def test_events_that_are_not_in_the_profiles_are_a_problem(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(generator="")
    with backends(settings) as opened:
        event = Event(EventId("e1"), UserId("ada"), ItemId("1"), "view", None, NOW)
        opened.log.append(Stream.EVENTS, [(event.user, encode_event(event))], NOW)
    monkeypatch.setattr("services.jobs.summarizing.PATIENCE_SECONDS", 0.0)
    report = summarize(settings)
    assert (report["not_applied"], report["generator"]) == (1, None)
    assert "tasteprint ingest" in report["problems"][0]


def test_one_process_summarises_at_a_time(configured: Configured) -> None:
    settings = configured(generator="")
    settings.home.mkdir(parents=True)
    with (
        closing(open_log(settings)) as log,
        closing(log.consumer(Stream.EVENTS, GROUP)),
        pytest.raises(LogUnavailable),
    ):
        summarize(settings)


def test_a_kind_that_there_is_not_is_refused(configured: Configured) -> None:
    with pytest.raises(InvalidInput, match="kind: 'poem' was given; there are general, ranking"):
        summarize_users(configured(), ["poem"], everyone=False, tokens=None)


def test_over_midnight_a_run_spends_the_new_days_tokens(store: ProfileStore) -> None:
    now, writer = [86_399.0], Writer(lambda facts: "Recent: Alien.")
    prompt = [Message(Role.USER, '<facts>\n{"recent": ["Alien"]}\n</facts>')]
    [bound] = prompt_bounds(writer, [prompt])
    booked = Booked(Metered(writer), store, lambda: now[0], per_day=bound + 10 + 100)
    for _ in range(2):
        booked.generate([prompt], 10)  # takes 110
        with pytest.raises(BudgetSpent, match=f"{bound} are left"):
            booked.generate([prompt], 10)
        now[0] += 1.0
    assert [store.tokens_spent(day_of(at)) for at in (0.0, 86_400.0)] == [110, 110]


def test_days_are_those_of_utc() -> None:
    assert [day_of(at) for at in (0.0, 86_399.9, 86_400.0)] == ["1970-01-01", "1970-01-01", "1970-01-02"]
