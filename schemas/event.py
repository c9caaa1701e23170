"""Session events: what others build on (INTERFACES "Session event", behaviours 7.1 and 7.3)."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codec import Text, Whole

EventType = Literal[
    "session.started",
    "session.updated",
    "session.ended",
    "session.reopened",
    "session.superseded",
    "session.moved",
    "session.suspect",
    "session.stale",
    "limit.breached",
    "rate.exceeded",
    "quota.warning",
    "quota.reached",
    "disconnect.requested",
    "disconnect.acknowledged",
    "disconnect.refused",
    "disconnect.unanswered",
    "disconnect.unconfirmed",
    "disconnect.confirmed",
    "nas.up",
    "nas.down",
    "nas.silent",
]
SaidBy = Literal["nas-stop", "nas-reboot", "superseded", "stale", "expired", "kicked", "operator", "user-logout", "moved"]


class RecordRef(msgspec.Struct, frozen=True, array_like=False):
    """A record that a decision rests on."""

    topic: str
    partition: int
    offset: int


class SessionEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """One thing that happened.

    Attributes:
        id: the same however often it is delivered: partition, offset, n-th of that record, identity (`streams.ids`).
        seq: per identity, without gaps; 0 for an event about a NAS.
        seq_epoch: the journal offset at which the identity's row was born: a new epoch starts its own count.
        time_ms: the log's time.
        because: the records it rests on.
        command_id: the disconnect command it is about.
        rule: the policy's rule by name; with scope, current, max, policy_version and text for a decision.
        group: the group or guest type in which the rule counted.
        passed: the rules that a Start passed, with the counts (behaviour 4.9).
    """

    id: str
    type: EventType
    seq: int
    seq_epoch: int
    time_ms: int
    identity: str = ""
    user_name: Text | None = None
    nas: str = ""
    acct_session_id: Text | None = None
    acct_multi_session_id: Text | None = None
    calling_station_id: Text | None = None
    framed_ip_address: str | None = None
    started_ms: int | None = None
    last_seen_ms: int | None = None
    ended_ms: int | None = None
    session_time_s: int | None = None
    input_octets: int | None = None
    output_octets: int | None = None
    cause: str | None = None
    said_by: SaidBy | None = None
    because: list[RecordRef] = []
    command_id: str | None = None
    rule: str | None = None
    scope: str | None = None
    current: int | None = None
    max: int | None = None
    policy_version: int | None = None
    text: str | None = None
    passed: list[str] = []
    group: str | None = None


class Told(msgspec.Struct, gc=False):
    """What is read of a session event: who is open, on which NAS and device."""

    id: str
    type: str
    time_ms: Whole
    identity: str = ""
    user_name: Text | None = None
    nas: str = ""
    acct_session_id: Text | None = None
    acct_multi_session_id: Text | None = None
    calling_station_id: Text | None = None
    framed_ip_address: str | None = None
    started_ms: Whole | None = None
    last_seen_ms: Whole | None = None
    cause: str | None = None
    command_id: str | None = None
