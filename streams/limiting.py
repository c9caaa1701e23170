"""Limits put to work: who is asked for when a session begins, and what follows from a breach. The rules themselves: `limits`."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.session import Hold, SessionRow
from streams import disconnects, limits
from streams.step import Step

HOLDS_MAX = 32
BECAUSE_MAX = 20


def verdict(step: Step, row: SessionRow) -> limits.Verdict:
    """Ask the limits for a session that has begun."""
    policy = step.core.policy.policy
    if not policy.limits:
        return limits.Verdict(None, [])
    others = [other for other in step.change.open_of(row.identity) if other is not row and limits.counts(other)]
    holds = step.change.identity(row.identity, step.offset).holds
    return limits.decide(policy.limits, row, others, holds, step.core.row.clock_ms)


def breach(step: Step, row: SessionRow, breach: limits.Breach | None) -> None:
    """Tell of a breach and order what follows from it; None: there is none."""
    if breach is None:
        return
    limit = breach.limit
    others = [o.opened_offset for o in step.change.open_of(row.identity) if o is not row and limits.counts(o)]
    because = [step.ref(step.offset), *map(step.ref, others[:BECAUSE_MAX])]
    step.event(
        "limit.breached",
        row,
        because=because,
        rule=limit.name,
        scope=limit.applies_to,
        current=breach.current,
        max=limit.max_sessions,
        policy_version=step.core.policy.version,
        text=breach.text,
    )
    for victim in breach.victims:
        disconnects.kick(step, victim, "limit", rule=limit.name, because=because, text=breach.text)
        if limit.hold_s and victim.device is not None:
            _hold(step, victim, limit.name, limit.hold_s)


def _hold(step: Step, victim: SessionRow, rule: str, hold_s: int) -> None:
    identity = step.change.identity(victim.identity, step.offset)
    now_ms = step.core.row.clock_ms
    live = [h for h in identity.holds if h.until_ms > now_ms and (h.device, h.rule) != (victim.device, rule)]
    held = (*live, Hold(victim.device or "", rule, now_ms + hold_s * 1000))[-HOLDS_MAX:]
    step.change.identities[victim.identity] = replace(identity, holds=held)
