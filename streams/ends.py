"""How a session ends in the table, whoever says so (behaviour 2.7), and how it leaves it when its grace is over."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.event import SaidBy
from schemas.session import IdentityRow, PartitionRow, SessionRow
from streams import disconnects
from streams.step import Step
from streams.table import key_of


def end(step: Step, row: SessionRow, said_by: SaidBy, *, cause: str | None, ended_ms: int) -> None:
    """Close an open session.

    Args:
        step: the record that ends it.
        row: the session's, changed in place.
        said_by: who says so.
        cause: Acct-Terminate-Cause by name, or ours.
        ended_ms: when, milliseconds since the epoch.
    """
    row.state, row.said_by, row.cause, row.ended_ms = "ended", said_by, cause, ended_ms
    row.closed_ms = step.core.row.clock_ms
    step.event("session.ended", row)
    if said_by != "stale":  # our own conclusion proves nothing to the kicker
        disconnects.notice_if_kicked(step, row)


def move(step: Step, row: SessionRow, identity: str) -> None:
    """Close a session that goes on under another identity, in another partition: no death, nobody is kicked by it (behaviour 2.10)."""
    row.state, row.said_by, row.cause, row.ended_ms = "ended", "moved", None, row.event_ms
    row.closed_ms = step.core.row.clock_ms
    step.event("session.moved", row, text=f"now known as {identity}")


def purge(step: Step, row: SessionRow) -> None:
    """A closed session's grace is over; an identity with no session and no hold left goes with its last one."""
    step.change.put(key_of(row), None)
    forget_identity(step, row.identity, 1)


def forget_identity(step: Step, identity: str, going: int) -> None:
    """Let go of an identity's row where so many of its sessions go and no other is left."""
    if step.core.table.sessions_of(identity) > going:
        return
    known = step.change.identity(identity, step.offset)
    left_ms = kept_for_ms(known, step.core.row)
    if left_ms is None:
        return
    lingers_ms = step.core.row.clock_ms + left_ms
    step.change.identities[identity] = replace(known, lingers_ms=lingers_ms) if left_ms > 0 else None


def let_go(step: Step, identity: str) -> None:
    """An identity has lingered for as long as what was kept of it mattered; it goes unless it has sessions again."""
    step.change.identities[identity] = replace(step.change.identity(identity, step.offset), lingers_ms=-1)
    forget_identity(step, identity, 0)


def kept_for_ms(known: IdentityRow, partition: PartitionRow) -> int | None:
    """How long an identity without sessions is still to be remembered: None for good (an operator gave it groups), 0 not at all.

    Holds, rates and promises are on the partition's clock, windows on the log's wall clock.
    """
    if known.groups:
        return None
    lasting = [hold.until_ms - partition.clock_ms for hold in known.holds]
    lasting += [window.until_ms - partition.wall_ms for window in known.windows if window.used or window.extra]
    lasting += [recent.until_ms - partition.clock_ms for recent in known.recent]
    lasting += [promised.until_ms - partition.clock_ms for promised in known.promises]
    return max(0, *lasting, 0)
