"""What is sent to the kicker: the command that a session has to go, and what it must know of that session meanwhile."""

from __future__ import annotations

from typing import Any

from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, Reason, SessionNotice
from schemas.event import RecordRef
from schemas.session import DISCONNECT_FIELDS, SessionRow
from streams import limits
from streams.step import Step

_FIELD_OF = {name: "class_" if name == "class" else name for name in DISCONNECT_FIELDS}


def kick(
    step: Step,
    row: SessionRow,
    reason: Reason,
    *,
    rule: str | None = None,
    because: list[RecordRef] | None = None,
    who: str | None = None,
    text: str | None = None,
    attempt: int = 1,
) -> None:
    """Order a disconnect, unless one is under way for this session (behaviour 5.5)."""
    if row.kick_state in limits.IN_FLIGHT:
        return
    because = because if because is not None else [step.ref(row.last_offset)]
    command = _command(step, row, reason, attempt=attempt, rule=rule, because=because, who=who, text=text)
    row.kick_id, row.kick_state, row.kick_attempt, row.kick_reason, row.kick_rule = command.id, "requested", attempt, reason, rule
    version = command.policy_version
    step.event("disconnect.requested", row, command_id=command.id, because=because, rule=rule, policy_version=version, text=text)
    step.to_kicker(row, COMMAND_KIND, command)


def change(step: Step, row: SessionRow, coa: dict[str, str], *, rule: str, text: str) -> str | None:
    """Order a CoA-Request with these attributes (behaviour 4.6): the session stays, keeps its slots, and what it may do changes.

    Returns:
        The command's id; None where a disconnect is under way, which leaves nothing to change.
    """
    if row.kick_state in limits.IN_FLIGHT:
        return None
    command = _command(step, row, "quota", rule=rule, because=[step.ref(step.offset)], text=text, coa=coa)
    step.to_kicker(row, COMMAND_KIND, command)
    return command.id


def _command(step: Step, row: SessionRow, reason: Reason, **more: Any) -> DisconnectCommand:
    policy = step.core.policy
    confirm_within_s = policy.policy.confirm_within_s
    return DisconnectCommand(
        id=step.new_id(row.identity),
        time_ms=step.time_ms,
        expires_ms=step.time_ms + confirm_within_s * 1000,
        confirm_within_s=confirm_within_s,
        nas=row.nas,
        identity=row.identity,
        session={name: value for name, field in _FIELD_OF.items() if (value := getattr(row, field)) is not None},
        reason=reason,
        policy_version=policy.version or None,
        **more,
    )


def notice_if_kicked(step: Step, row: SessionRow) -> None:
    """Tell the kicker of the session's end where it works on it."""
    if row.kick_state in limits.IN_FLIGHT:
        notice(step, row, alive=False)


def notice(step: Step, row: SessionRow, *, alive: bool) -> None:
    """Tell the kicker that a session which it works on has ended, or still lives."""
    notice = SessionNotice(
        command_id=row.kick_id or "",
        nas=row.nas,
        identity=row.identity,
        acct_session_id=row.acct_session_id,
        alive=alive,
        said_by=row.said_by,
        time_ms=step.time_ms,
    )
    step.to_kicker(row, NOTICE_KIND, notice)
