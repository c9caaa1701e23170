"""What comes back into the journal from outside about one session: a kicker's result, an operator's order."""

from __future__ import annotations

from schemas.codec import decoder
from schemas.disconnect import DisconnectResult, Reason
from schemas.event import EventType
from schemas.journal import OperatorCommand
from schemas.session import KickState, SessionRow
from schemas.topics import session_key
from streams import disconnects, ends, group_slots, limiting, limits, merge, metering
from streams.step import Step

DISCONNECT_ATTEMPTS_MAX = 3
"""So often is a command that came too late decided anew."""

_RESULT = decoder(DisconnectResult).decode
_OPERATOR = decoder(OperatorCommand).decode
_OUTCOMES: dict[str, tuple[KickState, EventType]] = {
    "acknowledged": ("acknowledged", "disconnect.acknowledged"),
    "confirmed": ("confirmed", "disconnect.confirmed"),
    "gone": ("confirmed", "disconnect.confirmed"),
    "refused": ("refused", "disconnect.refused"),
    "unknown-nas": ("refused", "disconnect.refused"),
    "no-secret": ("refused", "disconnect.refused"),
    "unsupported": ("refused", "disconnect.refused"),
    "expired": ("refused", "disconnect.refused"),
    "superseded": ("refused", "disconnect.refused"),
    "unanswered": ("unanswered", "disconnect.unanswered"),
    "unconfirmed": ("unconfirmed", "disconnect.unconfirmed"),
}


def result(step: Step, value: bytes) -> None:
    """A kicker's result: what became of a command."""
    result = _RESULT(value)
    step.time_ms = result.time_ms
    row = step.change.session(session_key(result.nas, merge.text_key(result.acct_session_id)))
    if row is None or row.kick_id != result.command_id:
        return  # its session is out of the table, or has another command by now
    if row.kick_state not in limits.IN_FLIGHT or (row.kick_state == result.outcome == "acknowledged"):
        return  # a repeat
    if result.outcome == "expired" and _decided_anew(step, row):
        return
    row.kick_state, event_type = _OUTCOMES[result.outcome]
    if result.outcome == "acknowledged":
        row.kick_clock_ms = step.core.row.clock_ms
    if result.outcome == "gone" and row.state != "ended":
        ends.end(step, row, "kicked", cause=result.error_cause_name, ended_ms=row.event_ms)
    step.event(event_type, row, command_id=result.command_id, cause=result.error_cause_name or result.outcome, text=result.detail or None)


def operator(step: Step, value: bytes) -> None:
    """An order about one session: a person wants it disconnected (behaviour 5.8), or its user has logged out (5.6)."""
    order = _OPERATOR(value)
    step.time_ms = order.time_ms
    row = step.change.session(session_key(order.nas, merge.text_key(order.acct_session_id)))
    if row is not None and row.operator_id == order.id:
        return  # the same order again
    refusal = _refusal_of(step, order, row)
    if row is None:
        row = SessionRow(order.nas, order.acct_session_id, order.identity, "ended")
    row.operator_id = order.id
    if refusal is None and order.op == "logout":
        ends.end(step, row, "user-logout", cause="User-Request", ended_ms=max(row.event_ms, order.time_ms))
        return
    if refusal is None:
        disconnects.kick(step, row, order.reason, because=[step.ref(step.offset)], who=order.who, text=order.text)
        return
    if order.op == "kick":  # a logout of who is gone already asks for nothing
        step.event("disconnect.refused", row, cause=refusal, text=f"order {order.id} by {order.who or 'unknown'}: {refusal}")
    ends.forget_identity(step, row.identity, 0)


def _refusal_of(step: Step, order: OperatorCommand, row: SessionRow | None) -> str | None:
    if row is None or row.state == "ended":
        return "no open session"
    if row.kick_state in limits.IN_FLIGHT and order.op == "kick":
        return "a disconnect is under way"
    return "expired" if step.core.row.wall_ms > order.expires_ms else None


def _decided_anew(step: Step, row: SessionRow) -> bool:
    """The kicker came too late for the command; now that the journal is caught up with, is it still right? Then with a new attempt."""
    if row.kick_attempt >= DISCONNECT_ATTEMPTS_MAX or row.kick_reason in (None, "operator", "self-service"):
        return False
    rule, reason = row.kick_rule, row.kick_reason
    if reason == "limit" and group_slots.ask_again(step, row, rule):
        return True
    if not _is_still_right(step, row, reason, rule):
        return False
    row.kick_state = None
    disconnects.kick(step, row, reason, rule=rule, text="the command before came too late for the kicker", attempt=row.kick_attempt + 1)
    return True


def _is_still_right(step: Step, row: SessionRow, reason: Reason, rule: str | None) -> bool:
    """Whether a session that was to go for this reason still has to: it runs and is still over, or it is dead and was not heard since."""
    if row.state == "ended" or reason == "stale":
        return reason == row.said_by == "stale"
    if reason == "limit":
        return limiting.still_over(step, row, rule)
    if reason == "quota":
        return metering.is_spent(step, row, rule)
    return reason in ("rate", "session-timeout")  # an idle one is found again by its deadline
