"""What is allowed: the types of `policy.toml`, which travel as JSON in the journal.

Only types, bounds and defaults live here; what must hold between values is in `policy_check`. A key of the file is a key of the JSON, with
two differences: octets and durations that the file may give with a unit (`2 GiB`, `4 h`) are integers in the JSON, and a quota's `time` is
`time_s` there. Unknown fields in JSON are ignored, so that a newer version's policy can be read.

Units stand last in the names: `_s` seconds; octets are octets. An absent value is None.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

_NAME = "a text of 1 to 128 characters without blanks, slashes and @"
_ATTRIBUTE = "the attribute's name as its RFC writes it"
Name = Annotated[str, Meta(pattern=r"^[^/@\s]+$", max_length=128, description=_NAME)]
GUEST = "guest:"
"""Before a guest type's name, where groups and guest types stand together."""
GROUPS_MAX = 100
"""So many groups an identity may be in."""
GROUP_NAME_CHARACTERS_MAX = 128
GroupName = Annotated[str, Meta(pattern=r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$", max_length=GROUP_NAME_CHARACTERS_MAX)]
Pattern = Annotated[str, Meta(min_length=1, max_length=253)]
Seconds = Annotated[int, Meta(ge=0, le=31_622_400)]  # up to a leap year
PositiveSeconds = Annotated[int, Meta(ge=1, le=31_622_400)]
AppliesTo = Literal["user", "group", "user-in-group", "guest-type"]
Action = Literal["disconnect", "report"]


class Limit(msgspec.Struct, frozen=True):
    """`[[limit]]`: so many sessions at a time.

    Attributes:
        name: Named by every decision that rests on it.
        applies_to: Whose sessions are counted together.
        max_sessions: That many are allowed; the next one breaches.
        group: Which group or guest type; `*` is each of them.
        count: `devices`: sessions of one MAC are one; `sessions`: each counts.
        victim: Who goes.
        victim_scope: Whose sessions a group's limit may take.
        hold_s: Seconds for which an evicted device cannot evict in turn; 0 for not at all.
        action: Whether the victim is disconnected or only reported.
        counter_time_limit_s: Seconds after its Start from which a session no longer counts; 0 for never.
        exempt: `except` in the file: groups, and guest types as `guest:NAME`, that the rule leaves alone; `*` is any text.
        on_change: What happens to those already over it when the rule comes.
    """

    name: Name
    applies_to: AppliesTo
    max_sessions: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    group: Pattern = "*"
    count: Literal["devices", "sessions"] = "devices"
    victim: Literal["newest", "oldest", "least-recently-active", "all-others", "none"] = "newest"
    victim_scope: Literal["user", "group"] = "user"
    hold_s: Seconds = 60
    action: Action = "disconnect"
    counter_time_limit_s: Seconds = 0
    exempt: Annotated[tuple[Pattern, ...], Meta(max_length=1000)] = field(default=(), name="except")
    on_change: Literal["leave", "enforce"] = "leave"


class Quota(msgspec.Struct, frozen=True):
    """`[[quota]]`: so much in a calendar window.

    Attributes:
        name: Named by every decision that rests on it.
        applies_to: Whose usage is added up.
        per: The window, in the calendar of `time_zone`.
        octets: Input and output together; or `time_s`.
        time_s: `time` in the file: seconds of session time.
        group: Which group or guest type; `*` is each of them.
        time_zone: IANA name.
        action: Whether the sessions are disconnected, only reported, or changed by a CoA-Request.
        coa: The attributes that the CoA-Request sends, by name.
        warn_at: Shares in percent at which it is told beforehand.
    """

    name: Name
    applies_to: AppliesTo
    per: Literal["hour", "day", "week", "month"]
    octets: Annotated[int, Meta(ge=1, le=2**63 - 1, extra={"unit": "octets"})] | None = None
    time_s: Annotated[PositiveSeconds, Meta(extra={"unit": "duration", "file_key": "time"})] | None = None
    group: Pattern = "*"
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    action: Literal["disconnect", "report", "coa"] = "disconnect"
    coa: Annotated[dict[str, Annotated[str, Meta(min_length=1, max_length=253)]], Meta(max_length=32)] = {}
    warn_at: Annotated[tuple[Annotated[int, Meta(ge=1, le=99)], ...], Meta(max_length=8)] = ()


class Rate(msgspec.Struct, frozen=True):
    """`[[rate]]`: so many Starts in a window; one more exceeds it.

    Attributes:
        name: Named by every decision that rests on it.
        applies_to: Whose Starts are counted together.
        starts: That many are allowed.
        within_s: Length of the sliding window in seconds.
        group: Which group or guest type; `*` is each of them.
        action: Whether the session is disconnected or only reported.
    """

    name: Name
    applies_to: AppliesTo
    starts: Annotated[int, Meta(ge=1, le=1_000)]  # the times of so many are kept for each identity
    within_s: PositiveSeconds
    group: Pattern = "*"
    action: Action = "report"


class Duration(msgspec.Struct, frozen=True):
    """`[[duration]]`: how long one session may last.

    Attributes:
        name: Named by every decision that rests on it.
        applies_to: Whose sessions.
        max_s: Seconds.
        group: Which group or guest type; `*` is each of them.
    """

    name: Name
    applies_to: AppliesTo
    max_s: PositiveSeconds
    group: Pattern = "*"


class Liveness(msgspec.Struct, frozen=True):
    """`[[liveness]]`: when a session is dead. The first one whose `nas` matches holds.

    Attributes:
        rule: `interim` counts missed Interims, `handshake` periods without a sign of life, `offline-detect` one length; `none` never.
        nas: Shell pattern of NAS names.
        times: How many are missed, for `interim` and `handshake`.
        period_s: Seconds, for `handshake`.
        length_s: Seconds, for `offline-detect`; 0 turns it off.
        probe: How a silent session is asked.
    """

    rule: Literal["interim", "handshake", "offline-detect", "none"]
    nas: Pattern = "*"
    times: Annotated[int, Meta(ge=1, le=100)] = 3
    period_s: PositiveSeconds | None = None
    length_s: Seconds | None = None
    probe: Literal["none", "arp", "query"] = "none"


class Membership(msgspec.Struct, frozen=True):
    """`[[membership]]`: a group or guest type that comes with the accounting records.

    Attributes:
        attribute: Name of the RADIUS attribute as its RFC writes it.
        pattern: Regular expression, searched in the attribute's text; its group `group` or `guest_type` is the name.
    """

    attribute: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128, description=_ATTRIBUTE)]
    pattern: Annotated[str, Meta(min_length=1, max_length=256)]


class Policy(msgspec.Struct, frozen=True):
    """The whole of `policy.toml`; rules of a kind are asked in the order of the file. No rule, no limit.

    Attributes:
        late_after_s: A record older than that when received changes the state but decides nothing.
        confirm_within_s: A disconnect has its final outcome by then.
        grace_s: For so long a closed session stays in the table.
        limits: `[[limit]]`, also the key in JSON, as with all that follow.
        quotas: `[[quota]]`.
        rates: `[[rate]]`.
        durations: `[[duration]]`.
        liveness: `[[liveness]]`.
        memberships: `[[membership]]`.
    """

    late_after_s: Seconds = 60
    confirm_within_s: PositiveSeconds = 90
    grace_s: Seconds = 3600
    limits: Annotated[tuple[Limit, ...], Meta(max_length=1000)] = field(default=(), name="limit")
    quotas: Annotated[tuple[Quota, ...], Meta(max_length=1000)] = field(default=(), name="quota")
    rates: Annotated[tuple[Rate, ...], Meta(max_length=1000)] = field(default=(), name="rate")
    durations: Annotated[tuple[Duration, ...], Meta(max_length=1000)] = field(default=(), name="duration")
    liveness: Annotated[tuple[Liveness, ...], Meta(max_length=1000)] = ()
    memberships: Annotated[tuple[Membership, ...], Meta(max_length=1000)] = field(default=(), name="membership")
