"""A group's verdict made again from the records that it names (behaviour 4.9). Pure: (policy, the question, who was in) -> decision.

Law of this file: counted and decided is by the group agent's own code (`group_table`, `group_limits`); here only its records are put
before it, for the one limit that it is about. Who is named was counted, so no clock is asked: no counter's time was over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from schemas.event import RecordRef
from schemas.group import GroupVerdict, SlotMessage, Standing, slot_key
from schemas.policy import Policy
from schemas.topics import SLOTS
from streams.group_limits import decide
from streams.group_table import GroupTable, row_of


class Counted(NamedTuple):
    """A session that a limit counted, and the slot that it took: its device, or itself."""

    identity: str
    session: str
    slot: str


class Recount(NamedTuple):
    """What comes out of the records.

    Attributes:
        limit: the one that was breached; None: none is by these records. counted: by it. is_same: that is what the verdict says.
    """

    limit: Standing | None
    counted: list[Counted]
    is_same: bool


def breached_by(said: GroupVerdict) -> Standing | None:
    """The limit that a verdict tells of as breached, with its figures; None: it tells of none."""
    if said.op in ("answer", "evict") and said.limit is not None:
        return Standing(said.limit, said.current or 0, said.max or 0)
    return said.reported[0] if said.op == "answer" and said.reported else None


def slot_records(said: GroupVerdict) -> tuple[RecordRef | None, list[RecordRef]]:
    """The question's record in `group.slots`, and those of the sessions that were counted, as a verdict names them."""
    named = [ref for ref in said.because if ref.topic.endswith(SLOTS.name)]
    return (named[0] if named else None), named[1:]


def recount(policy: Policy, said: GroupVerdict, asked: SlotMessage, counted: Iterable[SlotMessage]) -> Recount:
    """Decide again.

    Args:
        policy: the version that the verdict names; of its limits only the one that the verdict tells of is asked.
        said: the verdict.
        asked: the question that led to it.
        counted: by what those came in whom it counted, as many as it names.
    """
    told = breached_by(said)
    table = GroupTable()
    table.index_all(tuple(limit for limit in policy.limits if told is not None and limit.name == told.limit))
    for message in counted:
        table.store(_key(message), row_of(message, 0, message.age_ms))
    leaving = [slot_key(asked.group, asked.identity, session) for session in asked.frees]
    decision = decide(table.tallies(asked.group), table.rows, (_key(asked), row_of(asked, 0, asked.age_ms)), leaving, asked.held)
    breached = [each for each in (decision.refused, *decision.evicted.values(), *decision.reported) if each is not None]
    rows = [(key, slot, table.row(key)) for tally in table.tallies(asked.group) for key, slot in sorted(tally.slot_of.items())]
    listed = [Counted(row.identity, row.session, row.session if slot == key else row.device or "") for key, slot, row in rows if row]
    return Recount(told if told in breached else next(iter(breached), None), listed, told in breached)


def _key(message: SlotMessage) -> str:
    return slot_key(message.group, message.identity, message.session)
