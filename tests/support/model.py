"""What must follow from a journal: the same step, fed the same partition from its first record, in one process that nobody kills.

No clock, no socket: (a partition's journal) -> the rows and outputs that a worker must have written, however often it died.
"""

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from schemas.topics import fence_key
from streams.group_core import GroupCore
from streams.session_core import SessionCore
from streams.step import Output
from tests.support.product import Stored

Rows = dict[str, bytes]


class Replay(NamedTuple):
    """What one partition's journal leads to: rows by key, outputs in order."""

    rows: Rows
    outputs: list[Output]


def replay(
    journal: Iterable[Stored],
    partition: int,
    partitions: int,
    journal_topic: str,
    make_core: Callable[[int, int, str], SessionCore | GroupCore] = SessionCore,
) -> Replay:
    """Apply a partition's journal from its first record."""
    core = make_core(partition, partitions, journal_topic)
    core.restored()
    outputs: list[Output] = []
    for stored in journal:
        assert stored.offset == core.next_offset, f"the journal has a hole before {stored.offset}"
        core.apply(stored.offset, stored.kind, None if stored.key is None else os.fsencode(stored.key), stored.octets, outputs)
    return Replay({key.decode(): value for key, value in core.checkpoint() if value is not None}, outputs)


def compacted(table: Iterable[Stored], partition: int) -> Rows:
    """A partition's rows as a reader of the table has them: the last one of each key, without tombstones and the fence."""
    rows = {stored.key or "": stored.octets for stored in table if stored.partition == partition}
    return {key: value for key, value in rows.items() if value is not None and key != fence_key(partition)}
