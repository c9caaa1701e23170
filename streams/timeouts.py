"""When a session's time is over, or nothing moves in it: Session-Timeout and Idle-Timeout where the NAS forgets them (behaviour 3.6).

RFC 2865 sections 5.27 to 5.29. Termination-Action 1 asks for a re-authentication when the time is over: such a session is never
disconnected for it; absent is 0. A `[[duration]]` of the policy says the same for whom it touches, whatever the NAS was told.

The login may have been let in with a Session-Timeout (`promises`); what the NAS tells itself, then or later, replaces that.

A session whose time is over is not dead: it is disconnected, and it ends by its Stop. Its time is counted on the partition's clock from
when it began, so that it ends also where the NAS says nothing in between. Idleness is told by the NAS: an Interim whose octets stand where
they stood an Idle-Timeout ago; without Interims or without octets nobody is idle.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.accounting import AccountingRecord
from schemas.session import SessionRow
from streams import disconnects, limits, memberships
from streams.rulebook import Rulebook
from streams.step import Step

NEVER = 0xFFFF_FFFF
"""As Session-Timeout or Idle-Timeout: what NASes send who mean "none"; not believed, as 0 is not."""
TERMINATE = (None, 0, "Default")
"""Termination-Action: Default (0), or absent."""
AGAIN_MS = 600_000
"""A session that is still there after its disconnect is ordered to go again, so long after the last time,"""
ORDERS_MAX = 3
"""and so often in all."""


class Time(NamedTuple):
    """How long a session may last: seconds, and the `[[duration]]` that says so; None: its Session-Timeout."""

    most_s: int
    rule: str | None


def believed(timeout_s: int | None) -> int | None:
    """A Session-Timeout or Idle-Timeout in seconds, if it means one."""
    return timeout_s if timeout_s is not None and 0 < timeout_s < NEVER else None


def take(row: SessionRow, record: AccountingRecord) -> None:
    """Put what a record says of timeouts into the session's row; values that are not believed stay in the record alone."""
    row.session_timeout_s = believed(record.session_timeout_s) or row.session_timeout_s
    row.idle_timeout_s = believed(record.idle_timeout_s) or row.idle_timeout_s
    if record.termination_action is not None:
        row.termination_action = record.termination_action


def time_of(book: Rulebook, groups: tuple[str, ...], row: SessionRow) -> Time | None:
    """The time that a session in these groups has, the shortest of all that say so; None: as long as it likes."""
    durations = book.questions(groups).durations
    if not durations and row.session_timeout_s is None:
        return None  # as nearly everybody
    times = [Time(duration.max_s, duration.name) for duration, _ in durations]
    if row.session_timeout_s is not None and row.termination_action in TERMINATE:
        times.append(Time(row.session_timeout_s, None))
    return min(times, key=lambda time: time.most_s, default=None)


def due_ms(book: Rulebook, groups: tuple[str, ...], row: SessionRow) -> int | None:
    """When an open session is ordered to go because its time is over, on the partition's clock; None: never, or not again."""
    if row.state == "ended" or row.timeouts >= ORDERS_MAX:
        return None
    time = time_of(book, groups, row)
    return None if time is None else row.opened_clock_ms + 1000 * time.most_s + row.timeouts * AGAIN_MS


def over(step: Step, row: SessionRow) -> None:
    """A session's time is over: it has to go. One whose disconnect is under way goes anyhow."""
    groups = memberships.groups_of(step.change.identity(row.identity, step.offset), row)
    time = time_of(step.core.book, groups, row)
    if time is None:
        return
    row.timeouts += 1
    if row.kick_state in limits.IN_FLIGHT:
        return
    what = "its Session-Timeout" if time.rule is None else f'duration "{time.rule}"'
    disconnects.kick(step, row, "session-timeout", rule=time.rule, text=f"{what} of {time.most_s} s is over")


def idle(step: Step, row: SessionRow, heard_ms: int) -> None:
    """An Interim said that no octets moved; if none did for its Idle-Timeout, the session has to go.

    Args:
        step: the Interim.
        row: the session's, the Interim merged.
        heard_ms: the NAS's talking clock now.
    """
    idle_s = (heard_ms - row.moved_ms) // 1000
    if row.idle_timeout_s is not None and row.input_octets is not None and idle_s >= row.idle_timeout_s and row.counts:
        disconnects.kick(step, row, "idle", text=f"no octets moved for {idle_s} s, its Idle-Timeout is {row.idle_timeout_s} s")
