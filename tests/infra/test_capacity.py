"""The capacity plan: arithmetic that one can follow, on figures that were measured, and shown as it is."""

import json
import subprocess
import sys
from binascii import crc_hqx
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.events import UserId, user_digest
from tests.infra.deployed import INFRA, ROOT

SCRIPT = INFRA / "capacity.py"


def loaded() -> ModuleType:
    spec = spec_from_file_location("capacity", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["capacity"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


capacity = loaded()


def run(*arguments: str) -> str:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_readme_shows_what_the_script_says() -> None:
    shown = (INFRA / "README.md").read_text().partition("<!-- capacity -->\n")[2].partition("<!-- end -->")[0]
    assert shown.strip() == run().strip()


def test_the_figures_are_those_of_the_readme_and_the_results() -> None:
    readme, results = ((ROOT / name).read_text() for name in ("README.md", "models/RESULTS.md"))
    measured = capacity.Measured()
    for name, text in (
        ("ingest_events", f"{2 * measured.ingest_events:,.0f} events/s"),
        ("store_events", f"{measured.store_events:,.0f} events/s"),
        ("requests", f"{2 * measured.requests:,.0f} requests/s"),
        ("store_requests", f"{measured.store_requests:,.0f} requests/s"),
        ("event_bytes", f"one of 50 events with 16-byte ids | {measured.event_bytes:g} bytes"),
        ("item_bytes", f"{measured.item_bytes:g} bytes an item"),
    ):
        assert text in readme, name
    assert f"{measured.p5_seconds * 1000:g} ms a user" in results
    assert "500 users held out" in results
    assert f"{round(measured.summary_seconds * 500 / 60)} minutes of a core" in results
    assert "0.47 with a stored vector" in results
    assert "0.91 when" in results
    assert measured.encode_seconds == pytest.approx(0.91e-3 - 0.47e-3)
    assert capacity.SOURCES.keys() == {field.name for field in capacity.fields(capacity.Measured)}


def test_a_plan_is_what_one_works_out_by_hand() -> None:
    """86,400 users do ten things and ask once a day, evenly over the day: 10 events and 1 request a second."""
    load = capacity.Assumed(
        events_a_day=10, requests_a_day=1, peak=1, exponent=0, busy=0.5, history=100, form_bytes=0, copies=2
    )
    measured = capacity.Measured(
        ingest_events=1, requests=0.1, consumer_events=5, store_events=10, store_requests=0.5, encode_seconds=0.1
    )
    steps = {step.name: step.value for step in capacity.plan(86_400, load, measured)}
    assert steps["events at the peak"] == 10
    assert steps["requests at the peak"] == 1
    assert steps["cores of API"] == 20  # one a second, at half of 0.1 a core
    assert steps["cores of ingest"] == 20
    assert steps["cores of encode"] == 2
    assert steps["memory of profiles"] == pytest.approx(86_400 * 6100 / 2**30)
    assert steps["shards"] == 6  # (10 / 10 + 1 / 0.5) / 0.5
    assert steps["disk of the log"] == pytest.approx(864_000 * 200 * 90 * 2 / 1e12)
    assert steps["ingest processes"] == 5  # at half of 5 a second four do, were they even
    assert steps["partitions"] == 24
    assert steps["machines of processes"] == 3  # 42 of 16 cores
    assert steps["machines of stores"] == 3  # 12 of 16 in 64 GiB
    assert steps["machines"] == 3 + 3 + 3


def test_more_users_never_take_less() -> None:
    plans = [capacity.plan(10**power, capacity.Assumed(), capacity.Measured()) for power in (5, 6, 7)]
    for fewer, more in pairwise(plans):
        assert all(one.value <= other.value for one, other in zip(fewer, more, strict=True))


def test_what_is_assumed_can_be_said_and_a_machine_can_read_the_plan() -> None:
    said = json.loads(run("--json", "--users", "50000", "--events-a-day", "20"))
    assert said["assumed"]["events_a_day"] == 20
    assert [one["users"] for one in said["plans"]] == [50_000]
    assert said["plans"][0]["steps"][0]["value"] == pytest.approx(50_000 * 20 * 4 / 86_400)
    assert all(one["source"] for one in said["measured"].values())


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60), st.data())
def test_consumers_share_every_partition_once(given_P: list[float], data: Any) -> None:
    consumers = data.draw(st.integers(1, len(given_P)))
    load_P = np.array(given_P)
    load_C = capacity.spread(load_P, consumers)
    assert len(load_C) == consumers
    assert load_C.mean() == pytest.approx(1)
    parts = np.array_split(load_P, consumers)  # what one would do by hand, up to who gets one more
    assert sorted(map(len, parts)) == sorted(np.diff([*(np.arange(consumers) * len(load_P) // consumers), len(load_P)]))


def test_equal_users_fall_evenly_and_one_who_does_everything_makes_one_part_busy() -> None:
    assert capacity.fall(np.ones(100_000), 10, seed=0).max() < 1.03
    everything = np.zeros(1000)
    everything[0] = 1
    assert capacity.fall(everything, 10, seed=0).max() == 10


def test_zipf_is_zipf_until_it_is_bounded() -> None:
    load = capacity.Assumed()
    free = capacity.rates(1000, load, None)
    assert free[0] / free[9] == pytest.approx(10)
    assert free.mean() == pytest.approx(1)
    assert capacity.rates(1000, load, 2.0).max() < free.max()


def test_the_hash_of_users_is_as_even_as_chance() -> None:
    """Redis Cluster's slots are CRC-16 (XMODEM) of what stands between braces in a key."""
    users = [user_digest(UserId(f"user-{number}")) for number in range(20_000)]
    slots = np.array([crc_hqx(f"default:{user}".encode(), 0) % capacity.SLOTS for user in users])
    by_hash = np.bincount(slots * 12 // capacity.SLOTS, minlength=12)
    chance = [
        np.bincount(np.random.default_rng(seed).integers(0, 12, len(users)), minlength=12).max() for seed in range(200)
    ]
    assert by_hash.max() <= max(chance)
