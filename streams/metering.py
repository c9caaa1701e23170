"""Quotas and rates put to work on a `Step`: what a Start meets, what told usage leads to, what an operator orders.

The rules themselves: `quotas`, `rates`. A quota that is spent acts once on the sessions that are open, and on each new Start until its
window closes. A session that cannot be disconnected is not ordered to go again and again. What a whole group uses the group agent adds up:
it is told of here, and what it says of it is in `group_meters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from schemas.codec import COUNTER_MAX, decoder
from schemas.event import EventType, RecordRef
from schemas.journal import QuotaOrder
from schemas.policy import Quota, Rate
from schemas.session import SessionRow
from streams import disconnects, limiting, limits, quotas, rates
from streams.memberships import groups_of
from streams.rulebook import Questions
from streams.step import RecordRefused, Step
from streams.table import key_of
from streams.windows import Span

_ORDER = decoder(QuotaOrder).decode
_NO_NEWS: list[tuple[quotas.Stand, quotas.Met]] = []


def began(step: Step, row: SessionRow) -> bool:
    """A session has begun: its Start is counted, and it is held against what is spent.

    Returns:
        Whether it has to go, so that no limit need be asked.
    """
    asked = limiting.questions_of(step, row)
    if asked.rates:
        _count_start(step, row, asked)
    for group in asked.rate_groups:
        step.to_group("start", group, row.identity, key_of(row))
    if limiting.known_of(step, row).windows or step.core.row.spent:
        for stand, because in _spent(step, row):
            act(step, stand, [row], because)
    return row.kick_state in limits.IN_FLIGHT


def is_spent(step: Step, row: SessionRow, rule: str | None) -> bool:
    """Whether a session is still to go for this quota: its own or its group's window has not closed, and nothing was added to it."""
    return any(stand.quota.name == rule and stand.quota.action == "disconnect" for stand, _ in _spent(step, row))


def _spent(step: Step, row: SessionRow) -> Iterator[tuple[quotas.Stand, list[RecordRef]]]:
    """The quotas of a session that nothing is left of and that do more than report, with the records that say so."""
    asked = limiting.questions_of(step, row)
    told = [(stand, [step.ref(step.offset)]) for stand in _spent_of_user(step, row, asked.quotas)]
    if asked.group_quotas and step.core.row.spent:
        of_groups = quotas.spent_of_groups(step.core.row.spent, asked.group_quotas, now_ms(step))
        told += [(stand, [step.ref(step.offset), step.ref(offset)]) for stand, offset in of_groups]
    yield from ((stand, because) for stand, because in told if stand.quota.action != "report")


def _spent_of_user(step: Step, row: SessionRow, rules: tuple[tuple[Quota, str], ...]) -> list[quotas.Stand]:
    return list(quotas.spent(limiting.known_of(step, row), rules, now_ms(step))) if rules else []


def used(step: Step, row: SessionRow, before: quotas.Usage, since_ms: int) -> None:
    """A record told of a session's usage.

    Args:
        step: the record.
        row: the session's, its counters merged.
        before: its counters until then.
        since_ms: the arrival of the record before, or when the session began; on the clock of `step.time_ms`.
    """
    after = quotas.usage_of(row)
    if after == before:
        return
    known = limiting.known_of(step, row)
    asked = step.core.book.questions(groups_of(known, row) if row.groups else known.groups)
    grown = octets, time_ms = after[0] - before[0], after[1] - before[1]
    until_ms = now_ms(step)
    from_ms = until_ms - max(0, step.time_ms - since_ms)
    for group in asked.quota_groups:
        step.to_group("use", group, row.identity, key_of(row), octets=min(octets, COUNTER_MAX), used_ms=time_ms, over_ms=until_ms - from_ms)
    if not asked.quotas:
        return
    calendar = step.core.book.calendar
    windows, news = quotas.added(known.windows, asked.metered, calendar, grown, (from_ms, until_ms)), _NO_NEWS
    if windows is None:
        windows, news = quotas.count(known, asked.quotas, calendar, grown, Span(from_ms, until_ms))
    step.change.identities[row.identity] = replace(known, windows=windows)
    for stand, met in news:
        if met.share:
            tell(step, "quota.warning", row, stand, more=f"; {met.share} % are reached")
        if met.is_reached:
            _reached(step, row, stand)


def order(step: Step, value: bytes) -> None:
    """An operator's top-up or reset of the window that is open.

    Raises:
        RecordRefused: no such quota is in the policy.
    """
    order = _ORDER(value)
    step.time_ms = order.time_ms
    quota = next((each for each in step.core.policy.policy.quotas if each.name == order.rule), None)
    if quota is None:
        raise RecordRefused("unknown-rule", f"the policy in force has no quota named {order.rule!r}")
    if quota.applies_to == "group":
        raise RecordRefused("unknown-rule", f"the quota {order.rule!r} is a whole group's, and no user has a window of it")
    known, time_ms = step.change.identity(order.identity, step.offset), now_ms(step)
    window = quotas.window_of(known, quota, order.group, step.core.book.calendar, time_ms)
    after = quotas.ordered(quota, window, order)
    if after is not window:
        step.change.identities[order.identity] = replace(known, windows=quotas.keep(known, [after], time_ms))


def _count_start(step: Step, row: SessionRow, asked: Questions) -> None:
    known = limiting.known_of(step, row)
    recent, exceeded = rates.count(known, asked.rates, step.core.row.clock_ms)
    step.change.identities[row.identity] = replace(known, recent=recent)
    for rate, group, current in exceeded:
        text = rates.sentence(rate, group, current)
        event(step, "rate.exceeded", row, rate, group, current=current, max=rate.starts, text=text)
        if rate.action == "disconnect":
            disconnects.kick(step, row, "rate", rule=rate.name, text=text)


def _reached(step: Step, row: SessionRow, stand: quotas.Stand) -> None:
    if stand.quota.action == "report":
        tell(step, "quota.reached", row, stand)
        return
    rule = (stand.quota, stand.group)
    touched = [other for other in step.change.open_of(row.identity) if rule in limiting.questions_of(step, other).quotas]
    if not touched:
        tell(step, "quota.reached", row, stand)  # by the last session's own Stop
    act(step, stand, touched)


def act(step: Step, stand: quotas.Stand, rows: list[SessionRow], because: list[RecordRef] | None = None) -> None:
    """Tell of a spent quota, and disconnect or change these sessions."""
    because = because or [step.ref(step.offset)]
    quota, text = stand.quota, quotas.sentence(stand)
    for row in rows:
        command_id = disconnects.change(step, row, quota.coa, rule=quota.name, text=text) if quota.action == "coa" else None
        tell(step, "quota.reached", row, stand, command_id=command_id, because=because)
        if quota.action == "disconnect":
            disconnects.kick(step, row, "quota", rule=quota.name, because=because, text=text)


def tell(step: Step, event_type: EventType, row: SessionRow, stand: quotas.Stand, *, more: str = "", **fields: Any) -> None:
    """Tell how a window stands, on a session."""
    quota, window = stand.quota, stand.window
    unit = quotas.unit(quota)
    figures = {"current": window.used // unit, "max": quotas.most(quota, window) // unit}
    event(step, event_type, row, quota, stand.group, text=quotas.sentence(stand) + more, **figures, **fields)


def event(step: Step, event_type: EventType, row: SessionRow, rule: Quota | Rate, group: str, **figures: Any) -> None:
    """Tell of a quota or a rate, on a session."""
    version = step.core.policy.version
    step.event(event_type, row, rule=rule.name, scope=rule.applies_to, group=group or None, policy_version=version, **figures)


def now_ms(step: Step) -> int:
    """The log's time for the calendar: the leading ingest's wall clock at its last tick."""
    return step.core.row.wall_ms or step.time_ms
