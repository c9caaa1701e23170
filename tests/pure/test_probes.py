"""Missed, asked, suspect, dead: the handshake and the offline-detect rule in a journal, and the probes that they send (3.1, 3.2, 3.4)."""

from typing import Any

import pytest

from schemas.codec import decoder
from schemas.policy import Liveness
from schemas.session import SessionRow
from schemas.sighting import Probe
from schemas.topics import PROBES
from streams.probes import addresses_of
from tests.support.journal import T0_MS, Journal, Record, interim, play, policy, start, stop, tick

HANDSHAKE = Liveness(rule="handshake", period_s=20, probe="arp")
OFFLINE = Liveness(rule="offline-detect", length_s=300, probe="arp")
ADDRESS = "10.0.0.7"

_read = decoder(Probe).decode


def watched(*records: Record, rule: Liveness = HANDSHAKE) -> Journal:
    journal = play(policy(rule), tick(0, heard=[("ap1", 0)])).pass_time(5, "ap1")
    return journal.feed(*(records or (start(framed_ip_address=ADDRESS),)))


def probes(journal: Journal) -> list[Probe]:
    return [_read(output.value) for output in journal.take(PROBES.name)]


def story(journal: Journal, seconds: int) -> list[tuple[int, str]]:
    """What happened, and how many seconds after the session was last alive on the talking clock; a probe is one of the things."""
    told = []
    for _ in range(seconds):
        journal.pass_time(1, "ap1")
        row = journal.row()
        assert row is not None
        at_s = (journal.core.table.nases["ap1"].clock_ms - row.alive_ms) // 1000
        told += [(at_s, f"{probe.kind} {probe.nth}") for probe in probes(journal)]
        told += [(at_s, event.type) for event in journal.events()]
    return told


END = ["session.stale", "session.ended", "disconnect.requested"]


def test_after_each_silent_period_one_probe_and_dead_after_the_last() -> None:
    """3.1: T = 20 s, N = 3: probes at 20 and 40 s, dead at 60 s after the last sign of life."""
    journal = watched()
    journal.events()
    assert story(journal, 100) == [(20, "arp 1"), (20, "session.suspect"), (40, "arp 2"), *[(60, kind) for kind in END]]
    assert journal.command().reason == "stale"
    journal.nothing_else()


def test_offline_detect_asks_at_a_third_and_two_thirds_of_its_length() -> None:
    """3.2: L = 300 s: 100, 200, dead at 300, all from the last sign of life itself."""
    journal = watched(rule=OFFLINE)
    journal.events()
    assert story(journal, 400) == [(100, "arp 1"), (100, "session.suspect"), (200, "arp 2"), *[(300, kind) for kind in END]]
    journal.commands()
    journal.nothing_else()


def test_a_length_of_nothing_turns_it_off() -> None:
    """3.2."""
    journal = watched(rule=Liveness(rule="offline-detect", length_s=0))
    assert [kind for _, kind in story(journal, 1000)] == ["session.started"]


def test_a_probe_says_whom_it_asks_and_what_an_answer_is_held_against() -> None:
    """3.4."""
    journal = watched().pass_time(23, "ap1")
    (probe,) = probes(journal)
    assert probe == Probe(
        id=probe.id,
        kind="arp",
        nas="ap1",
        identity="bob",
        acct_session_id="s1",
        addresses=[ADDRESS],
        mac=journal.suspect_row().device,
        rule="handshake",
        nth=1,
        asked_ms=probe.asked_ms,
    )
    assert probe.id.endswith("-0-bob") or probe.id.endswith("-1-bob")


def test_an_interim_that_says_nothing_new_is_the_nas_s_voice_and_not_the_clients() -> None:
    """3.1: only counters that grew are a sign of life."""
    journal = watched(start(framed_ip_address=ADDRESS, input_octets=5))
    for at_s in range(10, 61, 10):
        journal.pass_time(10, "ap1").feed(interim(at_s=at_s, input_octets=5))
    assert "session.suspect" in journal.types()
    journal.pass_time(10, "ap1")
    assert "session.stale" in journal.types()


def test_an_interim_whose_counters_grew_begins_the_count_again() -> None:
    """3.1."""
    journal = watched()
    for at_s in range(15, 151, 15):
        journal.pass_time(15, "ap1").feed(interim(at_s=at_s, input_octets=at_s))
    assert set(journal.types()) == {"session.started", "session.updated"}
    assert probes(journal) == []
    journal.nothing_else()


def test_a_suspect_session_that_shows_life_is_open_again_and_says_so() -> None:
    """3.1: and its count begins anew."""
    journal = watched().pass_time(45, "ap1").feed(interim(at_s=50, input_octets=9))
    assert journal.types() == ["session.started", "session.suspect", "session.updated"]
    assert journal.open_row().probes == 0
    assert len(probes(journal)) == 2
    assert [kind for _, kind in story(journal, 100)] == ["arp 1", "session.suspect", "arp 2", *END]


def test_a_dead_session_ends_at_the_clients_last_sign_of_life() -> None:
    """3.7: not at the last word of the NAS about it."""
    journal = watched().pass_time(3, "ap1").feed(interim(at_s=8, input_octets=9))
    for at_s in range(20, 61, 10):
        journal.pass_time(10, "ap1").feed(interim(at_s=at_s, input_octets=9))
    journal.pass_time(30, "ap1")
    ended = next(event for event in journal.events() if event.type == "session.ended")
    assert (ended.ended_ms, ended.said_by) == (T0_MS + 8000, "stale")


def test_only_open_sessions_are_asked() -> None:
    """3.1."""
    journal = watched().feed(stop(at_s=6)).pass_time(200, "ap1")
    assert journal.types() == ["session.started", "session.ended"]
    journal.nothing_else()


def test_without_a_prober_the_rule_counts_without_asking() -> None:
    """3.1: `probe = "none"`; suspect from the first period that was missed."""
    journal = watched(rule=Liveness(rule="handshake", period_s=20))
    assert [kind for _, kind in story(journal, 100)] == ["session.started", "session.suspect", *END]


def test_a_session_without_address_cannot_be_asked_and_is_counted_all_the_same() -> None:
    """3.4: nothing, where neither is possible."""
    journal = watched(start())
    assert [kind for _, kind in story(journal, 100)] == ["session.started", "session.suspect", *END]


def test_the_interim_rule_asks_too_where_it_is_told_to() -> None:
    """3.3, 3.4: after each Interim that did not come."""
    journal = watched(start(interim_interval_s=20, framed_ip_address=ADDRESS), rule=Liveness(rule="interim", probe="arp"))
    assert story(journal, 100)[1:] == [(22, "arp 1"), (22, "session.suspect"), (42, "arp 2"), *[(60, kind) for kind in END]]


def test_what_was_asked_can_be_answered_though_the_talking_clock_passed_all_deadlines_at_once() -> None:
    """3.4, 3.5: a NAS that talks seldom moves its clock in steps."""
    journal = watched()
    journal.events()
    journal.pass_time(90)
    journal.feed(tick(96, heard=[("ap1", 0)]))
    assert (len(probes(journal)), journal.types()) == (1, ["session.suspect"])
    journal.now_s = 96
    told = story(journal, 12)
    assert [kind for _, kind in told] == ["arp 2", *END]


def test_a_restart_between_two_probes_changes_nothing() -> None:
    """2.8."""
    journal = watched().pass_time(30, "ap1").restart()
    assert len(probes(journal)) == 1
    assert [kind for _, kind in story(journal, 100)][2:] == ["arp 2", *END]


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        ({}, []),
        ({"framed_ip_address": ADDRESS}, [ADDRESS]),
        ({"framed_ipv6_prefix": "2001:db8::/64"}, []),
        ({"framed_ipv6_prefix": ["2001:db8::/64"], "framed_interface_id": "0:0:0:7"}, ["2001:db8::7"]),
        ({"framed_ipv6_prefix": "2001:db8::9/128", "framed_ip_address": ADDRESS}, [ADDRESS, "2001:db8::9"]),
    ],
)
def test_a_device_is_asked_at_all_addresses_that_its_nas_told(fields: dict[str, Any], addresses: list[str]) -> None:
    """3.4: IPv6 where prefix and interface give an address."""
    assert addresses_of(SessionRow("ap1", "s1", "bob", "open", **fields)) == addresses
