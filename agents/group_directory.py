"""How groups stand, for people's questions: `group.table` read to the end and counted as the group agent counts.

What a slot means is not decided here: the rows go into the agent's own core.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agents.kafka_client import topic_name
from agents.topic_reader import reading
from schemas.codec import UNREADABLE
from schemas.configuration import Configuration
from schemas.group import GroupRow, SlotRow, Standing
from schemas.journal import PolicyVersion
from schemas.topics import GROUPS, SLOTS, fence_key
from streams.group_core import GroupCore
from streams.partitioner import partition_of


class GroupView(NamedTuple):
    """A group as the last checkpoint has it.

    Attributes:
        standings: how each limit on it stands. rows: the sessions that hold a slot, in the order in which they began.
        known: what is kept of it beside its slots: its quotas' windows, and the drift, which should be none.
        policy: the version in force there.
    """

    standings: list[Standing]
    rows: list[SlotRow]
    known: GroupRow
    policy: PolicyVersion


class GroupViews(NamedTuple):
    """Groups by name, in the order of the alphabet, and how many rows could not be read."""

    by_name: dict[str, GroupView]
    unreadable: int


async def read_group(configuration: Configuration, group: str) -> GroupView:
    """How a group stands, also one that nobody is in.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: there is no such topic.
    """
    views = await read_groups(configuration, group)
    return views.by_name[group]


async def read_groups(configuration: Configuration, group: str | None = None) -> GroupViews:
    """How one group stands, or all that anything is kept of.

    Raises:
        KafkaUnreachableError, TopicsMissingError: as `read_group`.
    """
    count = configuration.kafka.partitions
    numbers = range(count) if group is None else [partition_of(group, count)]
    cores = {number: GroupCore(number, count, topic_name(configuration, SLOTS)) for number in numbers}
    unreadable = 0
    async with reading(configuration, GROUPS, partitions=lambda _: list(cores)) as reader:
        async for record in reader.to_end():
            try:
                if record.key != fence_key(record.partition).encode():
                    cores[record.partition].restore(record.key, record.value)
            except UNREADABLE:  # one bad row must not hide all others
                unreadable += 1
    found: dict[str, GroupView] = {}
    for core in cores.values():
        core.restored()
        found |= _views(core, {*core.table.names(), *core.table.groups} if group is None else [group])
    return GroupViews(dict(sorted(found.items())), unreadable)


def _views(core: GroupCore, groups: Iterable[str]) -> dict[str, GroupView]:
    rows: dict[str, list[SlotRow]] = {group: [] for group in groups}
    for row in map(core.table.row, core.table.rows):
        if row is not None and row.group in rows:
            rows[row.group].append(row)
    for holding in rows.values():
        holding.sort(key=lambda row: (row.order_ms, row.partition, row.offset))
    groups_known = core.table.groups
    return {group: GroupView(core.standings(group), rows[group], groups_known.get(group) or GroupRow(group), core.policy) for group in rows}
