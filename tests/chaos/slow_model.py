"""Who has more devices than he may, and who is silent: a slow, obvious model of behaviours 3.3, 3.5 and 4.2 that shares no code with ours.

Law of this file: it walks through each partition's journal once and keeps lists. It does not know of verdicts, holds and claims, so it
speaks only where these cannot matter: a breach that the product saw must be one that was possible, a newcomer whom nothing speaks for must
have breached, and who is called stale must have been silent for as long as somebody was listening. The limit is `max_sessions = 1` for each
user, counted by devices.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.product import Stored

FRESH_MS = 1_000
"""A record that is older when it is received may be called old news by the policy; a younger one may not."""
CAP_TICKS = 5
"""Between two ticks of an ingest no more time has passed than so many of its periods."""

Key = tuple[str, str]
"""(NAS, Acct-Session-Id)."""
Offset = tuple[int, int]
"""(partition, offset)."""


class Rules(NamedTuple):
    """What is known of the policy.

    Attributes:
        limit: the name of the users' limit. silent_s: the liveness rule's. spared: users whose name begins so are left out.
    """

    limit: str
    silent_s: float
    spared: str


@dataclass
class _Session:
    """One as the journal tells of it.

    Attributes:
        began_fresh: a Start opened it when it was young. is_over: anything at all has spoken of its end, or of a kick.
        heard_ms: on the partition's clock.
    """

    device: str
    nas: str
    began_fresh: bool
    heard_ms: int
    is_over: bool = False


def differ(journal: list[Stored], events: list[Stored], rules: Rules) -> list[str]:
    """Breaches that were not possible or are missing, and deaths that came too early."""
    said: dict[Offset, list[Any]] = defaultdict(list)
    for event in {record.value["id"]: record.value for record in events}.values():
        partition, offset, *_ = event["id"].split("-", 3)
        said[int(partition), int(offset)].append(event)
    found: list[str] = []
    for number in sorted({record.partition for record in journal}):
        walk = _Walk(rules, said)
        for record in journal:
            if record.partition == number:
                walk.step(record)
        found += walk.found
    return found


class _Walk:
    """One partition's journal, record by record."""

    def __init__(self, rules: Rules, said: dict[Offset, list[Any]]) -> None:
        self.found: list[str] = []
        self._rules = rules
        self._said = said
        self._of: dict[str, dict[Key, _Session]] = defaultdict(dict)
        self._ever: dict[Key, list[_Session]] = defaultdict(list)  # by key, whoever has them: in two hours there are many
        self._stopped: set[Key] = set()
        self._monos_ms: dict[str, int] = {}
        self._clock_ms = 0

    def step(self, record: Stored) -> None:
        """Take a record, and what the product said at it."""
        events = self._said[record.partition, record.offset]
        if record.kind == "tick" and record.value is not None:
            self._tick(record.value)
        elif record.kind == "accounting" and record.value is not None:
            if record.value["status"] in ("Accounting-On", "Accounting-Off"):
                for mine in self._of.values():
                    for key, session in mine.items():
                        session.is_over |= key[0] == record.value["nas"]
            else:
                breached = any(event["type"] == "limit.breached" and event["rule"] == self._rules.limit for event in events)
                self._accounting(record, breached=breached)
        for event in events:
            self._event(event, record)

    def _tick(self, tick: Any) -> None:
        before_ms = self._monos_ms.get(tick["ingest"], tick["mono_ms"])
        self._clock_ms += max(0, min(tick["mono_ms"] - before_ms, CAP_TICKS * tick.get("period_ms", 1000)))
        self._monos_ms[tick["ingest"]] = tick["mono_ms"]

    def _event(self, event: Any, record: Stored) -> None:
        key = event["nas"], event.get("acct_session_id", "")
        session = self._of[event.get("identity", "")].get(key)
        if event["type"] == "session.stale" and session is not None:
            silent_s = (self._clock_ms - session.heard_ms) / 1000
            if silent_s < self._rules.silent_s:
                self._finds(record, f"{key} is called stale after {silent_s:.1f} s")
        if event["type"] in ("session.ended", "session.moved", "session.suspect", "disconnect.requested"):
            for session in self._ever.get(key, ()):
                session.is_over = True

    def _accounting(self, record: Stored, *, breached: bool) -> None:
        value = record.value
        key, identity, device = (value["nas"], value["acct_session_id"]), value["identity"], value["calling_station_id"]
        mine = self._of[identity]
        if value["status"] == "Stop":
            self._stopped.add(key)
            mine.pop(key, None)
            return
        is_new = key not in mine and key not in self._stopped
        begins_fresh = is_new and value["status"] == "Start" and 0 <= value["received_ms"] - value["event_ms"] < FRESH_MS
        others = [session for other, session in mine.items() if other != key and session.device != device]
        if breached and not others:
            self._finds(record, f"{key} of {identity} breached the limit without another device")
        if begins_fresh and not breached and not identity.startswith(self._rules.spared):
            is_at_home = any(session.device == device for session in mine.values())
            if not is_at_home and any(session.began_fresh and not session.is_over for session in others):
                self._finds(record, f"{key} of {identity} did not breach the limit, and there is another device")
        if is_new:
            mine[key] = _Session(device, value["nas"], begins_fresh, self._clock_ms)
            self._ever[key].append(mine[key])
        elif key in mine:
            mine[key].heard_ms = self._clock_ms

    def _finds(self, record: Stored, what: str) -> None:
        self.found.append(f"slow model, {record.partition} {record.offset}: {what}")
