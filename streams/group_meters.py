"""What the group agent's verdicts on quotas and rates lead to in a partition of sessions (behaviours 4.6, 4.7).

Theory of operation. The session agents tell the group agent what is used and what begins (`metering`); it adds up (`group_usage`) and says
to every partition, once, that a quota is spent. Each acts on its own sessions of that group, and remembers it in the partition's row, for
each Start of a member, until the window closes or an operator has given more (`freed`). What is told once (a warning, a quota that only
reports, a rate) is told on the session that led to it, in the partition of its identity.
"""

from __future__ import annotations

from schemas.codec import decoder
from schemas.event import EventType
from schemas.group import GroupVerdict
from schemas.policy import Quota, Rate
from schemas.session import PartitionRow, SessionRow, Spent
from streams import disconnects, ends, group_slots, limiting, metering, quotas
from streams.partitioner import partition_of
from streams.step import Step

SPENT_MAX = 500
"""So many spent quotas of groups a partition remembers: those told of last."""

_VERDICT = decoder(GroupVerdict).decode


def verdict(step: Step, value: bytes) -> None:
    """The group agent's word."""
    said = _VERDICT(value)
    if said.op == "spent":
        _spent(step, said)
    elif said.op == "freed":
        step.spent = Spent(said.limit or "", said.group, 0, 0, step.offset)  # a window that has closed: nothing is spent any more
    elif said.op == "warned":
        quota = _quota(step, said.limit)
        if quota is not None:
            _tell(step, "quota.warning", said, quota)
    elif said.op == "exceeded":
        _exceeded(step, said)
    else:
        group_slots.verdict(step, said)


def sweep(step: Step, identity: str, spent: Spent) -> None:
    """Act on an identity's sessions of a group whose quota is spent."""
    quota = _quota(step, spent.rule)
    if quota is None or quota.action == "report":
        return
    touched = [row for row in step.change.open_of(identity) if _is_touched(step, row, quota, spent.group)]
    metering.act(step, quotas.stand_of(quota, spent), touched)


def kept(partition: PartitionRow, spent: Spent | None = None) -> tuple[Spent, ...]:
    """The quotas of groups that are spent, with this one among them; those whose windows have closed go."""
    others = [each for each in partition.spent if spent is None or (each.rule, each.group) != (spent.rule, spent.group)]
    return tuple(each for each in (*others, *([] if spent is None else [spent])) if partition.wall_ms < each.until_ms)[-SPENT_MAX:]


def _spent(step: Step, said: GroupVerdict) -> None:
    if metering.now_ms(step) >= said.until_ms or said.limit is None:
        return  # its window has closed meanwhile
    step.spent = Spent(said.limit, said.group, said.until_ms, said.current or 0, step.offset, said.extra)
    quota = _quota(step, said.limit)
    if quota is None or partition_of(said.identity, step.core.partitions) != step.core.partition:
        return
    row = step.change.session(said.session)
    if quota.action == "report" or row is None or not _is_touched(step, row, quota, said.group):
        _tell(step, "quota.reached", said, quota)  # else the sweep tells it on the session, with all others of the group


def _exceeded(step: Step, said: GroupVerdict) -> None:
    rate = next((rate for rate in step.core.policy.policy.rates if rate.name == said.limit), None)
    if rate is None:
        return
    row = _tell(step, "rate.exceeded", said, rate)
    is_late = step.core.row.wall_ms > said.expires_ms
    if rate.action == "disconnect" and row.state != "ended" and not is_late:
        disconnects.kick(step, row, "rate", rule=rate.name, because=[step.ref(row.opened_offset), step.ref(step.offset)], text=said.text)


def _tell(step: Step, event_type: EventType, said: GroupVerdict, rule: Quota | Rate) -> SessionRow:
    """Tell what the group agent said on the session that led to it, also where that is out of the table by now."""
    row = step.change.session(said.session)
    if row is None or row.identity != said.identity:
        nas, _, session = said.session.removeprefix("s:").partition("/")
        row = SessionRow(nas, session, said.identity, "ended")
    figures = {"current": said.current, "max": said.max}
    metering.event(step, event_type, row, rule, said.group, text=said.text, because=[step.ref(step.offset), *said.because], **figures)
    ends.forget_identity(step, said.identity, 0)
    return row


def _is_touched(step: Step, row: SessionRow, quota: Quota, group: str) -> bool:
    return row.state != "ended" and (quota, group) in limiting.questions_of(step, row).group_quotas


def _quota(step: Step, name: str | None) -> Quota | None:
    return next((quota for quota in step.core.policy.policy.quotas if quota.name == name and quota.applies_to == "group"), None)
