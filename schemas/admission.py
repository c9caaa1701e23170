"""The before-login check: what is asked and what is answered (INTERFACES "HTTP", behaviour 4.8)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

GroupName = Annotated[str, Meta(min_length=1, max_length=253)]


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May this user open one more session?

    Attributes:
        user: User-Name as the NAS sent it; the ingest's rules make the identity of it.
        nas: the NAS's name (`[[nas]] name`).
        calling_station_id: the device, in any notation; empty or absent where it is not known.
        groups: what the login knows of the user's groups, and guest types as `guest:NAME`, beside what is known already.
        session_timeout_s: the Session-Timeout that the session will get (RFC 2865 section 5.27), in seconds.
        acct_session_id: Acct-Session-Id, where the Access-Request has it: shows a re-authentication.
        audit_session_id: Cisco's audit-session-id, likewise.
    """

    user: Annotated[str, Meta(max_length=253)]
    nas: Annotated[str, Meta(min_length=1, max_length=128)]
    calling_station_id: Annotated[str, Meta(max_length=253)] | None = None
    groups: Annotated[tuple[GroupName, ...], Meta(max_length=100)] = ()
    session_timeout_s: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    acct_session_id: Annotated[str, Meta(max_length=253)] | None = None
    audit_session_id: Annotated[str, Meta(max_length=253)] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer.

    Attributes:
        allowed: whether it may.
        reason: a sentence with the figures, fit for Reply-Message.
        rule: the policy's rule that refused, or that makes room when the session starts; None: none was in the way.
        reservation: its id; None: nothing was reserved.
        redirect: where a refused user may free a slot (`[admission] redirect`); None: nowhere.
        policy_version: the policy that was asked.
    """

    allowed: bool
    reason: str
    rule: str | None = None
    reservation: str | None = None
    redirect: str | None = None
    policy_version: int = 0
