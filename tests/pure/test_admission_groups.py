"""How full groups are before a login (behaviours 4.1, 4.3, 4.5, 4.8)."""

from typing import Any

from schemas.policy import Limit
from schemas.session import SessionRow
from streams.admission_groups import GroupCounts
from streams.rulebook import Asked


def row(session: str, user: str, device: str | None = None, **fields: Any) -> SessionRow:
    return SessionRow("ap1", session, user, "open", device=device, **fields)


def in_group(max_sessions: int, name: str = "g", **fields: Any) -> Limit:
    return Limit(name=name, applies_to="group", max_sessions=max_sessions, **fields)


def ask(counts: GroupCounts, *limits: Limit, now_ms: int = 0, user: str = "new", device: str | None = None) -> tuple[str | None, list[str]]:
    """The limit that refuses, and what was passed."""
    found = counts.ask([Asked(limit, "g1") for limit in limits], row("?", user, device), (), now_ms, limits)
    return (found.refused and found.refused.limit.name), found.passed + found.reported


def test_slots_are_counted_by_device_or_by_session() -> None:
    """4.5."""
    counts = GroupCounts()
    counts.hold("s:ap1/s1", row("s1", "bob", "m1"), ["g1"], 0)
    counts.hold("s:ap1/s2", row("s2", "bob", "m1"), ["g1"], 0)
    counts.hold("s:ap1/s3", row("s3", "eve"), ["g1", "g2"], 0)
    devices, sessions = in_group(2), in_group(3, count="sessions")
    assert ask(counts, devices) == ("g", [])
    assert ask(counts, devices, user="bob", device="m1") == (None, ["g in g1: 2 open of 2 allowed"])
    assert ask(counts, sessions) == ("g", [])
    counts.free("s:ap1/s2", "bob", ["g1"])
    assert ask(counts, sessions) == (None, ["g in g1: 2 open of 3 allowed"])
    counts.free("s:ap1/s2", "bob", ["g1"])
    for each in ("s1", "s3"):
        counts.free(f"s:ap1/{each}", "bob" if each == "s1" else "eve", ["g1", "g2"])
    assert len(counts) == 0


def test_what_is_older_than_the_counter_time_limit_counts_no_longer() -> None:
    """4.3."""
    counts = GroupCounts()
    counts.hold("s:ap1/s1", row("s1", "bob"), ["g1"], 1_000)
    limit = in_group(1, counter_time_limit_s=60)
    assert ask(counts, limit, now_ms=60_999)[0] == "g"
    assert ask(counts, limit, now_ms=61_000)[0] is None


def test_a_rule_that_only_reports_refuses_nobody_and_hides_no_other() -> None:
    """4.4, 4.10."""
    counts = GroupCounts()
    counts.hold("s:ap1/s1", row("s1", "bob"), ["g1"], 0)
    told = in_group(0, "told", action="report")
    assert ask(counts, told, in_group(2)) == (None, ["g in g1: 1 open of 2 allowed", "group limit told in g1: 1 open of 0 allowed"])
    assert ask(counts, told, in_group(1))[0] == "g"
