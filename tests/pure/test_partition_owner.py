"""What one partition's owner waits for; everything around it is in the hands of the test."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents import partition_owner
from agents.partition_owner import ROWS_FACTOR, PartitionOwner, State, Surroundings
from agents.sender import Ledger
from agents.worker import SESSIONS
from schemas.configuration import Configuration, Worker
from tests.support.fake_core import FakeCore, FakeOutput

PIECES, OF_A_PIECE, OUTPUTS_MAX = 10, 4, 10
CHECKPOINT_ROWS = 20


class CoreWithMuchToDo(FakeCore):
    """Each piece of its work tells `OF_A_PIECE` events."""

    def _work(self, event: FakeOutput) -> Iterator[None]:
        for number in range(PIECES):
            self.following += [event._replace(value=b"%d" % (OF_A_PIECE * number + nth)) for nth in range(OF_A_PIECE)]
            yield


class Consumer:
    """The group's, with one partition."""

    def __init__(self, place: TopicPartition) -> None:
        self.place, self.is_paused, self.position = place, False, 0

    def assignment(self) -> set[TopicPartition]:
        return {self.place}

    def seek(self, _place: TopicPartition, offset: int) -> None:
        self.position = offset

    def pause(self, _place: TopicPartition) -> None:
        self.is_paused = True

    def resume(self, _place: TopicPartition) -> None:
        self.is_paused = False

    def highwater(self, _place: TopicPartition) -> int | None:
        return None


class Kafka:
    """Takes outputs and acknowledges nothing by itself."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.most = 0
        self._ledgers: list[tuple[Any, int]] = []

    def put(self, outputs: list[FakeOutput], ledger: Ledger) -> None:
        ledger.add(len(outputs))
        self.values += [output.value for output in outputs]
        self._ledgers.append((ledger.share, len(outputs)))
        self.most = max(self.most, ledger.unacknowledged)

    def acknowledge(self) -> None:
        for share, count in self._ledgers:
            share.acknowledge(count)
        self._ledgers.clear()


async def turns(count: int = 200) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Owned:
    """An owner that has restored this core, and what is around it."""

    def __init__(self, core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core, self.kafka, self.written = core, Kafka(), []
        self.failures: list[Exception] = []
        self.consumer = Consumer(TopicPartition(SESSIONS.journal.name, 0))

        async def read_back(_owner: PartitionOwner) -> tuple[Any, FakeCore, int]:
            return SimpleNamespace(stop=turns), core, 0

        async def write(_producer: object, _place: object, rows: list[Any], offset: tuple[object, int, str]) -> None:
            self.written.append((rows, offset[1]))

        monkeypatch.setattr(PartitionOwner, "_read_back", read_back)
        monkeypatch.setattr(partition_owner.checkpoint, "write", write)
        self.around = Surroundings(
            configuration=Configuration(worker=Worker(checkpoint_rows=CHECKPOINT_ROWS)),
            lane=SESSIONS,
            consumer=self.consumer,
            sender=self.kafka,  # type: ignore[arg-type]
            on_failure=self.failures.append,
            on_change=lambda: None,
            on_checkpoint=lambda: None,
        )
        self.owner = PartitionOwner(0, self.around)

    def apply(self, *records: tuple[bytes, bytes]) -> None:
        """As polled now: key and value, from the next offset on."""
        polled = [
            SimpleNamespace(offset=offset, key=key, value=value, headers=())
            for offset, (key, value) in enumerate(records, self.owner.next_offset)
        ]
        self.owner.apply(self.around.epoch, polled)  # type: ignore[arg-type]

    async def end(self) -> None:
        await self.owner.give_up()
        assert self.failures == []


async def test_work_in_pieces_waits_while_kafka_has_not_acknowledged_its_outputs_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch):
    """7.1: a limit that comes over a million sessions would have all its commands in memory at once while Kafka is slow."""
    monkeypatch.setattr(partition_owner, "OUTPUTS_MAX", OUTPUTS_MAX)
    owned = Owned(CoreWithMuchToDo(0, 1, "journal"), monkeypatch)
    kafka, consumer = owned.kafka, owned.consumer
    await turns()
    owned.apply((b"alice", b"pending"), (b"bob", b""))
    assert consumer.is_paused
    for _ in range(PIECES):
        await turns()
        assert len(kafka.values) % OF_A_PIECE == 0
        assert consumer.is_paused is (len(kafka.values) < PIECES * OF_A_PIECE)
        kafka.acknowledge()
    assert kafka.values == [b"%d" % number for number in range(PIECES * OF_A_PIECE)]
    assert kafka.most < OUTPUTS_MAX + 2 * OF_A_PIECE
    assert (consumer.position, owned.owner.next_offset, owned.owner.state) == (1, 1, State.RUNNING)
    await owned.end()


def test_a_kind_without_a_value_is_none() -> None:
    """Bad input: a stranger's record with such a header ended the worker, and each one that was started after it."""
    assert partition_owner._kind_of(SimpleNamespace(headers=(("kind", None),))) == ""  # type: ignore[arg-type]


async def test_very_many_rows_are_taken_in_pieces_and_nothing_is_applied_meanwhile(monkeypatch: pytest.MonkeyPatch):
    """7.1: a million rows of a rule that moved them all took seconds, in which the worker sent no heartbeat."""
    owned = Owned(FakeCore(0, 1, "journal"), monkeypatch)
    await turns()
    keys = [b"user%03d" % number for number in range(ROWS_FACTOR * CHECKPOINT_ROWS)]
    owned.apply(*((key, b"") for key in keys))
    owned.kafka.acknowledge()
    polled_before, is_held = owned.around.epoch, 0
    while not owned.written:
        await asyncio.sleep(0)
        is_held += owned.consumer.is_paused
        owned.owner.apply(polled_before, [SimpleNamespace(offset=len(keys), key=b"eve", value=b"", headers=())])  # type: ignore[list-item]
    assert is_held >= len(keys)
    ((rows, offset),) = owned.written
    assert ([key for key, _ in rows], offset) == ([*keys, b"p:0"], len(keys))
    assert (owned.consumer.position, owned.consumer.is_paused) == (len(keys), False)
    owned.apply((b"eve", b""))
    assert owned.core.rows[b"eve"] == {"count": 1, "sum": len(keys), "last": len(keys)}
    await owned.end()
