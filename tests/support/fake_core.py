"""A session core for the worker's failure tests: counts records per key, remembers which, and can be told to misbehave.

Its rows are those of the contract: one per key touched, and the partition's own row with the next offset. Each record leads to one event
whose value is its offset; a record on key `kick` leads to a command as well. Special values: `raise` (a defect), `huge` (a row over the
broker's limit), `huge-output` (an output over it), `pending` (it leaves work behind, which goes on until `is_free` and tells the event).
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from schemas.topics import COMMANDS, EVENTS, partition_key

HUGE = 2_000_000


class FakeOutput(NamedTuple):
    """As `streams.step.Output`."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    kind: str


class FakeCore:
    """Rows: key -> {"count", "sum", "last"}; the sum of offsets tells a skipped record from one applied twice."""

    def __init__(self, partition: int, partitions: int, journal_topic: str) -> None:
        self.partition, self.partitions, self.journal_topic = partition, partitions, journal_topic
        self.next_offset = 0
        self.rejected_reasons: dict[str, int] = {}
        self.event_types: dict[str, int] = {}
        self.sightings: dict[str, int] = {}
        self.in_pieces = False
        self.pending: Iterator[None] | None = None
        self.following: list[FakeOutput] = []
        self.is_free = False
        self.rows: dict[bytes, dict[str, int]] = {}
        self._own_key = partition_key(partition).encode()
        self._touched: set[bytes] = set()
        self._huge: set[bytes] = set()

    @property
    def touched(self) -> int:
        return len(self._touched)

    @property
    def open_sessions(self) -> int:
        return len(self.rows)

    def restore(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.rows.pop(key, None)
        elif key == self._own_key:
            self.next_offset = json.loads(value)["next_offset"]
        else:
            self.rows[key] = json.loads(value)

    def indexing(self) -> Iterator[None]:
        yield

    def finish(self, out: list[FakeOutput]) -> None:
        for _ in self.pending or ():
            pass
        self.pending = None
        out += self.following
        self.following = []

    def apply(self, offset: int, kind: str, key: bytes | None, value: bytes | None, out: list[FakeOutput]) -> None:
        assert self.pending is None
        if value == b"raise":
            raise RuntimeError(f"told to raise at {offset}")
        key = key or b"nobody"
        row = self.rows.setdefault(key, {"count": 0, "sum": 0, "last": -1})
        assert offset > row["last"], f"{offset} applied twice"
        row.update(count=row["count"] + 1, sum=row["sum"] + offset, last=offset)
        self._touched.add(key)
        self.next_offset = offset + 1
        if value == b"huge":
            self._huge.add(key)
        body = b"x" * HUGE if value == b"huge-output" else str(offset).encode()
        event = FakeOutput(EVENTS.name, self.partition, key, body, "")
        if value == b"pending":
            self.pending = self._work(event)
        else:
            out.append(event)
        if key == b"kick":
            out.append(FakeOutput(COMMANDS.name, offset % self.partitions, key, str(offset).encode(), "command"))
        self.event_types["fake"] = self.event_types.get("fake", 0) + 1

    def _work(self, event: FakeOutput) -> Iterator[None]:
        while not self.is_free:
            yield
        self.following.append(event)

    def checkpointing(self, rows: list[tuple[bytes, bytes | None]]) -> Iterator[None]:
        touched, self._touched = sorted(self._touched), set()
        for key in touched:
            rows.append((key, self._row(key)))
            yield
        rows.append((self._own_key, json.dumps({"next_offset": self.next_offset}).encode()))

    def _row(self, key: bytes) -> bytes:
        row = json.dumps(self.rows[key]).encode()
        return row + b" " * HUGE if key in self._huge else row
