"""When a session is dead: the rule for its NAS, and its deadline on that NAS's talking clock (behaviour 3.3).

This version knows the interim rule without probes: T is the session's own interim interval (told by the configuration, else observed),
times N missed. No interval known: never stale. `handshake` and `offline-detect` are kept in the policy and not enforced yet.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from schemas.policy import Liveness, Policy
from schemas.session import SessionRow


def rule_for(policy: Policy, nas: str) -> Liveness | None:
    """The first liveness rule whose pattern the NAS's name matches, if this version enforces it."""
    for rule in policy.liveness:
        if fnmatchcase(nas, rule.nas):
            return rule if rule.rule == "interim" else None
    return None


def deadline_ms(rule: Liveness | None, row: SessionRow) -> int | None:
    """When an open session will have been silent for too long, on its NAS's talking clock; None: never."""
    interval_s = row.interim_interval_s or row.observed_s
    if rule is None or interval_s is None or row.state == "ended":
        return None
    return row.heard_ms + rule.times * interval_s * 1000


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
