"""Limits put to work: who is asked for when a session begins, what follows from a breach, and what a new policy does to those who are in.

The rules themselves: `limits`. The order of questions (behaviour 4.1) is the user's limits, those of the user in each group, those of whole
groups, those of guest types. The first two and the last are decided here; where groups have limits, the session takes its slots
(`group_slots`) and the last are asked when the group agent has granted all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from schemas.event import RecordRef
from schemas.journal import PolicyVersion
from schemas.policy import Limit, Policy
from schemas.session import Hold, IdentityRow, SessionRow
from streams import disconnects, limits
from streams.limits import Breach, Verdict
from streams.memberships import groups_of
from streams.rulebook import Asked, Questions
from streams.step import Step

HOLDS_MAX = 32
BECAUSE_MAX = 20

_NOTHING = Verdict(None, [], [])


def known_of(step: Step, row: SessionRow) -> IdentityRow:
    """The row of a session's identity."""
    return step.change.identity(row.identity, step.offset)


def questions_of(step: Step, row: SessionRow) -> Questions:
    """The rules that touch a session."""
    known = step.change.identity(row.identity, step.offset)
    return step.core.book.questions(groups_of(known, row) if row.groups else known.groups)


def others_of(step: Step, row: SessionRow) -> list[SessionRow]:
    """The identity's other sessions that count."""
    return [other for other in step.change.open_of(row.identity) if other is not row and limits.counts(other)]


def verdict(step: Step, row: SessionRow) -> Verdict:
    """Ask the limits for a session that has begun, up to those of whole groups where it has to wait for these."""
    asked = questions_of(step, row)
    if asked.alone is not None and not others_of(step, row):
        return Verdict(None, [], list(asked.alone))
    return _decide(step, row, asked.here)


def follow(step: Step, row: SessionRow, found: Verdict) -> None:
    """Carry out what `verdict` found: tell of breaches, order who has to go, and ask the groups if the session itself stays."""
    asked = questions_of(step, row)
    if not _stays(step, row, asked.here, found) or not asked.slots:
        return
    row.asked, row.verdicts = asked.slots, ()
    row.slots = tuple(group for group in row.slots if group not in asked.slots)  # one that held without asking asks now


def groups_passed(step: Step, row: SessionRow, passed: list[str]) -> None:
    """All groups have granted the session its slots: the limits of guest types are asked, and the live log is told what was passed."""
    last = questions_of(step, row).last
    found = _decide(step, row, last)
    step.event("session.updated", row, passed=[*passed, *found.passed])
    _stays(step, row, last, found)


def breached(
    step: Step, row: SessionRow, asked: Asked, *, current: int, most: int, text: str, because: list[RecordRef], **more: Any
) -> None:
    """Tell of a breach, with the sentence and the records that it rests on."""
    step.event(
        "limit.breached",
        row,
        because=because,
        rule=asked.limit.name,
        scope=asked.limit.applies_to,
        current=current,
        max=most,
        policy_version=step.core.policy.version,
        text=text,
        group=asked.group or None,
        **more,
    )


def evict(step: Step, victims: Iterable[SessionRow], limit: Limit, because: list[RecordRef], text: str) -> None:
    """Order the disconnect of whom a limit takes; their devices evict nobody in turn for a while (behaviour 4.4)."""
    for victim in victims:
        again = victim.kick_state is None and victim.kick_rule == limit.name  # decided anew: the command before came too late
        attempt = victim.kick_attempt + 1 if again else 1
        disconnects.kick(step, victim, "limit", rule=limit.name, because=because, text=text, attempt=attempt)
        if limit.hold_s and victim.device is not None:
            _hold(step, victim, limit.name, limit.hold_s)


def still_over(step: Step, row: SessionRow, rule: str | None) -> bool:
    """Whether a session that was to go for a limit of one user still has to."""
    asked = questions_of(step, row)
    found = next((each for each in (*asked.first, *asked.last) if each.limit.name == rule and limits.acts(each.limit)), None)
    if found is None:
        return False
    return limits.still_over(_scene(step, row), found, row, others_of(step, row))


def enforced_by(before: Policy, after: Policy) -> frozenset[str]:
    """The limits that a new policy enforces on those who are over them already, by name: they are new or otherwise than they were."""
    known = set(before.limits)
    return frozenset(limit.name for limit in after.limits if limit.on_change == "enforce" and limits.acts(limit) and limit not in known)


def concerned_from(before: Policy, after: Policy) -> int | None:
    """With how many open sessions of its own an identity is one that a new policy may concern at once; None: it concerns nobody.

    All of them where slots of groups move; where limits are enforced those who have more sessions than the least of these allows, since
    whoever has fewer is over none.
    """
    groups = [[limit for limit in policy.limits if limit.applies_to == "group"] for policy in (before, after)]
    if groups[0] != groups[1]:
        return 1
    enforced = enforced_by(before, after)
    return min(limit.max_sessions for limit in after.limits if limit.name in enforced) + 1 if enforced else None


def sweep(step: Step, identity: str, enforced: frozenset[str], version: PolicyVersion) -> None:
    """Put a new policy's limits to those of an identity who are over them. Slots of groups follow by themselves (`group_slots.settle`)."""
    known = step.change.identity(identity, step.offset)
    done: set[tuple[str, str]] = set()  # each once: who goes leaves nobody over it, and an account may have thousands of sessions
    for row in step.change.open_of(identity):
        if not limits.counts(row):
            continue
        asked = questions_of(step, row)
        for each in (*asked.first, *asked.last):
            if each.limit.name in enforced and (each.limit.name, each.group) not in done:
                done.add((each.limit.name, each.group))
                _enforce(step, each, limits.Scene(step.core.book, known, step.core.row.clock_ms), version)


def _enforce(step: Step, asked: Asked, scene: limits.Scene, version: PolicyVersion) -> None:
    rows = [row for row in step.change.open_of(scene.known.identity) if limits.counts(row)]
    counted = [row for row in rows if limits.counts_in(scene, asked, row)]
    going = limits.surplus(asked, counted)
    if not going:
        return
    current = limits.slots_taken(asked.limit, counted)
    text = f"{limits.breach_text(asked, current, asked.limit.max_sessions)}; the rule came with policy version {version.version}"
    because = [step.ref(step.offset), *(step.ref(row.opened_offset) for row in counted[:BECAUSE_MAX])]
    for row in going:
        breached(step, row, asked, current=current, most=asked.limit.max_sessions, text=text, because=because)
    evict(step, going, asked.limit, because, text)


def _decide(step: Step, row: SessionRow, questions: tuple[Asked, ...]) -> Verdict:
    return limits.decide(_scene(step, row), questions, row, others_of(step, row)) if questions else _NOTHING


def _stays(step: Step, row: SessionRow, questions: tuple[Asked, ...], found: Verdict) -> bool:
    """Carry out a verdict; where another one goes in the newcomer's place, the limits behind that one are asked too.

    Returns:
        Whether the newcomer stays.
    """
    while True:
        for reported in found.reported:
            _tell(step, row, reported)
            row.breached = (*row.breached, reported.asked.limit.name)
        if (breach := found.breach) is None:
            return True
        evict(step, breach.victims, breach.asked.limit, _tell(step, row, breach), breach.text)
        if any(victim is row for victim in breach.victims):
            return False
        questions = questions[questions.index(breach.asked) + 1 :]
        found = _decide(step, row, questions)


def _scene(step: Step, row: SessionRow) -> limits.Scene:
    return limits.Scene(step.core.book, known_of(step, row), step.core.row.clock_ms)


def _tell(step: Step, row: SessionRow, breach: Breach) -> list[RecordRef]:
    because = [step.ref(step.offset), *(step.ref(other.opened_offset) for other in breach.counted[:BECAUSE_MAX])]
    most = breach.asked.limit.max_sessions
    breached(step, row, breach.asked, current=breach.current, most=most, text=breach.text, because=because)
    return because


def _hold(step: Step, victim: SessionRow, rule: str, hold_s: int) -> None:
    identity = known_of(step, victim)
    now_ms = step.core.row.clock_ms
    live = [h for h in identity.holds if h.until_ms > now_ms and (h.device, h.rule) != (victim.device, rule)]
    held = (*live, Hold(victim.device or "", rule, now_ms + hold_s * 1000))[-HOLDS_MAX:]
    step.change.identities[victim.identity] = replace(identity, holds=held)
