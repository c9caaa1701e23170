"""What follows when a session's deadline is over: it is missed, it is asked, in the end it is dead (behaviours 3.1 to 3.3, 3.7).

When that is, `liveness` says.
"""

from __future__ import annotations

from schemas.policy import Liveness
from schemas.session import SessionRow
from streams import claims, disconnects, ends, liveness, probes
from streams.step import Step

ANSWER_WITHIN_MS = 3_000
"""So long, on the partition's clock, has a probe to be answered before the next step; less where the rule's period is shorter."""


def overdue(step: Step, row: SessionRow, clock_ms: int) -> None:
    """A session's deadline is over.

    A talking clock goes forward in steps where a NAS talks seldom, and may pass several deadlines at once. Where the rule has probes each
    is a step of its own, at a tick of its own, so that what was asked can be answered.

    Args:
        step: the tick.
        row: the session's, changed in place.
        clock_ms: its NAS's talking clock.
    """
    rule = step.core.rule_of(row.nas)
    watched = liveness.watch(rule, row)
    if rule is None or watched is None:
        return
    if row.probes and rule.probe == "arp" and step.core.row.clock_ms - row.probed_ms < min(watched.period_ms, ANSWER_WITHIN_MS):
        return
    silent_ms = clock_ms - liveness.alive_ms(watched, row)
    silent_s = silent_ms // 1000
    if row.probes + 1 < watched.times and (rule.probe == "arp" or silent_ms < watched.times * watched.period_ms):
        _miss(step, row, rule, silent_s)
    else:
        _die(step, row, rule, silent_s)


def _miss(step: Step, row: SessionRow, rule: Liveness, silent_s: int) -> None:
    row.probes += 1
    row.probed_ms = step.core.row.clock_ms
    is_asked = rule.probe == "arp" and probes.ask(step, row, rule)
    if row.state != "suspect":
        row.state = "suspect"
        asked = "; it is asked" if is_asked else ""
        step.event("session.suspect", row, text=f"no sign of life for {silent_s} s while {row.nas} was talking{asked}")


def _die(step: Step, row: SessionRow, rule: Liveness, silent_s: int) -> None:
    """It is dead, its slot is free, and it goes from the NAS too, so that no one can take over its address."""
    if not claims.may_die(step, row):
        return
    text = f"silent for {silent_s} s while {row.nas} was talking"
    step.event("session.stale", row, rule=rule.rule, text=text)
    ends.end(step, row, "stale", cause=None, ended_ms=liveness.alive_at_ms(rule, row))
    disconnects.kick(step, row, "stale", text=text)
