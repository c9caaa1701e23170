"""A bulk of disconnects in virtual time: the kicker's own dispatcher and bookkeeping, NASes that answer, and NASes that are dead.

Nothing waits here: the time is a number, so 90 s pass as fast as the code under test takes. What is real is the code (commands, budgets,
Identifiers, packets, replies, results) and its memory; what is simulated is the network, the NASes, and how fast commands are read.
"""

import gc
import random
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from statistics import median, quantiles
from typing import Any, NamedTuple

from bench.report import Report
from bench.rig import Rig
from schemas.configuration import Disconnect, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from streams.dispatcher import Datagram, Dispatcher, Outputs, targets
from streams.kick import Now
from streams.open_commands import OpenCommands
from streams.partitioner import partition_of
from streams.profiles import packaged
from streams.radius.simulated import build_disconnect_reply

SECRET = b"bench-disconnects"
WALL_MS = 1_700_000_000_000
PARTITIONS = 8
NASES = 500
READ_EVERY_MS = 20
ROUND_TRIP_MS = (2.0, 40.0)
STOP_AFTER_MS = (20.0, 300.0)


class Story(NamedTuple):
    """What happens.

    Attributes:
        nases: their names in the order in which the sessions take turns. dead: those of them that never answer.
        kicks: how many. lives_s: how long a command may wait. reads_s: records that are read in a second.
        ports, in_flight_per_nas: as in `[kicker]`.
    """

    nases: Sequence[str]
    dead: frozenset[str]
    kicks: int
    lives_s: int = 90
    reads_s: int = 5_000
    ports: int = 16
    in_flight_per_nas: int = 32
    seed: int = 1


class Told(NamedTuple):
    """What came of it.

    Attributes:
        ends: by command: (NAS, outcome, ms of virtual time after the decision).
        sends: datagrams. peaks: the longest that each queue was. took_s: real time.
    """

    ends: dict[str, tuple[str, str, float]]
    sends: int
    peaks: dict[str, int]
    took_s: float


def _disconnect(address: str) -> Disconnect:
    return Disconnect(address=address, secret=SECRET.decode(), port=3799)


class World:
    """The network, the NASes and the topics around one dispatcher."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.luck = random.Random(story.seed)
        self.addresses = {name: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n, name in enumerate(dict.fromkeys(story.nases), 1)}
        self.dead = {(self.addresses[name], 3799) for name in story.dead}
        nases = [
            Nas(name=name, addresses=(f"{address}/32",), secret="s", disconnect=_disconnect(address))
            for name, address in self.addresses.items()
        ]
        self.dispatcher = Dispatcher(
            targets(nases, packaged()),
            ports=story.ports,
            in_flight_per_nas=story.in_flight_per_nas,
            jitter=lambda: self.luck.uniform(-1, 1),
        )
        self.ms = 0.0
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.topics: dict[int, list[DisconnectCommand | SessionNotice]] = defaultdict(list)
        self.parts = {number: OpenCommands(number, 0) for number in range(PARTITIONS)}
        self.homes: dict[str, str] = {}
        self.ends: dict[str, tuple[str, str, float]] = {}
        self.peaks: Counter[str] = Counter()
        self.sends = 0
        self.wake_ms: float | None = None

    def run(self) -> Told:
        """Let it happen until every command has its end."""
        for number in range(self.story.kicks):
            command = self.command(number, self.story.nases[number % len(self.story.nases)])
            self.topics[partition_of(command.nas, PARTITIONS)].append(command)
        began_s = time.perf_counter()
        self.later(0, self.read)
        while self.due:
            self.ms, _, happen = heappop(self.due)
            happen()
        return Told(self.ends, self.sends, dict(self.peaks), time.perf_counter() - began_s)

    def command(self, number: int, nas: str) -> DisconnectCommand:
        session = {"acct_session_id": f"S{number:08}", "user_name": f"u{number}", "nas_identifier": nas}
        self.homes[f"0-{number}-0-u"] = nas
        return DisconnectCommand(
            id=f"0-{number}-0-u",
            time_ms=WALL_MS,
            expires_ms=WALL_MS + self.story.lives_s * 1000,
            confirm_within_s=self.story.lives_s,
            nas=nas,
            identity=f"u{number}",
            session=session,
            reason="operator",
        )

    def now(self) -> Now:
        return Now(WALL_MS + int(self.ms), 1.0 + self.ms)

    def later(self, ms: float, happen: Callable[[], None]) -> None:
        heappush(self.due, (self.ms + ms, next(self.numbers), happen))

    def read(self) -> None:
        """What the kicker reads in a while: each partition has its share, unless it is full."""
        share = max(1, self.story.reads_s * READ_EVERY_MS // 1000 // PARTITIONS)
        for number, part in self.parts.items():
            topic = self.topics[number]
            for offset in range(part.next_offset, min(part.next_offset + share, len(topic))):
                if part.is_full:
                    break
                part.hold(offset)
                match topic[offset]:
                    case DisconnectCommand() as command if part.take(offset, command.id):
                        self.carry_out(self.dispatcher.command(command, self.now()))
                    case SessionNotice() as notice:
                        part.let_go(offset)
                        self.carry_out(self.dispatcher.notice(notice, self.now()))
        self.note_peaks()
        if len(self.ends) < self.story.kicks:
            self.later(READ_EVERY_MS, self.read)

    def note_peaks(self) -> None:
        sizes = {
            "open commands": len(self.dispatcher),
            "open in one partition": max(part.open_count for part in self.parts.values()),
            "waiting for one NAS": max((len(line.waiting) for line in self.dispatcher._lines.values()), default=0),  # noqa: SLF001 - its size
            "timers": len(self.dispatcher._timers),  # noqa: SLF001 - likewise
            "silent NASes": self.dispatcher.silent,
        }
        for what, size in sizes.items():
            self.peaks[what] = max(self.peaks[what], size)

    def wake(self, at_ms: float) -> None:
        if self.wake_ms == at_ms:  # else an earlier one took its place
            self.wake_ms = None
            self.carry_out(self.dispatcher.wake(self.now()))

    def carry_out(self, outputs: Outputs) -> None:
        for output in outputs:
            if isinstance(output, Datagram):
                self.sends += 1
                if output.endpoint not in self.dead:
                    self.later(self.luck.uniform(*ROUND_TRIP_MS), lambda asked=output: self.answer(asked))  # type: ignore[misc]
            elif isinstance(output, DisconnectResult):
                self.take_result(output)
        at_ms = self.dispatcher.next_wake_ms
        if at_ms is not None and (self.wake_ms is None or at_ms < self.wake_ms):
            self.wake_ms = at_ms
            self.later(max(0.0, at_ms - self.now().mono_ms), lambda: self.wake(at_ms))

    def answer(self, asked: Datagram) -> None:
        reply = build_disconnect_reply(asked.octets, SECRET, ack=True, error_cause=None)
        self.carry_out(self.dispatcher.datagram(asked.port, asked.endpoint, reply, self.now()))

    def take_result(self, result: DisconnectResult) -> None:
        number = partition_of(result.nas, PARTITIONS)
        self.parts[number].take_result(result, 0)
        if result.final:
            assert result.command_id not in self.ends, "two ends"
            self.ends[result.command_id] = (result.nas, result.outcome, self.ms)
            return
        notice = SessionNotice(
            command_id=result.command_id, nas=result.nas, identity=result.identity, acct_session_id="", said_by="nas-stop", time_ms=0
        )
        self.later(self.luck.uniform(*STOP_AFTER_MS), lambda: self.topics[number].append(notice))


def tell(story: Story) -> Told:
    """Let a story happen."""
    return World(story).run()


def bulk(kicks: int, nases: int, dead_in: int = 10, **changes: Any) -> Story:
    """So many sessions over so many NASes, every tenth of them dead."""
    names = [f"nas-{number}" for number in range(nases)]
    return Story(names, frozenset(names[::dead_in]), kicks, **changes)


def rows(story: Story, told: Told) -> list[list[str]]:
    """A line for the living and one for the dead."""
    return [_row("living", [end for end in told.ends.values() if end[0] not in story.dead]), _row("dead", _dead(story, told))]


def _dead(story: Story, told: Told) -> list[tuple[str, str, float]]:
    return [end for end in told.ends.values() if end[0] in story.dead]


def _row(what: str, ends: Iterable[tuple[str, str, float]]) -> list[str]:
    ends = list(ends)
    times_s = sorted(ms / 1000 for _, _, ms in ends) or [0.0]
    p99 = quantiles(times_s, n=100)[-1] if len(times_s) > 1 else times_s[0]
    outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in Counter(outcome for _, outcome, _ in ends).most_common())
    return [
        what,
        f"{len({nas for nas, _, _ in ends})}",
        f"{len(ends):,}",
        outcomes,
        *(f"{s:.1f}" for s in (median(times_s), p99, times_s[-1])),
    ]


async def measure(rig: Rig) -> Report:
    """Sessions over 500 NASes, one of ten dead; a fifth of them once more for their memory, which costs several times the time to count."""
    story = bulk(rig.sizes.bulk, NASES)
    gc.collect()
    told = tell(story)
    tracemalloc.start()
    tell(bulk(rig.sizes.bulk // 5, NASES))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kicks = len(told.ends)
    return Report(
        f"bulk: {kicks:,} sessions over {len(story.nases)} NASes in virtual time, one of ten dead",
        ("NASes", "how many", "kicks", "ended", "median s", "p99 s", "last s"),
        rows(story, told),
        (
            f"peaks: {', '.join(f'{what} {size:,}' for what, size in told.peaks.items())}",
            f"{told.sends:,} datagrams; {told.took_s:.1f} s of one core, {told.took_s / kicks * 1e6:.0f} us a kick with its NAS's side",
            f"memory at a fifth of the size: {peak_bytes / 2**20:.0f} MiB with the topics themselves",
        ),
        {"peaks": told.peaks, "sends": told.sends, "took_s": told.took_s, "rows": rows(story, told), "peak_bytes": peak_bytes},
    )
