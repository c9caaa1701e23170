"""What session agents and the group agent say to each other, and the rows of `group.table`.

A session agent writes `SlotMessage` into `group.slots` (kind `slot`, key and partition by the group's name); the group agent answers with
`GroupVerdict` in `radius.accounting` (kind `verdict`, key and partition by the identity). A session has one slot in each of its groups, and
each `[[limit]]` on that group counts slots in its own way; which limits there are the group agent knows from the policy in force in its own
partition, so a message names none. Likewise with the usage and the Starts that its quotas and rates add up.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codec import Counter, Whole, encode
from schemas.event import RecordRef
from schemas.session import Recent, RowKind, Window

SLOT_KIND = "slot"
VERDICT_KIND = "verdict"


class SlotMessage(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A session takes or frees its slot in a group, or adds to what the group has used (`group.slots`).

    (`partition`, `offset`, `nth`) is where it came from. It grows from message to message of one source; what is not higher than the
    highest seen of that source partition is a repeat after a crash and ignored.

    Attributes:
        op: `take`: may this session have a slot? Answered by a verdict. `hold`: it has one, whatever the limits say (it was there before
            the rule, or its disconnect failed); not answered. `free`: it has ended, or is being disconnected. `gone`: as `free`, in answer
            to a `check`: the session agent does not have it. `use`: a record told of usage, for the group's quotas. `start`: it has
            begun, for the group's rates.
        group: the group's name.
        identity: whose session.
        session: its key in `session.table` (`s:` NAS/session).
        partition: the source: partition of `radius.accounting`.
        offset: the record that led to it.
        nth: grows within that record.
        time_ms: the log's time there.
        device: its MAC in the table's notation; None: it counts as itself.
        order_ms: its place among others, as in its row.
        age_ms: how long ago it began, on the source partition's clock: for counter time limits.
        groups: all groups of the identity, and its guest types as `guest:NAME`: for a limit's `except`.
        held: limits that evicted this device a moment ago: it evicts nobody in turn (behaviour 4.4).
        frees: sessions of this identity that leave the group first, in the same stroke, so that nobody else gets their slots.
        because: the records that it rests on, beside its own.
        stays: for a hold: its disconnect failed, so no limit chooses it again.
        octets, used_ms: for a use: by how much the session's counters grew, octets of both directions and session time.
        over_ms: and over how long: between the arrivals of the two records that tell of it.
    """

    op: Literal["take", "hold", "free", "gone", "use", "start"]
    group: str
    identity: str
    session: str
    partition: Whole
    offset: Whole
    nth: Whole
    time_ms: Whole
    device: str | None = None
    order_ms: Whole = 0
    age_ms: Whole = 0
    groups: list[str] = []
    held: list[str] = []
    frees: list[str] = []
    because: list[RecordRef] = []
    stays: bool = False
    octets: Counter = 0
    used_ms: Whole = 0
    over_ms: Whole = 0


class Standing(msgspec.Struct, frozen=True):
    """How a limit stood when it was asked: `current` slots without the newcomer, `max` allowed."""

    limit: str
    current: Whole
    max: Whole


class GroupVerdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the group agent says to a session agent (kind `verdict` in `radius.accounting`).

    Attributes:
        id: the same however often it is delivered: `g`, then the partition, offset and n-th of the record in `group.slots`, and identity.
        op: `answer` to a take. `evict`: the session has lost its slot to a newcomer (`victim_scope = "group"`) or to a stricter rule, and
            has to go. `check`: does the partition still have these `sessions` open in this group? Those it has not it answers by `gone`.
            `spent`: nothing is left of a quota of the group, written into every partition. `warned`: a share of it is reached.
            `exceeded`: the session is one Start too many for a rate of the group. `freed`: an operator's order has left something of a
            quota that was spent, written into every partition.
        group: the group's name.
        identity: whose session; for a check, whose is the first of the sessions; for a quota, whose usage it was that led to it, empty
            where an order was.
        session: its key in `session.table`; for a check, the first one's; empty where an order led to it.
        granted: for an answer: it has its slot. A refused take holds nothing.
        limit: the limit that refuses or evicts; with `current` slots (without the newcomer) of `max` allowed. Or the quota, with octets or
            seconds; or the rate, with Starts before this one.
        reported: limits that only report (`action = "report"`, `victim = "none"`) and were breached: they refuse nothing.
        passed: limits that it passed.
        offset: of the record that led to the take, in the partition that this verdict is in; with `nth`, it names the message answered.
        nth: as in the message.
        sessions: for a check: (identity, key in `session.table`) of each.
        policy_version: in force in the group's partition of `group.slots`.
        time_ms: the log's time of the message.
        expires_ms: later than that it is old news: the session agent decides anew (asks again; holds again what was to be evicted).
        because: the record in `group.slots` and what it rested on; then, where a limit was breached, the records in `group.slots` of the
            sessions that it counted, if these are few.
        text: the sentence with the figures.
        until_ms: for a quota that is spent: when its window closes, milliseconds since the epoch.
        extra: for a quota that is spent: octets or seconds that an operator gave on top.
    """

    id: str
    op: Literal["answer", "evict", "check", "spent", "warned", "exceeded", "freed"]
    group: str
    identity: str
    session: str
    granted: bool = False
    limit: str | None = None
    current: Counter | None = None
    max: Counter | None = None
    reported: list[Standing] = []
    passed: list[Standing] = []
    offset: Whole | None = None
    nth: Whole | None = None
    sessions: list[tuple[str, str]] = []
    policy_version: Whole = 0
    time_ms: Whole
    expires_ms: Whole
    because: list[RecordRef] = []
    text: str | None = None
    until_ms: Whole = 0
    extra: Counter = 0


class SlotRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A session that holds a slot in a group (`s:`).

    Attributes:
        group: the group's name. identity, session: whose, and its key in `session.table`.
        device: its MAC in the table's notation.
        order_ms: its place among others, as in the session's row.
        began_ms: when it began, on this partition's clock.
        groups: all groups of the identity, and its guest types as `guest:NAME`.
        breached: limits that it breached and that only report: it never enters their counts.
        stays: its disconnect failed: no limit chooses it again.
        heard_ms: this partition's clock when it was last heard of or asked for.
        partition, offset: the record of `radius.accounting` that led to it.
        slot_offset: and that of `group.slots`, in this partition; -1: a version before this one did not keep it.
    """

    group: str
    identity: str
    session: str
    device: str | None = None
    order_ms: int = 0
    began_ms: int = 0
    groups: tuple[str, ...] = ()
    breached: tuple[str, ...] = ()
    stays: bool = False
    heard_ms: int = 0
    partition: int = 0
    offset: int = 0
    slot_offset: int = -1


class GroupRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept of a group beside its slots (`g:`).

    Attributes:
        drift: slots that were found to have no session: there should be none. drift_ms: when one was found last, milliseconds since the
            epoch.
        enforcing: limits that a newer policy made stricter (`on_change = "enforce"`) and that still have to be brought down.
        windows: usage of the quotas on it. recent: Starts of the rates on it. As in an identity's row.
    """

    group: str
    drift: int = 0
    enforcing: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    recent: tuple[Recent, ...] = ()
    drift_ms: int = 0


class SourcesRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How far a partition of `group.slots` has heard the session agents (`p:` N `/sources`).

    Attributes:
        seen: by partition of `radius.accounting`: (offset, nth) of the last message taken; (-1, -1) for none.
    """

    partition: int
    seen: tuple[tuple[int, int], ...] = ()


SLOT_ROW = RowKind(SlotRow)
GROUP_ROW = RowKind(GroupRow)
SOURCES_ROW = RowKind(SourcesRow)


def slot_key(group: str, identity: str, session: str) -> str:
    """The key of a slot's row in `group.table`: the three as a JSON array, since a name may hold any sign."""
    return "s:" + encode((group, identity, session)).decode()


def group_key(group: str) -> str:
    """The key of a group's own row in `group.table`."""
    return f"g:{group}"


def sources_key(partition: int) -> str:
    """The key of what a partition has heard of the session agents (the group agent's own row)."""
    return f"p:{partition}/sources"
