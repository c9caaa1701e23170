"""The other kinds of record in the journal beside accounting (header `kind`), and what is rejected from it.

Every kind that the session agent may know is here, or in `disconnect` (`result`), `group` (`verdict`) and `sighting`. An agent that does
not handle a kind rejects it by name, it never guesses.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.codec import Text, Whole
from schemas.policy import GROUPS_MAX, GroupName, Policy

KINDS = ("accounting", "tick", "policy", "membership", "verdict", "sighting", "result", "operator", "quota", "claim", "promise")
Kind = Literal["accounting", "tick", "policy", "membership", "verdict", "sighting", "result", "operator", "quota", "claim", "promise"]


class Tick(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One ingest's clock, written into every partition each second: the journal's only time (DESIGN "Time").

    Attributes:
        ingest: the ingest's id, new at each of its starts.
        wall_ms: its wall clock, milliseconds since the epoch.
        mono_ms: its monotonic clock; only differences of one ingest's mean anything.
        period_ms: how often it writes ticks.
        full: `began` names every NAS that talks now; who is not in it does not.
        began: NASes that began to talk: (name, window in ms within which each packet follows the last; 0: not known yet).
        ceased: NASes that were silent for longer than their window: (name, how long it has been silent in ms).
        heard: NASes heard since they were last in a tick: (name, ms since the last packet). A talking NAS stands here now and then, more
            often the shorter its window is: its talking clock advances up to that packet.
    """

    ingest: str
    wall_ms: Whole
    mono_ms: Whole
    period_ms: Whole = 1000
    full: bool = False
    began: list[tuple[str, Whole]] = []
    ceased: list[tuple[str, Whole]] = []
    heard: list[tuple[str, Whole]] = []


class PolicyVersion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A version of the policy; a partition takes it when it is newer than the one in force there.

    Attributes:
        version: counted from 1.
        time_ms: when it was published.
        who: who published it.
        policy: the rules.
    """

    name: str = "default"
    version: Whole
    time_ms: Whole
    who: str = ""
    policy: Policy


class OperatorCommand(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An order about one session that comes from outside the journal, on record with who and why (behaviours 5.6, 5.8).

    Attributes:
        id: made by who sends it; the same order delivered twice is carried out once.
        op: `kick`: a person wants it disconnected. `logout`: its user has logged out, the NAS's portal says; there is nobody to disconnect.
        identity: whose session; the record's key.
        nas: the session's NAS.
        acct_session_id: the session.
        time_ms: when it was given.
        expires_ms: not carried out when the journal reaches it later than that.
        reason: which door it came through.
        who: the person; for a logout, the NAS that told of it.
        text: why.
    """

    id: str
    op: Literal["kick", "logout"] = "kick"
    identity: str
    nas: str
    acct_session_id: Text
    time_ms: Whole
    expires_ms: Whole
    reason: Literal["operator", "self-service"] = "operator"
    who: str = ""
    text: str = ""


class MembershipOrder(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Who belongs where, by an operator's word (`curfew groups`): it replaces what was said of this identity before.

    Attributes:
        identity: who; the record's key. It need not be known yet.
        groups: all its groups, and guest types as `guest:NAME`; none takes it out of all.
        id: made by who sends it, for the record.
        who: the person.
        time_ms: when it was said.
    """

    identity: str
    groups: Annotated[tuple[GroupName, ...], msgspec.Meta(max_length=GROUPS_MAX)] = ()
    id: str = ""
    who: str = ""
    time_ms: Whole = 0


class QuotaOrder(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An operator's word about a quota's window that is open: more of it, or from the beginning.

    A user's lies in `radius.accounting`, a whole group's in `group.slots`: in the journal of who counts it.

    Attributes:
        id: made by who sends it; the same order delivered twice is carried out once.
        op: what to do.
        identity: whose; the record's key. Empty for a whole group's quota: there the group is the key.
        rule: the quota's name.
        group: in which group or guest type, or which whole group's; empty for a user's.
        amount: octets or seconds on top, for a top-up.
        time_ms: when it was given.
        who: the person.
        text: why.
    """

    id: str
    op: Literal["topup", "reset"]
    identity: str
    rule: str
    group: str = ""
    amount: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    time_ms: Whole
    who: str = ""
    text: str = ""


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """A session as one partition holds it, told to another (behaviour 2.10); by position, since hundreds of them go into a record.

    Attributes:
        nas, acct_session_id: which session. identity: under whom it is filed there.
        state: as in the directory's row. said_by: who said that it has ended. silent: it is to be called stale. counts: freshly heard of.
        event_ms: the newest event time. event_believed: it is an Event-Timestamp. last_seen_ms: arrival of the last record.
        started_ms, start_seen, start_believed, order_ms: its beginning, as in the row.
        session_time_s: and all others: usage so far. device: its MAC.
        unheard_ms: for how long nothing was heard of it when this was said, or since when it has ended.
    """

    nas: str
    acct_session_id: Text
    identity: str
    state: Literal["open", "suspect", "ended"]
    said_by: str | None
    silent: bool
    counts: bool
    event_ms: Whole
    event_believed: bool
    last_seen_ms: Whole
    started_ms: Whole | None
    start_seen: bool
    start_believed: bool
    order_ms: Whole
    session_time_s: Whole | None
    input_octets: int | None
    output_octets: int | None
    input_packets: int | None
    output_packets: int | None
    device: str | None = None
    unheard_ms: Whole = 0


class Claims(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A question of one partition's session agent to another one, or the answer: who holds newer signs of life of these sessions?

    Attributes:
        op: which of both. partition: whose it is. batch: the offset, in the asking partition's journal, of the tick that asked.
        time_ms: the log's time of the sender.
        sessions: those asked about as the asker holds them; in an answer, those of them that the answerer holds under other identities.
    """

    op: Literal["ask", "answer"]
    partition: Whole
    batch: Whole
    time_ms: Whole
    sessions: list[Claim] = []


class Promise(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The Session-Timeout that a login was let in with, for the session that is about to begin (behaviour 3.6).

    Attributes:
        id: of the reservation; said again it replaces what it said before.
        identity: who was let in; the record's key.
        nas: where.
        calling_station_id: with which device, as it was asked; None: any.
        session_timeout_s: RFC 2865 section 5.27; 0 takes a promise back.
        time_ms: when it was answered.
        expires_ms: no Start takes it later than that.
    """

    id: str
    identity: str
    nas: str
    calling_station_id: str | None = None
    session_timeout_s: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    time_ms: Whole
    expires_ms: Whole


class Rejected(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that could not be understood, with its bytes (`accounting.rejected`).

    Attributes:
        reason: a name, counted under it.
        detail: a sentence for people.
        time_ms: the log's time of the rejection.
        topic: where it lay; with partition and offset. Empty for a packet.
        source: the sender's address, for a packet.
        kind: the record's `kind` header.
        key: the record's key.
        bytes: the original value in base64.
    """

    reason: str
    detail: str = ""
    time_ms: Whole
    topic: str = ""
    partition: Whole | None = None
    offset: Whole | None = None
    source: str = ""
    kind: str = ""
    key: str = ""
    bytes: str
