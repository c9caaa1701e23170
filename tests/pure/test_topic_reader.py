"""A topic is read to its end, and then as records come: none is left out in between."""

from typing import Any, NamedTuple

from aiokafka import TopicPartition

from agents.topic_reader import TopicReader
from schemas.configuration import Configuration
from schemas.topics import TABLE

PLACES = [TopicPartition(TABLE.name, number) for number in range(2)]


class Record(NamedTuple):
    offset: int


class Consumer:
    """Two partitions of three records; two more come to each when its end was asked for."""

    def __init__(self) -> None:
        self.size = 3
        self.positions = dict.fromkeys(PLACES, 0)

    def assignment(self) -> list[TopicPartition]:
        return PLACES

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        ends = dict.fromkeys(places, self.size)
        self.size = 5
        return ends

    async def position(self, place: TopicPartition) -> int:
        return self.positions[place]

    async def getmany(self, *places: TopicPartition, **_: Any) -> dict[TopicPartition, list[Record]]:
        polled = {place: [Record(offset) for offset in range(self.positions[place], self.size)] for place in places or PLACES}
        self.positions.update(dict.fromkeys(polled, self.size))
        return polled

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.positions[place] = offset


async def test_what_came_while_a_topic_was_read_to_its_end_is_read_next() -> None:
    """7.4: rows of sessions that a checkpoint wrote meanwhile were in no projection, and before a login they were not counted."""
    reader = TopicReader(Configuration(), Consumer(), {TABLE: 2})
    assert [record.offset async for record in reader.to_end()] == [0, 1, 2, 0, 1, 2]
    then = []
    async for record in reader.as_they_come():
        if record is None:
            break
        then.append(record.offset)
    assert then == [3, 4, 3, 4]
