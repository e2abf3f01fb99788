"""How many machines so many users take, from measured rates, every step shown; and how evenly a skewed load falls.

python infra/capacity.py            # the plan for 1, 10 and 100 million users, as Markdown
python infra/capacity.py --json     # the same for a machine

A deployment replaces the assumptions by its own: --events-a-day 40 --requests-a-day 2 ...

U: users, P: partitions, C: consumers, S: shards. load_X is what falls to each of X, its mean 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

DAY: Final = 86_400
GIB: Final = 2**30
SLOTS: Final = 16_384  # of Redis Cluster
SIMULATED_USERS: Final = 1_000_000  # more even out: what falls to a partition is a sum over its users
SEED: Final = 20_261_127


@dataclass(frozen=True, slots=True)
class Measured:
    """What one core, one process or one byte's worth does. SOURCES says where each was measured."""

    ingest_events: float = 15_500  # events/s a core
    consumer_events: float = 11_100  # events/s a consumer of Kafka
    requests: float = 625  # recommendations/s a core, with an encoder
    store_events: float = 31_000  # events/s that one store bears
    store_requests: float = 1_860  # profiles/s that one store was seen to hand out
    encode_seconds: float = 0.000_44  # of a core, for one user's vector
    p5_seconds: float = 0.0868  # of a core, for one user's list
    summary_seconds: float = 4.4  # of a core, for a summary in a model's words
    event_bytes: float = 61  # of the store, for one event of a profile
    item_bytes: float = 269  # of an API process, for one item's place in the index


SOURCES: Final = {
    "ingest_events": "README, bench ingest: 31,000 events/s on two cores, the store on them too",
    "consumer_events": "0.35 of a bare kafka-python consumer's 31,800/s; `bench ingest --log kafka` saw 0.49 of one",
    "requests": "README, bench serve with an encoder: 1,250 requests/s on two cores, store and load on them too",
    "store_events": "README, bench ingest: one Valkey took at least 31,000 events/s, beside the ingest",
    "store_requests": "README, bench serve: one Valkey answered at least 1,860 requests/s, beside API and load",
    "encode_seconds": "RESULTS, serving with an encoder: 0.91 ms where the vector is made, 0.47 with a stored one",
    "p5_seconds": "RESULTS, constrained beam search: 86.8 ms a user, one thread",
    "summary_seconds": "RESULTS, a small model's own words: 37 minutes of a core for 500 users",
    "event_bytes": "bench memory: 3,046 bytes a made-up user of 50 events with 16-byte ids, everything counted",
    "item_bytes": "README, bench retrieval: a million items of 64",
}


@dataclass(frozen=True, slots=True)
class Assumed:
    """The load and the machines, which nobody has measured for you."""

    events_a_day: float = 10  # of a user, the idle ones counted
    requests_a_day: float = 5
    peak: float = 4  # the busiest hour over the mean
    history: float = 50  # events kept of a user in the mean
    form_bytes: float = 512  # of a user: vectors of two models, 64 numbers each; see README.md for larger forms
    event_wire_bytes: float = 200
    retention_days: float = 90
    copies: float = 3  # of the log
    most_a_day: float = 2_000  # events of one user; who does more is a robot, to be refused at the door
    exponent: float = 1.0  # of Zipf: the k-th busiest user does k**-exponent of what the busiest does
    busy: float = 0.5  # how much of a core or store is to be in use at the peak
    cores: float = 16  # of a machine
    memory_gib: float = 64
    shard_gib: float = 16  # of memory for one shard; half of it, for a rewrite of its file may copy the other half
    users_of_p5: float = 0.0  # the share of users who get a new list of P5 a day
    users_summarised: float = 0.0  # the share of users who get a new summary a day, in a model's words


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the arithmetic: what comes out is `value`, in `unit`, and `how`."""

    name: str
    value: float
    unit: str
    how: str


def plan(users: int, load: Assumed, measured: Measured) -> list[Step]:
    """From users to machines, step by step."""
    steps: list[Step] = []

    def step(name: str, value: float, unit: str, how: str) -> float:
        steps.append(Step(name, value, unit, how))
        return value

    def rounded(name: str, value: float, unit: str, how: str, least: int = 1) -> int:
        return int(step(name, max(ceil(value - 1e-9), least), unit, how))

    daily = users * load.events_a_day
    events = step(
        "events at the peak",
        daily * load.peak / DAY,
        "/s",
        f"{users:,} x {load.events_a_day:g} a day x {load.peak:g} / {DAY:,} s",
    )
    requests = step(
        "requests at the peak",
        users * load.requests_a_day * load.peak / DAY,
        "/s",
        f"{users:,} x {load.requests_a_day:g} a day x {load.peak:g} / {DAY:,} s",
    )
    api = rounded(
        "cores of API",
        requests / (measured.requests * load.busy),
        "",
        f"{requests:,.0f}/s / ({measured.requests:g}/s x {load.busy:g})",
        2,
    )
    partitions, consumers, busiest = ingest_shape(users, events, load, measured)
    rounded("partitions", partitions, "", "12, doubled until there are four or more for each consumer")
    rounded(
        "ingest processes",
        consumers,
        "",
        f"at least two, and as many as keep the busiest ({busiest:.2f} of the mean) below "
        f"{measured.consumer_events:,.0f}/s x {load.busy:g}",
    )
    ingest = rounded(
        "cores of ingest",
        events / (measured.ingest_events * load.busy),
        "",
        f"{events:,.0f}/s / ({measured.ingest_events:g}/s x {load.busy:g}), and one a process",
        consumers,
    )
    encode = rounded(
        "cores of encode",
        events * measured.encode_seconds / load.busy,
        "",
        f"{events:,.0f}/s x {measured.encode_seconds * 1000:g} ms / {load.busy:g}, were each event encoded by itself",
    )
    offline = rounded(
        "cores of P5 and summaries",
        users
        * (load.users_of_p5 * measured.p5_seconds * load.peak + load.users_summarised * measured.summary_seconds)
        / (DAY * load.busy),
        "",
        f"{users:,} x ({load.users_of_p5:g} x {measured.p5_seconds:g} s x {load.peak:g} + {load.users_summarised:g} x "
        f"{measured.summary_seconds:g} s) / ({DAY:,} s x {load.busy:g})",
        0,
    )
    memory = step(
        "memory of profiles",
        users * (load.history * measured.event_bytes + load.form_bytes) / GIB,
        "GiB",
        f"{users:,} x ({load.history:g} events x {measured.event_bytes:g} bytes + {load.form_bytes:g})",
    )
    in_memory = memory / (load.shard_gib / 2)
    at_work = (events / measured.store_events + requests / measured.store_requests) / load.busy
    shards = rounded(
        "shards",
        max(in_memory, at_work),
        "",
        f"the more of {memory:,.1f} / {load.shard_gib / 2:g} GiB and of ({events:,.0f}/{measured.store_events:g} + "
        f"{requests:,.0f}/{measured.store_requests:g}) / {load.busy:g}",
    )
    disk = step(
        "disk of the log",
        daily * load.event_wire_bytes * load.retention_days * load.copies / 1e12,
        "TB",
        f"{daily:,.0f} a day x {load.event_wire_bytes:g} bytes x {load.retention_days:g} days x {load.copies:g}",
    )
    processes = rounded(
        "machines of processes",
        (api + ingest + encode + offline) / load.cores,
        "",
        f"({api} + {ingest} + {encode} + {offline}) / {load.cores:g} cores; two, for one may go",
        2,
    )
    stores = rounded(
        "machines of stores",
        2 * shards * load.shard_gib / load.memory_gib,
        "",
        f"{shards} and a replica of each, {load.shard_gib:g} of {load.memory_gib:g} GiB; two, for one may go",
        2,
    )
    brokers = rounded(
        "machines of the log",
        disk / 8,
        "",
        f"{disk:,.2f} / 8 TB; three, for as many copies",
        3,
    )
    rounded("machines", processes + stores + brokers, "", f"{processes} + {stores} + {brokers}")
    return steps


def ingest_shape(users: int, events: float, load: Assumed, measured: Measured) -> tuple[int, int, float]:
    """Partitions, consumers, and the load of the busiest consumer over the mean."""
    partitions = 12
    while True:
        shares_P = load_on(partitions, users, load)
        for consumers in range(2, partitions // 4 + 1):
            busiest = float(spread(shares_P, consumers).max())
            if events / consumers * busiest <= measured.consumer_events * load.busy:
                return partitions, consumers, busiest
        partitions *= 2


def rates(users: int, load: Assumed, cap: float | None, exponent: float | None = None) -> NDArray[np.float64]:
    """What each user does, over the mean, by Zipf's law. cap: the most of one user, over the mean."""
    rates_U = np.arange(1, min(users, SIMULATED_USERS) + 1, dtype=np.float64)
    rates_U **= -(load.exponent if exponent is None else exponent)
    rates_U /= rates_U.mean()
    if cap is not None:
        np.minimum(rates_U, cap, out=rates_U)
    return rates_U / rates_U.mean()


def load_on(parts: int, users: int, load: Assumed) -> NDArray[np.float64]:
    """The load of each of so many partitions, users falling to them by a hash."""
    rates_U = rates(users, load, load.most_a_day / load.events_a_day)
    return fall(rates_U, parts, SEED)


def fall(rates_U: NDArray[np.float64], parts: int, seed: int) -> NDArray[np.float64]:
    """Users thrown at parts: load_X. A good hash is as chance, which a test compares with the real one."""
    places_U = np.random.default_rng(seed).integers(0, parts, len(rates_U))
    load_X = np.bincount(places_U, weights=rates_U, minlength=parts)
    return load_X / load_X.mean()


def spread(load_P: NDArray[np.float64], consumers: int) -> NDArray[np.float64]:
    """load_C of consumers that share partitions, neighbours to one, as evenly as their number allows."""
    bounds = np.arange(consumers) * len(load_P) // consumers
    load_C = np.add.reduceat(load_P, bounds)
    return np.asarray(load_C / load_C.mean())


@dataclass(frozen=True, slots=True)
class Balance:
    """The busiest of so many parts over the mean: the mean and the worst of `seeds` throws."""

    what: str
    parts: int
    exponent: float
    capped: bool
    mean: float
    worst: float


def balances(load: Assumed, seeds: int = 5) -> Iterator[Balance]:
    """How evenly a million users fall to partitions and, by slots, to shards; events are what weighs."""
    cap = load.most_a_day / load.events_a_day
    for exponent in (0.8, 1.0, 1.2):
        for capped in (False, True):
            rates_U = rates(SIMULATED_USERS, load, cap if capped else None, exponent)
            for what, parts in (("partitions", 12), ("partitions", 48), ("shards", 3), ("shards", 12)):
                busiest = [float(_on(what, rates_U, parts, SEED + number).max()) for number in range(seeds)]
                yield Balance(what, parts, exponent, capped, float(np.mean(busiest)), max(busiest))


def _on(what: str, rates_U: NDArray[np.float64], parts: int, seed: int) -> NDArray[np.float64]:
    if what == "partitions":
        return fall(rates_U, parts, seed)
    return spread(fall(rates_U, SLOTS, seed), parts)  # a shard has a range of slots


def markdown(plans: Sequence[tuple[int, list[Step]]], found: Sequence[Balance]) -> str:
    lines = ["| | " + " | ".join(f"{users:,} users" for users, _ in plans) + " |", "|---" * (len(plans) + 1) + "|"]
    rows = zip(*(steps for _, steps in plans), strict=True)
    lines += [f"| {row[0].name} | {' | '.join(map(_shown, row))} |" for row in rows]
    lines += ["", f"How, for {plans[-1][0]:,} users:", ""]
    lines += [f"- {step.name}: {step.how} = **{_shown(step)}**" for step in plans[-1][1]]
    lines += ["", "| the busiest over the mean | Zipf | no bound on a user | bounded |", "|---|---|---|---|"]
    free, bounded = ([one for one in found if one.capped is capped] for capped in (False, True))
    lines += [
        f"| {one.parts} {one.what} | {one.exponent:g} | {one.mean:.2f} (at worst {one.worst:.2f}) | "
        f"{other.mean:.2f} ({other.worst:.2f}) |"
        for one, other in zip(free, bounded, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _shown(step: Step) -> str:
    digits = 0 if step.value >= 10 or step.value == int(step.value) else 1
    return f"{step.value:,.{digits}f}{step.unit if step.unit.startswith('/') else step.unit and ' ' + step.unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--users", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--json", action="store_true")
    for field in fields(Assumed):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    given = vars(parser.parse_args())
    load = Assumed(**{field.name: given[field.name] for field in fields(Assumed)})
    plans = [(users, plan(users, load, Measured())) for users in given["users"]]
    found = list(balances(load))
    if not given["json"]:
        sys.stdout.write(markdown(plans, found))
        return
    said = {
        "assumed": asdict(load),
        "measured": {name: {"value": value, "source": SOURCES[name]} for name, value in asdict(Measured()).items()},
        "plans": [{"users": users, "steps": [asdict(step) for step in steps]} for users, steps in plans],
        "balance": [asdict(one) for one in found],
    }
    sys.stdout.write(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
