"""The running product with millions of sessions in its table: kicks, memory, `kill -9` of the worker, and two of a part against one.

Each size is an installation of its own, whose `session.table` was written by checkpoints like any other: `python -m bench.scale_live CONFIG
SESSIONS` makes a session by the core itself, once for each NAS and partition, and writes its rows again under other names. What a size
is held against is the same product with an empty table, which stays up beside it and is loaded in turn with it.

Two workers, and two ingests, are held against one of each from accounting packets to events and rows (`through`), in turn too.
"""

import asyncio
import os
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from agents import checkpoint
from agents.broker import pick_free_port
from agents.kafka_client import close, topic_name
from agents.settings import load_settings
from bench import latency
from bench.network import NASES, Network, undisturbed
from bench.report import Report, middle, spread
from bench.rig import PARTITIONS, Child, FailedError, Rig, run_to_end
from bench.scale import Clocked
from bench.through import product, through
from schemas.accounting import AccountingRecord
from schemas.codec import dumps, encode
from schemas.configuration import Configuration
from schemas.journal import PolicyVersion
from schemas.policy import Limit, Liveness, Policy
from schemas.topics import ACCOUNTING, TABLE, WORKER_GROUP
from streams.partitioner import partition_of
from streams.session_core import SessionCore

SIZES = {"full": (2_000_000, 7_000_000), "quick": (50_000,), "tiny": (400,)}
BUDGET_S = 2400.0
"""A size that would not be through within it, by what the smaller ones took, is skipped."""
MEMORY_OCTETS, DISK_OCTETS = 1_500, 3_000
"""Of a session, with room to spare: beyond it a size is not tried."""
SPARE_OCTETS = 3 * 2**30
POLICY = Policy(limits=(Limit("one-device", "user", 1),), liveness=(Liveness("interim", times=3),))
"""As `latency` has it, and with a deadline for each session."""
INTERVAL_S = 3_600
SAMPLE = "fedcba98"
"""The number of the session that the others are copies of: eight hexadecimal digits that stand in no row by chance."""
SESSIONS_AT_ONCE = 20_000
RETRY_S = 0.5
READY_WITHIN_S = FILLED_WITHIN_S = 900.0
FIRST_WITHIN_S = 30.0
WINDOW = 2_048
"""So that the kernel has 32 sockets to share out among the ingests."""
THROUGH_S_MAX = 15.0
SHORT_TIMEOUT_S = 5
"""Of a killed worker's session, unless the run is full: it is waited for twice, and what it takes is no figure of ours."""
WAYS = {"one of each": (1, 1), "two workers": (1, 2), "two ingests": (2, 1)}
"""Ingests and workers."""

Row = tuple[bytes, bytes]


class Product(NamedTuple):
    """An installation that runs; `filled_s` is what its table took to write."""

    sessions: int
    network: Network
    worker: Child
    filled_s: float


async def measure(rig: Rig) -> Report:
    """Each size beside the empty table, then two of a part against one."""
    began_s = time.monotonic()
    found: list[dict[str, Any]] = []
    skipped: list[str] = []
    async with _product(rig, 0) as empty:
        for sessions in SIZES[rig.sizes.name]:
            if why := _why_not(rig, sessions, found, BUDGET_S - (time.monotonic() - began_s)):
                skipped.append(f"{sessions:,} sessions are skipped: {why}")
                print(f"scale_live: {skipped[-1]}")
                continue
            started_s = time.monotonic()
            async with _product(rig, sessions) as full:
                one = await _loaded(rig, empty, full)
                restored = await _killed(full)
                latency.told_by(full.network)
                found.append(one | {"restored": restored, "took_s": time.monotonic() - started_s})
        without = await _killed(empty)
        latency.told_by(empty.network)
    return _report(rig, found, skipped, without, await _two_against_one(rig))


@asynccontextmanager
async def _product(rig: Rig, sessions: int) -> AsyncIterator[Product]:
    port = pick_free_port()
    network = Network(rig, port)
    children: list[Child] = []
    try:
        timeout = "" if rig.sizes.name == "full" else f"[worker]\nsession_timeout_s = {SHORT_TIMEOUT_S}\n"
        config, _ = await rig.installation(f"scale-live-{sessions}", port=port, nas=timeout + network.toml())
        filled = await run_to_end(rig.command("fill", "bench.scale_live", str(config), str(sessions)), within_s=FILLED_WITHIN_S)
        children = [rig.part(name, config) for name in latency.PARTS]
        for child in children:
            child.start()
        for child in children:
            await child.ready(READY_WITHIN_S)
        yield Product(sessions, network, children[latency.PARTS.index("worker")], filled["seconds"])
    finally:
        network.close()
        for child in children:
            await child.stop()


def _why_not(rig: Rig, sessions: int, found: list[dict[str, Any]], left_s: float) -> str:
    """Why a size is not tried; an empty text if it is."""
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _cached_octets()
    disk = shutil.disk_usage(rig.directory).free
    needed = {"memory": (memory, MEMORY_OCTETS), "disk": (disk, DISK_OCTETS)}
    for what, (octets, each) in needed.items():
        if octets < SPARE_OCTETS + each * sessions:
            return f"{octets / 2**30:.1f} GiB of {what} are free, {(SPARE_OCTETS + each * sessions) / 2**30:.1f} are wanted"
    expected_s = found[-1]["took_s"] * sessions / found[-1]["sessions"] if found else 0.0
    return f"it would take some {expected_s:.0f} s, {left_s:.0f} s are left" if expected_s > left_s else ""


def _cached_octets() -> int:
    """What the kernel gives back at once (proc(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Cached:", "Buffers:")))


async def _loaded(rig: Rig, empty: Product, full: Product) -> dict[str, Any]:
    """Kicks under load, the two products in turn, and the memory of their workers after that."""
    held = await full.worker.metric("curfew_sessions_open")
    rate, sizes = rig.sizes.rates[-1], rig.sizes
    rounds: dict[str, list[dict[str, Any]]] = {"empty": [], "full": []}
    requests: dict[str, list[float]] = {"empty": [], "full": []}
    with undisturbed():
        for _ in range(sizes.rounds):
            for name, one in (("empty", empty), ("full", full)):
                breaches = await one.network.run(rate, sizes.warm_s, sizes.measured_s)
                rounds[name].append(latency.figures_of(breaches))
                requests[name] += latency.requested_ms(breaches)
    if held < full.sessions:
        raise FailedError(f"of {full.sessions:,} sessions in the table the worker knows {held:,.0f}")
    resident = {name: one.worker.resident_octets() for name, one in (("empty", empty), ("full", full))}
    return {
        "sessions": full.sessions,
        "filled_s": full.filled_s,
        "rate": rate,
        "rounds": rounds,
        "latency": {name: latency.medians_of(some) for name, some in rounds.items()},
        "curves": {name: latency.curve(some) for name, some in requests.items()},
        "resident": resident,
        "octets": (resident["full"] - resident["empty"]) / full.sessions,
    }


async def _killed(one: Product) -> dict[str, Any]:
    """The worker is killed and started again; until the group gives it its partitions, and from there until they are restored.

    Raises:
        FailedError: it was not ready in time, or the first breach after that came to nothing.
    """
    one.worker.kill()
    began_s = time.perf_counter()
    one.worker.start()
    given_s = await _seconds_until(one.worker, began_s, lambda why: not why or "partitions wait" in why)
    ready_s = await _seconds_until(one.worker, began_s, lambda why: not why)
    breach = await one.network.one(FIRST_WITHIN_S)
    if not breach.requested_ns:
        raise FailedError(f"with {one.sessions:,} sessions the first breach after kill -9 came to nothing\n{one.worker.tail()}")
    return {
        "given_s": given_s,
        "ready_s": ready_s,
        "restore_s": ready_s - given_s,
        "first_ms": latency.requested_ms([breach])[0],
        "resident": one.worker.resident_octets(),
    }


async def _seconds_until(worker: Child, began_s: float, is_so: Callable[[str], bool]) -> float:
    async def look() -> str:
        why = await worker.why_not_ready()
        return "" if is_so(why) else why or "is ready"

    await worker.until(look, READY_WITHIN_S)
    return time.perf_counter() - began_s


async def _two_against_one(rig: Rig) -> dict[str, list[dict[str, Any]]]:
    """Rounds of all ways in turn, each on topics of its own."""
    seconds = min(rig.sizes.through_s, THROUGH_S_MAX)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for number in range(rig.sizes.rounds):
        for name, (ingests, workers) in WAYS.items():
            async with product(rig, f"scale-live-{ingests}-{workers}-{number}", ingests=ingests, workers=workers) as running:
                one = await through(rig, running, window=min(WINDOW, rig.sizes.users), seconds=seconds)
                counted = {"ingest": "curfew_packets_answered", "worker": "curfew_records_applied"}
                shares = {part: [await child.metric(counted[part]) for child in some] for part, some in running.parts.items()}
                rounds[name].append(one | {"shares": shares})
    return rounds


def _report(
    rig: Rig, found: list[dict[str, Any]], skipped: list[str], without: dict[str, Any], two: dict[str, list[dict[str, Any]]]
) -> Report:
    reached = _reached(found, two)
    rows = [("0", *_kill_cells(without), *"----")]
    for one in found:
        size = str(one["sessions"])
        empty, full = (_shown(one["latency"][name]["requested"]) for name in ("empty", "full"))
        told = (f"{reached['restore_s'][size]:.1f}", f"{one['octets']:,.0f}", f"{empty} -> {full}", f"{_growth(one):.2f}")
        rows.append((f"{one['sessions']:,}", *_kill_cells(one["restored"]), *told))
    notes = [
        f"empty and full in turn, {rig.sizes.rounds} rounds at {rig.sizes.rates[-1]:,} records/s; p99 x: the median of the rounds' ratios",
        "given: Kafka gives the partitions to nobody before the session of the killed worker has timed out",
        "the first breach is sent when the worker is ready again",
        *(f"{one['sessions']:,}: the table was written in {one['filled_s']:.0f} s" for one in found),
    ]
    one_s = middle([one["through_s"] for one in two["one of each"]])
    for name, rounds in two.items():
        rates = [one["through_s"] for one in rounds]
        cpu = ", ".join(f"{part} {middle([one['cpu_us'][part] for one in rounds]):.0f}" for part in rounds[0]["cpu_us"])
        line = f"{middle(rates):,.0f} records/s through to events and rows ({spread(rates)}), x {middle(rates) / one_s:.2f}"
        notes.append(f"{name}: {line}; CPU us a record: {cpu}")
    columns = (
        "sessions",
        "kill -9: given s",
        "ready s",
        "first breach ms",
        "restore s/million",
        "octets each",
        "p50 / p99 ms, empty -> so many",
        "p99 x",
    )
    data = {"reached": reached, "sizes": found, "empty": without, "two": two, "skipped": skipped}
    return Report("Scale, live: the running product with so many sessions", columns, rows, notes + skipped, data)


def _reached(found: list[dict[str, Any]], two: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """As `targets` reads it: by size, and `per_million` of the largest."""
    by_size = {str(one["sessions"]): one for one in found}
    restore_s = {size: one["restored"]["restore_s"] / one["sessions"] * 1e6 for size, one in by_size.items()}
    rates = {name: middle([one["through_s"] for one in rounds]) for name, rounds in two.items()}
    return {
        "p99_growth": {size: _growth(one) for size, one in by_size.items()},
        "octets": {size: one["octets"] for size, one in by_size.items()},
        "restore_s": restore_s | ({"per_million": list(restore_s.values())[-1]} if found else {}),
        "two_against_one": {what: rates[f"two {what}"] / rates["one of each"] for what in ("workers", "ingests")},
    }


def _growth(one: dict[str, Any]) -> float:
    """The median of the rounds' own ratios: the two of a round ran one after the other."""
    pairs = zip(one["rounds"]["full"], one["rounds"]["empty"], strict=True)
    return middle([full["requested"]["p99"] / empty["requested"]["p99"] for full, empty in pairs])


def _kill_cells(restored: dict[str, Any]) -> tuple[str, str, str]:
    return f"{restored['given_s']:.1f}", f"{restored['ready_s']:.1f}", f"{restored['first_ms']:.1f}"


def _shown(quantiles: dict[str, float]) -> str:
    return f"{quantiles['p50']:.1f} / {quantiles['p99']:.1f}"


# -- the table ------------------------------------------------------------------------------------------------------------------------


async def _fill(configuration: Configuration, sessions: int) -> None:
    """Write the rows of so many open sessions, and of the policy in force, as checkpoints do; the journal is not begun yet."""
    numbers: list[list[int]] = [[] for _ in range(PARTITIONS)]
    for number in range(sessions):
        numbers[partition_of(_identity(f"{number:08x}"), PARTITIONS)].append(number)
    for partition in range(PARTITIONS):
        place = TopicPartition(topic_name(configuration, TABLE), partition)
        while True:
            try:
                await _fill_partition(configuration, place, numbers[partition])
                break
            except KafkaError as error:  # as the worker does: on a busy machine a new topic is not known everywhere at once
                if not error.retriable:
                    raise
                await asyncio.sleep(RETRY_S)


async def _fill_partition(configuration: Configuration, place: TopicPartition, numbers: list[int]) -> None:
    """Begun anew after an error it writes the same rows again."""
    producer = await checkpoint.fence(configuration, place, WORKER_GROUP)
    try:
        own, *samples = (_sample(place.partition, nas) for nas in (-1, *range(NASES)))
        await checkpoint.write(producer, place, own)
        for first in range(0, len(numbers), SESSIONS_AT_ONCE):
            await checkpoint.write(producer, place, _copies(samples, numbers[first : first + SESSIONS_AT_ONCE]))
    finally:
        await close(producer)


def _sample(partition: int, nas: int) -> list[Row]:
    """The rows that a checkpoint has of a session on a NAS; without one (-1) those of the partition itself."""
    clocked = Clocked(SessionCore(partition, PARTITIONS, ACCOUNTING.name))
    now_ms = round(time.time() * 1000)
    if nas < 0:
        clocked.apply("policy", b"", encode(PolicyVersion(version=1, time_ms=now_ms, policy=POLICY)))
    else:
        clocked.apply("accounting", _identity(SAMPLE).encode(), encode(_start(nas, now_ms)))
    clocked.core.row.next_offset = 0  # nothing of the journal is applied
    rows = [(key, value) for key, value in clocked.core.checkpoint() if value is not None]
    return rows if nas < 0 else rows[:-1]


def _start(nas: int, now_ms: int) -> AccountingRecord:
    """As the ingest files what a NAS of bench/network.c says."""
    address, name = f"127.0.1.{nas + 1}", f"nas-{nas}"
    return AccountingRecord(
        status="Start",
        nas=name,
        source=address,
        ingest="fill",
        received_ms=now_ms,
        event_ms=now_ms,
        event_source="event-timestamp",
        identity=_identity(SAMPLE),
        user_name=f"{_identity(SAMPLE)}@example.net",
        acct_session_id=f"{SAMPLE}s",
        calling_station_id=_mac(SAMPLE),
        framed_ip_address="10.128.0.1",
        nas_ip_address=address,
        nas_identifier=name,
        called_station_id="00-10-A4-23-19-C0:campus",
        nas_port_type="Wireless-802.11",
        interim_interval_s=INTERVAL_S,
    )


def _copies(samples: list[list[Row]], numbers: Iterable[int]) -> Iterator[Row]:
    name, mac = SAMPLE.encode(), _mac(SAMPLE).encode()
    for number in numbers:
        digits = f"{number:08x}"
        own_name, own_mac = digits.encode(), _mac(digits).encode()
        for key, value in samples[number % NASES]:
            yield key.replace(name, own_name), value.replace(name, own_name).replace(mac, own_mac)


def _identity(digits: str) -> str:
    return f"subscriber-{digits}"


def _mac(digits: str) -> str:
    return f"02:0c:{digits[:2]}:{digits[2:4]}:{digits[4:6]}:{digits[6:]}"


if __name__ == "__main__":
    started_s = time.monotonic()
    asyncio.run(_fill(load_settings(Path(sys.argv[1]), {}), int(sys.argv[2])))
    print(dumps({"seconds": time.monotonic() - started_s, "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
