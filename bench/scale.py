"""What grows with the sessions and what must not: a tick's cost with a thousand deaths, memory for each open session, restoring.

Each size is a process of its own (`python -m bench.scale build|restore SESSIONS FILE`), so that its memory is its own. The core of one
partition holds all of them, without Kafka: what is looked at is the state, not the way to it.
"""

import asyncio
import gc
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agents.garbage import settle
from bench.report import Report, middle
from bench.rig import ROOT, FailedError, Rig
from schemas.accounting import AccountingRecord
from schemas.codec import dumps, encode, loads
from schemas.journal import PolicyVersion, Tick
from schemas.policy import Limit, Liveness, Policy
from schemas.topics import ACCOUNTING
from streams.session_core import SessionCore
from streams.step import Output
from streams.table import ROWS_AT_ONCE

FULL, QUICK, TINY = (200_000, 1_000_000, 2_000_000), (10_000, 50_000), (500, 1_000, 2_000)
NASES = [f"nas{number}" for number in range(500)]
T0_MS = 1_795_199_831_000
DYING_PER_TICK = 1_000
DEADLY_TICKS, QUIET_TICKS = 15, 20
INTERVAL_S, TIMES, LIVING_INTERVAL_S = 40, 3, 3_600
ROWS_MAX = 50_000
BYTES_WANTED, RESTORE_S_WANTED, GROWTH_WANTED = 800, 5.0, 1.5
ROW = struct.Struct("<II")


class Clocked:
    """A core whose journal is made up: its ticks say that every NAS was heard just now."""

    def __init__(self, core: SessionCore) -> None:
        self.core = core
        self.second = 0
        self.offset = core.next_offset
        self.out: list[Output] = []

    def apply(self, kind: str, key: bytes, value: bytes) -> None:
        self.core.apply(self.offset, kind, key, value, self.out)
        self.offset += 1
        if len(self.out) >= ROWS_MAX:
            self.out.clear()

    def publish(self, version: int, policy: Policy) -> float:
        """A new version of the policy, and all that is to be done before the next record; milliseconds of CPU that it took."""
        began_s = time.process_time()
        self.apply("policy", b"", encode(PolicyVersion(version=version, time_ms=T0_MS, policy=policy)))
        self.core.finish(self.out)
        return 1000 * (time.process_time() - began_s)

    def tick(self) -> float:
        """One second goes by; milliseconds of CPU that it took."""
        told = {"began": [(name, 600_000) for name in NASES]} if not self.second else {"heard": [(name, 0) for name in NASES]}
        value = encode(Tick(ingest="i", wall_ms=T0_MS + 1000 * self.second, mono_ms=1000 * self.second, **told))  # type: ignore[arg-type]
        self.second += 1
        began_s = time.process_time()
        self.apply("tick", b"", value)
        return 1000 * (time.process_time() - began_s)


def _start(number: int, second: int, interval_s: int) -> tuple[bytes, bytes]:
    name = f"user{number}"
    record = AccountingRecord(
        status="Start",
        nas=NASES[number % len(NASES)],
        source="192.0.2.1",
        ingest="i",
        received_ms=T0_MS + 1000 * second,
        event_ms=T0_MS + 1000 * second,
        event_source="event-timestamp",
        identity=name,
        user_name=name,
        acct_session_id=f"{number:016X}",
        calling_station_id=f"02-00-{number >> 24 & 255:02x}-{number >> 16 & 255:02x}-{number >> 8 & 255:02x}-{number & 255:02x}",
        framed_ip_address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        nas_ip_address="192.0.2.1",
        nas_port=number % 4_096,
        interim_interval_s=interval_s,
    )
    return name.encode(), encode(record)


def build(sessions: int, file: Path) -> dict[str, Any]:
    """Sessions that stay, and for each deadly tick a thousand more that fall silent at its time; the table's rows go into the file.

    Returns:
        bytes_per_session, records_per_s of CPU, quiet_ms and deadly_ms of each tick, deaths; enforced_ms and rearmed_ms of policies that
        make a limit or the liveness rule another one.
    """
    settle()
    clocked = Clocked(SessionCore(0, 1, ACCOUNTING.name))
    policy = Policy(limits=(Limit("devices", "user", 5),), liveness=(Liveness("interim", times=TIMES),))
    clocked.publish(1, policy)
    clocked.tick()
    gc.collect()
    before = _resident_octets()
    began_s, dying = time.process_time(), min(DYING_PER_TICK, sessions)
    with file.open("wb") as rows:
        for number in range(sessions):
            clocked.apply("accounting", *_start(number, 0, LIVING_INTERVAL_S))
            if clocked.core.touched >= ROWS_MAX:
                _write(rows, clocked.core)
        took_s = time.process_time() - began_s
        _write(rows, clocked.core)
    gc.collect()
    after = _resident_octets()
    first = sessions
    for _ in range(DEADLY_TICKS):
        for number in range(first, first + dying):
            clocked.apply("accounting", *_start(number, clocked.second, INTERVAL_S))
        first += dying
        clocked.tick()
    clocked.core.checkpoint()
    gc.freeze()
    quiet_ms = [clocked.tick() for _ in range(QUIET_TICKS)]
    while clocked.core.open_sessions > sessions + dying * (DEADLY_TICKS - 1) and clocked.second < 2 * INTERVAL_S * TIMES:
        clocked.tick()
    clocked.core.event_types.clear()
    deadly_ms = [clocked.tick() for _ in range(DEADLY_TICKS - 2)]
    stricter = replace(policy, limits=(Limit("devices", "user", 4, on_change="enforce"),))
    enforced_ms = clocked.publish(2, stricter)
    rearmed_ms = clocked.publish(3, replace(stricter, liveness=(Liveness("interim", times=TIMES + 1),)))
    return {
        "enforced_ms": enforced_ms,
        "rearmed_ms": rearmed_ms,
        "sessions": sessions,
        "bytes_per_session": (after - before) / sessions,
        "records_per_s": sessions / took_s,
        "quiet_ms": quiet_ms,
        "deadly_ms": deadly_ms,
        "deaths": clocked.core.event_types.get("session.stale", 0),
    }


def restore(sessions: int, file: Path) -> dict[str, Any]:
    """The rows of the file into a new core, and its first record after that.

    Returns:
        restore_s in all, bytes_per_session, first_record_ms, open.
    """
    core = SessionCore(0, 1, ACCOUNTING.name)
    gc.collect()
    before, began_s = _resident_octets(), time.perf_counter()
    gc.disable()
    for key, value in _read(file):
        core.restore(key, value)
    core.restored()
    gc.enable()
    gc.freeze()
    took_s = time.perf_counter() - began_s
    clocked = Clocked(core)
    began_s = time.perf_counter()
    clocked.apply("accounting", *_start(sessions, 0, LIVING_INTERVAL_S))
    first_ms = 1000 * (time.perf_counter() - began_s)
    return {
        "restore_s": took_s,
        "bytes_per_session": (_resident_octets() - before) / sessions,
        "first_record_ms": first_ms,
        "open": core.open_sessions,
    }


def _resident_octets() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _write(rows: Any, core: SessionCore) -> None:
    for key, value in core.checkpoint():
        rows.write(ROW.pack(len(key), len(value or b"")) + key + (value or b""))


def _read(file: Path) -> Iterator[tuple[bytes, bytes]]:
    with file.open("rb") as rows:
        while head := rows.read(ROW.size):
            key, value = ROW.unpack(head)
            yield rows.read(key), rows.read(value)


async def _child(what: str, sessions: int, file: Path) -> dict[str, Any]:
    arguments = (sys.executable, "-m", "bench.scale", what, str(sessions), str(file))
    child = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    if child.returncode:
        raise FailedError(f"{' '.join(arguments[1:])} ended with {child.returncode}")
    found: dict[str, Any] = loads(said)
    return found


async def measure(rig: Rig) -> Report:
    """Each size once; CPU time is counted, so that who else works on the machine does not."""
    file, found = rig.directory / "table-rows", []
    for sessions in {"tiny": TINY, "quick": QUICK}.get(rig.sizes.name, FULL):
        built = await _child("build", sessions, file)
        found.append(built | {"restored": await _child("restore", sessions, file)})
        file.unlink()
    rows = [
        [
            f"{one['sessions']:,}",
            f"{one['bytes_per_session']:,.0f}",
            f"{one['restored']['bytes_per_session']:,.0f}",
            f"{one['records_per_s']:,.0f}",
            f"{middle(one['quiet_ms']):.2f}",
            f"{middle(one['deadly_ms']):.1f}",
            f"{one['restored']['restore_s'] / one['sessions'] * 1e6:.1f}",
            f"{one['restored']['first_record_ms']:.2f}",
        ]
        for one in found
    ]
    growth = middle(found[-1]["deadly_ms"]) / middle(found[0]["deadly_ms"])
    most_bytes = max(one["bytes_per_session"] for one in found)
    slowest_s = max(one["restored"]["restore_s"] / one["sessions"] * 1e6 for one in found)
    notes = (
        (
            f"{found[0]['deaths'] // (DEADLY_TICKS - 2):,} deaths in each deadly tick; its cost at the largest size is {growth:.2f} of that"
            f" at the smallest (wanted: the same, at most {GROWTH_WANTED})"
        ),
        (
            f"at most {most_bytes:,.0f} octets a session (wanted: {BYTES_WANTED}), {slowest_s:.1f} s a million to restore, without Kafka"
            f" (wanted: {RESTORE_S_WANTED:.0f})"
        ),
        (
            f"a new policy over {found[-1]['sessions']:,} sessions: {found[-1]['enforced_ms']:,.0f} ms for an enforced limit that nobody is"
            f" over; {found[-1]['rearmed_ms']:,.0f} ms for another liveness rule, in pieces of {ROWS_AT_ONCE} sessions"
        ),
    )
    columns = (
        "sessions",
        "octets each",
        "restored",
        "Starts/s",
        "quiet tick ms",
        "1,000 deaths ms",
        "restore s/million",
        "first record ms",
    )
    return Report("Scale: one partition's state in memory, CPU time", columns, rows, notes, {"sizes": found})


if __name__ == "__main__":
    what, sessions, file = sys.argv[1:]
    print(dumps({"build": build, "restore": restore}[what](int(sessions), Path(file))))
