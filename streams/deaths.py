"""What follows when a session's deadline is over (behaviours 3.3, 3.7). When that is, `liveness` says."""

from __future__ import annotations

from schemas.session import SessionRow
from streams import claims, disconnects, ends
from streams.step import Step


def die(step: Step, row: SessionRow, clock_ms: int) -> None:
    """A session's deadline is over: it is dead, its slot is free, and it goes from the NAS too (behaviour 3.7)."""
    if not claims.may_die(step, row):
        return
    text = f"silent for {(clock_ms - row.heard_ms) // 1000} s while {row.nas} was talking"
    step.event("session.stale", row, text=text)
    ends.end(step, row, "stale", cause=None, ended_ms=row.event_ms)
    disconnects.kick(step, row, "stale", text=text)
