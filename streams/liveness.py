"""When a session is dead: the rule for its NAS, what counts as a sign of life under it, and its next deadline (behaviours 3.1 to 3.3).

Every rule is one count of periods since the last sign of life: after each period the session was missed once (and is asked, where the rule
has probes), after the last one it is dead.

* `interim`: the period is the session's own interim interval (configured, else observed), times N; any record of the session counts, and a
  sighting. No interval known: never. An Interim is taken for missed a tenth of the interval after it was due; dead is dead on time.
* `handshake`: the period is the rule's, times N; a sign of life is the client's: a Start, an Interim whose counters grew, a sighting.
* `offline-detect`: L = 3T: one length, missed at T and 2T, dead at L; a sign of life as for `handshake`. L = 0: never.

All counts are on the NAS's talking clock, so they stand still while the NAS is silent (behaviour 3.5), and begin at the last sign of life
itself, not at the end of the period it fell into: a choice, which finds the dead up to a period earlier (docs/liveness.md).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from schemas.policy import Liveness, Policy
from schemas.session import SessionRow

OFFLINE_DETECT_TIMES = 3
"""An offline-detect length is so many periods (Huawei's Portal: L = 3T)."""
LATE_SHARE = 10
"""An Interim may come so late as this part of its interval before it is missed."""


class Watch(NamedTuple):
    """A rule applied to one session.

    Attributes:
        period_ms: after so long without a sign of life it is missed; times: after so many periods it is dead.
        late_ms: what is granted to each period but the last.
        by_client: only the client itself gives signs of life; else any word of the NAS about the session is one.
    """

    period_ms: int
    times: int
    late_ms: int
    by_client: bool


def rule_for(policy: Policy, nas: str) -> Liveness | None:
    """The first liveness rule whose pattern the NAS's name matches; None: there is none, or it says that nobody is ever dead."""
    for rule in policy.liveness:
        if fnmatchcase(nas, rule.nas):
            return None if rule.rule == "none" or (rule.rule == "offline-detect" and not rule.length_s) else rule
    return None


def watch(rule: Liveness | None, row: SessionRow) -> Watch | None:
    """How the rule watches a session; None: not at all."""
    if rule is None:
        return None
    if rule.rule == "handshake":
        return Watch(1000 * (rule.period_s or 0), rule.times, 0, by_client=True)
    if rule.rule == "offline-detect":
        return Watch(1000 * (rule.length_s or 0) // OFFLINE_DETECT_TIMES, OFFLINE_DETECT_TIMES, 0, by_client=True)
    interval_s = row.interim_interval_s or row.observed_s
    if interval_s is None:
        return None
    return Watch(1000 * interval_s, rule.times, 1000 * interval_s // LATE_SHARE, by_client=False)


def is_by_client(rule: Liveness | None) -> bool:
    """Whether only the client's own signs of life count, and not every record of its session."""
    return rule is not None and rule.rule in ("handshake", "offline-detect")


def takes_sightings(rule: Liveness | None) -> bool:
    """Whether sightings say anything about sessions under this rule; where they do not, nothing is spent on finding whose they are."""
    return rule is not None and (rule.rule != "interim" or rule.probe == "arp")


def alive_ms(watched: Watch, row: SessionRow) -> int:
    """The last sign of life, on the NAS's talking clock."""
    return row.alive_ms if watched.by_client else max(row.alive_ms, row.heard_ms)


def alive_at_ms(rule: Liveness | None, row: SessionRow) -> int:
    """The last sign of life, milliseconds since the epoch: when a dead session ended (behaviour 3.7)."""
    watched = watch(rule, row)
    return row.alive_at_ms if watched is not None and watched.by_client else max(row.event_ms, row.alive_at_ms)


def deadline_ms(rule: Liveness | None, row: SessionRow) -> int | None:
    """When an open session is missed next, or dead, on its NAS's talking clock; None: never."""
    watched = watch(rule, row)
    if watched is None or row.state == "ended":
        return None
    nth = row.probes + 1
    late_ms = watched.late_ms if nth < watched.times else 0
    return alive_ms(watched, row) + min(nth, watched.times) * watched.period_ms + late_ms


def observed_interval_s(row: SessionRow, heard_ms: int, event_ms: int, session_time_s: int | None) -> int | None:
    """The interim interval as observed, in seconds, after an Interim heard at `heard_ms` on the NAS's talking clock.

    The NAS's own Acct-Session-Time measures best, which is 0 at the Start. Without it the longer of two gaps counts: the talking clock may
    have stood still, and an interval taken for too short would call the living dead. A lost Interim doubles one gap, so the longest
    counts, and fades by a quarter a time.
    """
    if session_time_s is not None and (row.session_time_s is not None or row.start_seen):
        gap_s = session_time_s - (row.session_time_s or 0)
    else:
        gap_s = max(heard_ms - row.heard_ms, event_ms - row.event_ms) // 1000
    if gap_s < 1:
        return row.observed_s
    known_s = row.observed_s or 0
    return max(gap_s, known_s - known_s // 4)
