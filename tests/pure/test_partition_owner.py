"""What one partition's owner waits for; everything around it is in the hands of the test."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents import partition_owner
from agents.partition_owner import PartitionOwner, State, Surroundings
from agents.sender import Ledger
from agents.worker import SESSIONS
from schemas.configuration import Configuration
from tests.support.fake_core import FakeCore, FakeOutput

PIECES, OF_A_PIECE, OUTPUTS_MAX = 10, 4, 10


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


async def test_work_in_pieces_waits_while_kafka_has_not_acknowledged_its_outputs_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch):
    """7.1: a limit that comes over a million sessions would have all its commands in memory at once while Kafka is slow."""
    monkeypatch.setattr(partition_owner, "OUTPUTS_MAX", OUTPUTS_MAX)
    core, kafka = CoreWithMuchToDo(0, 1, "journal"), Kafka()

    async def read_back(_owner: PartitionOwner) -> tuple[Any, FakeCore, int]:
        return SimpleNamespace(stop=turns), core, 0

    async def write(*_what: object) -> None:
        return

    monkeypatch.setattr(PartitionOwner, "_read_back", read_back)
    monkeypatch.setattr(partition_owner.checkpoint, "write", write)
    failures: list[Exception] = []
    consumer = Consumer(TopicPartition(SESSIONS.journal.name, 0))
    around = Surroundings(
        configuration=Configuration(),
        lane=SESSIONS,
        consumer=consumer,
        sender=kafka,  # type: ignore[arg-type]
        on_failure=failures.append,
        on_change=lambda: None,
        on_checkpoint=lambda: None,
    )
    owner = PartitionOwner(0, around)
    await turns()
    record = SimpleNamespace(offset=0, key=b"alice", value=b"pending", headers=())
    owner.apply(around.epoch, [record, SimpleNamespace(offset=1, key=b"bob", value=b"", headers=())])  # type: ignore[list-item]
    assert consumer.is_paused
    for _ in range(PIECES):
        await turns()
        assert len(kafka.values) % OF_A_PIECE == 0
        assert consumer.is_paused is (len(kafka.values) < PIECES * OF_A_PIECE)
        kafka.acknowledge()
    assert kafka.values == [b"%d" % number for number in range(PIECES * OF_A_PIECE)]
    assert kafka.most < OUTPUTS_MAX + 2 * OF_A_PIECE
    assert (consumer.position, owner.next_offset, owner.state) == (1, 1, State.RUNNING)
    await owner.give_up()
    assert failures == []
