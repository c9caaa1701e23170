"""Sightings, of the prober and from outside: a sign of life for the right session, and never for another (behaviour 3.4)."""

from typing import Any

import pytest

from schemas.codec import encode
from schemas.policy import Liveness
from schemas.sighting import Sighting, Sightings
from schemas.topics import PROBES
from tests.support.journal import T0_MS, Journal, Record, mac_of, play, policy, start, stop, tick

HANDSHAKE = Liveness(rule="handshake", period_s=20, probe="arp")
ADDRESS = "10.0.0.7"
OTHER_MAC = "02-FF-FF-FF-FF-01"


def seen(at_s: float = 0, **fields: Any) -> Record:
    return Record("sighting", None, encode(Sightings(seen=[Sighting(time_ms=T0_MS + round(at_s * 1000), by="switch", **fields)])))


def suspect(*more: Record, rule: Liveness = HANDSHAKE, **fields: Any) -> Journal:
    """Session s1 was missed once; the log stands at 27 s."""
    journal = play(policy(rule), tick(0, heard=[("ap1", 0)])).pass_time(5, "ap1")
    journal.feed(start(framed_ip_address=ADDRESS, **fields)).pass_time(22, "ap1").feed(*more)
    journal.events()
    journal.suspect_row()
    journal.take(PROBES.name)
    return journal


@pytest.mark.parametrize(
    "by",
    [
        {"mac": mac_of("s1")},
        {"mac": mac_of("s1").replace("-", "").lower()},
        {"address": ADDRESS},
        {"mac": mac_of("s1"), "address": ADDRESS},
        {"mac": mac_of("s1"), "address": "10.9.9.9"},
        {"probe_id": "0-9-0-bob", "nas": "ap1", "acct_session_id": "s1", "mac": mac_of("s1"), "address": ADDRESS},
    ],
    ids=["mac", "mac-in-another-notation", "address", "both", "mac-at-another-address", "answer-to-a-probe"],
)
@pytest.mark.parametrize("restart", [False, True])
def test_who_was_seen_lives(by: dict[str, str], *, restart: bool) -> None:
    """3.4: a suspect session is open again, says so, and its count begins anew; an index built anew finds it too."""
    journal = suspect()
    if restart:
        journal.restart()
    (updated,) = journal.feed(seen(27, **by)).events()
    assert (updated.type, updated.text, updated.acct_session_id) == ("session.updated", "seen by switch", "s1")
    assert journal.core.sightings == {"alive": 1}
    row = journal.open_row()
    assert (row.probes, row.alive_at_ms) == (0, T0_MS + 27_000)
    assert journal.pass_time(20, "ap1").types() == []
    journal.nothing_else()


@pytest.mark.parametrize(
    ("by", "outcome"),
    [
        ({"mac": OTHER_MAC}, "nobody"),
        ({"address": "10.0.0.8"}, "nobody"),
        ({"address": "10.0.0.999"}, "nobody"),
        ({"mac": "ff:ff:ff:ff:ff:ff"}, "no-device"),
        ({"mac": "01-00-5E-00-00-01"}, "no-device"),
        ({"mac": "nonsense"}, "no-device"),
        ({"mac": OTHER_MAC, "address": ADDRESS}, "nobody"),
        ({"address": ADDRESS, "nas": "ap2"}, "nobody"),
        ({}, "nobody"),
    ],
)
def test_what_says_nothing_about_a_session_is_counted_and_is_no_sign_of_life(by: dict[str, str], outcome: str) -> None:
    """3.4: an address that another MAC has now is no sign of life of the first."""
    journal = suspect().feed(seen(27, **by))
    assert journal.core.sightings == {outcome: 1}
    journal.suspect_row()
    journal.nothing_else()


@pytest.mark.parametrize(("at_s", "outcome"), [(27 + 61, "future"), (27 - 61, "late")])
def test_sightings_from_the_future_and_of_long_ago_are_no_news(at_s: int, outcome: str) -> None:
    """3.4: also answers of probes that come late."""
    journal = suspect().feed(seen(at_s, mac=mac_of("s1")))
    assert journal.core.sightings == {outcome: 1}
    journal.suspect_row()
    journal.nothing_else()


def test_an_answer_of_another_device_is_kept_for_people_and_is_no_sign_of_life() -> None:
    """3.4: its address was taken over."""
    journal = suspect().feed(seen(27, probe_id="p", nas="ap1", acct_session_id="s1", mac=OTHER_MAC, address=ADDRESS))
    (rejected,) = journal.rejected()
    assert (rejected.reason, rejected.detail) == ("sighting-of-another", f"{ADDRESS} of session s1 on ap1 is {OTHER_MAC}'s now")
    journal.suspect_row()
    journal.nothing_else()


def test_a_session_that_has_ended_is_not_brought_back() -> None:
    """2.6, 3.4: only its NAS can do that."""
    journal = suspect().feed(stop(at_s=27))
    journal.events()
    journal.feed(seen(27, mac=mac_of("s1")))
    assert (journal.ended_row().said_by, journal.core.sightings) == ("nas-stop", {"nobody": 1})
    assert len(journal.core.table.whereabouts) == 0
    journal.nothing_else()


def test_a_device_is_in_one_place_its_newest_session() -> None:
    """3.4: the one it left may be dead."""
    mac = mac_of("s1")
    journal = suspect(start("s2", nas="ap2", mac=mac, framed_ip_address="10.0.0.8"))
    journal.feed(tick(27.1, heard=[("ap1", 0), ("ap2", 0)]))
    for second in range(28, 40):
        journal.feed(tick(second, heard=[("ap1", 0), ("ap2", 0)]))
    journal.feed(seen(39, mac=mac))
    journal.suspect_row("s1")
    assert (journal.open_row("s2", "ap2").alive_at_ms, journal.core.sightings) == (T0_MS + 39_000, {"alive": 1})


def test_an_address_that_several_sessions_have_says_nothing_without_the_mac() -> None:
    """3.4: private addresses behind several NASes; with the NAS's name it does."""
    journal = suspect(start("s2", nas="ap2", framed_ip_address=ADDRESS)).feed(seen(27, address=ADDRESS))
    assert journal.core.sightings == {"ambiguous": 1}
    journal.suspect_row()
    journal.feed(seen(27, address=ADDRESS, nas="ap1"))
    journal.open_row()


def test_a_session_that_was_alive_a_moment_ago_is_left_as_it_is() -> None:
    """3.4, 3.8: sightings in their millions do not write a row each."""
    journal = suspect().feed(seen(27, mac=mac_of("s1")))
    journal.core.checkpoint()
    journal.feed(*[seen(27, mac=mac_of("s1"))] * 100)
    assert (journal.core.sightings, journal.core.touched) == ({"alive": 1, "again": 100}, 0)


def test_where_no_rule_takes_sightings_they_cost_nothing_and_find_nobody() -> None:
    """3.4, 3.8."""
    journal = play(policy(Liveness(rule="interim")), tick(0), start(framed_ip_address=ADDRESS)).feed(seen(0, mac=mac_of("s1")))
    assert (journal.core.sightings, len(journal.core.table.whereabouts)) == ({"nobody": 1}, 0)
    journal.feed(policy(HANDSHAKE, version=2), seen(0, mac=mac_of("s1")))
    assert len(journal.core.table.whereabouts) == 2


def test_an_address_that_comes_with_an_interim_is_known_from_then_on() -> None:
    """3.4: hostapd and others learn it late; the former address says nothing any more."""
    journal = suspect(start("s2", framed_ip_address="10.0.0.8"))
    known = journal.core.table.whereabouts
    assert known.of_address("10.0.0.8") == ("s:ap1/s2",)
    journal.feed(start("s2", at_s=1, framed_ip_address="10.0.0.9"))
    assert (known.of_address("10.0.0.8"), known.of_address("10.0.0.9")) == ((), ("s:ap1/s2",))


def test_a_batch_gives_each_session_its_own() -> None:
    """3.4."""
    journal = suspect(start("s2"))
    batch = Sightings(seen=[Sighting(time_ms=T0_MS + 27_000, mac=mac_of(name)) for name in ("s1", "nobody", "s2")])
    journal.feed(Record("sighting", None, encode(batch)))
    assert journal.core.sightings == {"alive": 1, "nobody": 1, "again": 1}
