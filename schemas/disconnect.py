"""Disconnect command, what the kicker is told meanwhile, and the result (INTERFACES; RFC 5176)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from schemas.codec import JsonValue, Text, Whole
from schemas.event import RecordRef, SaidBy

COMMAND_KIND = "command"
NOTICE_KIND = "notice"

Reason = Literal["limit", "quota", "rate", "stale", "session-timeout", "idle", "operator", "self-service"]
Outcome = Literal[
    "expired",
    "confirmed",
    "acknowledged",
    "gone",
    "refused",
    "unanswered",
    "unconfirmed",
    "unknown-nas",
    "no-secret",
    "unsupported",
    "superseded",
]


class DisconnectCommand(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An order to the kicker: this session has to go.

    Attributes:
        id: deterministic (`streams.ids`): the same journal gives the same id.
        attempt: counted from 1; a new decision after an expired command has the next one.
        time_ms: the log's time of the decision.
        expires_ms: the wall time after which it must not be carried out.
        confirm_within_s: by then it has its final outcome.
        session: the attributes as the NAS sent them, by field name; `schemas.session.DISCONNECT_FIELDS` says which.
        rule: the rule's name; with policy_version.
        because: the records it rests on.
        who: for people's kicks: who, and text: why.
        coa: attributes by name for a CoA-Request (RFC 5176 section 2.2) that is sent instead of a Disconnect-Request: the session stays
            and what it may do changes. Empty: it has to go.
    """

    id: str
    attempt: Whole = 1
    time_ms: Whole
    expires_ms: Whole
    confirm_within_s: Whole = 90
    nas: str
    identity: str
    session: dict[str, JsonValue]
    reason: Reason
    rule: str | None = None
    policy_version: Whole | None = None
    because: list[RecordRef] = []
    who: str | None = None
    text: str | None = None
    coa: dict[str, JsonValue] = {}


class SessionNotice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the session agent tells the kicker about a session that is being kicked (same topic, same key as the command).

    Attributes:
        command_id: the command in flight.
        alive: True: the session still reports although the NAS acknowledged (behaviour 5.4); False: it has ended.
        said_by: who says that it ended.
        time_ms: the log's time.
    """

    command_id: str
    nas: str
    identity: str
    acct_session_id: Text
    alive: bool = False
    said_by: SaidBy | None = None
    time_ms: Whole


class Attempt(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One set of attributes sent to one port, with all its retransmissions (RFC 5080 section 2.2.1); or one question by another way.

    Attributes:
        attributes: the names of the attributes sent; none by another way.
        port: UDP; 0 by another way, as is the identifier.
        sent_ms: wall time of each transmission.
        answer: `Disconnect-ACK`, `Disconnect-NAK`, `CoA-ACK`, `CoA-NAK`; another way's `accepted`, `gone` ...; or nothing.
        error_cause: the answer's Error-Cause (RFC 5176 section 3.5).
        round_trip_ms: from the last transmission to the answer.
        request: `Disconnect-Request`, `CoA-Request`, or the other way's name.
    """

    attributes: list[str]
    port: Whole
    identifier: Whole
    sent_ms: list[Whole]
    answer: str | None = None
    error_cause: Whole | None = None
    round_trip_ms: float | None = None
    request: str = "Disconnect-Request"


class DisconnectResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a command. `acknowledged` is never final; exactly one result of a command is.

    Attributes:
        identity: and acct_session_id: whose, copied from the command, so that it finds its way into the journal.
        attempts: what was sent and what came back.
        detail: a sentence for people.
    """

    command_id: str
    time_ms: Whole
    nas: str
    identity: str
    acct_session_id: Text
    final: bool
    outcome: Outcome
    error_cause: Whole | None = None
    error_cause_name: str | None = None
    attempts: list[Attempt] = []
    detail: str = ""


Follows = Literal["gone", "next-set", "without-nas", "alone", "later", "give-up"]
"""What a refusal leads to: the session is gone; the profile's next attribute set; that without NAS attributes; Acct-Session-Id alone; the
same again after a while; nothing."""


class ErrorCause(NamedTuple):
    """A row of RFC 5176 section 3.5's table.

    Attributes:
        number: the attribute's value.
        name: the RFC's name, hyphenated.
        follows: what the kicker does (behaviour 5.3).
        sentence: what it tells an operator.
    """

    number: int
    name: str
    follows: Follows
    sentence: str


ERROR_CAUSES = {
    row.number: row
    for row in (
        ErrorCause(201, "Residual-Session-Context-Removed", "gone", "The session was already gone; its leftovers were removed."),
        ErrorCause(202, "Invalid-EAP-Packet-Ignored", "give-up", "The NAS ignored an EAP packet."),
        ErrorCause(401, "Unsupported-Attribute", "next-set", "The NAS does not take one of the attributes sent."),
        ErrorCause(402, "Missing-Attribute", "next-set", "The NAS needs an attribute that was not sent."),
        ErrorCause(403, "NAS-Identification-Mismatch", "without-nas", "The NAS attributes sent are not its own."),
        ErrorCause(404, "Invalid-Request", "give-up", "The NAS finds the request malformed."),
        ErrorCause(405, "Unsupported-Service", "give-up", "The NAS does not offer what was asked."),
        ErrorCause(406, "Unsupported-Extension", "give-up", "The NAS, or a proxy before it, does not support Disconnect-Requests."),
        ErrorCause(407, "Invalid-Attribute-Value", "next-set", "The NAS does not take the value of one of the attributes sent."),
        ErrorCause(501, "Administratively-Prohibited", "give-up", "The NAS is configured to refuse this."),
        ErrorCause(502, "Request-Not-Routable", "give-up", "A proxy knows no way to the NAS."),
        ErrorCause(503, "Session-Context-Not-Found", "gone", "The NAS knows no such session."),
        ErrorCause(504, "Session-Context-Not-Removable", "later", "The NAS knows the session and cannot remove it."),
        ErrorCause(505, "Other-Proxy-Processing-Error", "later", "A proxy failed to pass the request on."),
        ErrorCause(506, "Resources-Unavailable", "later", "The NAS is overloaded."),
        ErrorCause(507, "Request-Initiated", "give-up", "The NAS will ask for authorisation first."),
        ErrorCause(508, "Multiple-Session-Selection-Unsupported", "alone", "The attributes sent match more than one session."),
        ErrorCause(509, "Location-Info-Required", "give-up", "The NAS needs location information."),
        ErrorCause(601, "Response-Too-Big", "give-up", "The NAS's answer does not fit."),
    )
}
"""Error-Cause by number (RFC 5176 section 3.5, RFC 5580, RFC 7930).

201 belongs into an ACK and 503 into a NAK, but a Catalyst 4500 was documented to answer a repeated request by an ACK with 503. Both say in
either packet that there is no such session any more, so both mean the same: waiting for a Stop that was sent long ago would end as
`unconfirmed`. Should the NAS be wrong, the session's next Interim opens it again.
505 is a proxy's failure, which may pass like the NAS's own; 502 is a proxy's configuration, which will not.
"""
