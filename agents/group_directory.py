"""How a group stands, for people's questions: its partition of `group.table` read to the end and counted as the group agent counts.

What a slot means is not decided here: the rows go into the agent's own core.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agents.kafka_client import topic_name
from agents.topic_reader import reading
from schemas.configuration import Configuration
from schemas.group import GroupRow, SlotRow, Standing
from schemas.topics import GROUPS, SLOTS, fence_key
from streams.group_core import GroupCore
from streams.partitioner import partition_of


class GroupView(NamedTuple):
    """A group as the last checkpoint has it.

    Attributes:
        standings: how each limit on it stands. rows: the sessions that hold a slot, in the order in which they began.
        drift: slots that were found to have no session, ever: there should be none.
        policy_version: in force there. unreadable: rows that could not be read.
    """

    standings: list[Standing]
    rows: list[SlotRow]
    drift: int
    policy_version: int
    unreadable: int


async def read_group(configuration: Configuration, group: str) -> GroupView:
    """How a group stands.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: there is no such topic.
    """
    unreadable = 0
    partition = partition_of(group, configuration.kafka.partitions)
    core = GroupCore(partition, configuration.kafka.partitions, topic_name(configuration, SLOTS))
    async with reading(configuration, GROUPS, partitions=lambda _: [partition]) as reader:
        async for record in reader.to_end():
            try:
                if record.key != fence_key(partition).encode():
                    core.restore(record.key, record.value)
            except (msgspec.DecodeError, UnicodeDecodeError):  # one bad row must not hide all others
                unreadable += 1
    core.restored()
    rows = [row for row in map(core.table.row, core.table.rows) if row is not None and row.group == group]
    rows.sort(key=lambda row: (row.order_ms, row.partition, row.offset))
    known = core.table.groups.get(group) or GroupRow(group)
    return GroupView(core.standings(group), rows, known.drift, core.policy.version, unreadable)
