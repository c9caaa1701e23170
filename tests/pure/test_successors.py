"""Which session a new Start replaces (behaviour 2.5)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.session import SessionRow
from streams.successors import replaced_by
from tests.support.journal import T0_MS, interim, play, policy, start, user_limit

MAC = "02-00-00-00-00-01"
OLD = SessionRow("ap1", "s1", "bob", "open", device="02:00:00:00:00:01", nas_port=7, framed_ip_address="10.0.0.7", event_ms=T0_MS)
NEW = replace(OLD, acct_session_id="s2", started_ms=T0_MS + 1)


@pytest.mark.parametrize(
    ("changes", "is_replaced"),
    [
        ({}, True),
        ({"started_ms": T0_MS}, True),
        ({"started_ms": T0_MS - 1}, False),  # it began while the other one was alive
        ({"nas": "ap2"}, False),  # roaming: the other access point will say so itself
        ({"nas_port": 8}, True),  # the same address
        ({"framed_ip_address": "10.0.0.8"}, True),  # the same port
        ({"nas_port": 8, "framed_ip_address": "10.0.0.8"}, False),
        ({"nas_port": None, "framed_ip_address": None}, False),
        ({"nas_port_id": "vlan5", "framed_ip_address": None}, True),  # it says more
        ({"device": None}, True),  # an address has one holder
        ({"device": None, "framed_ip_address": None}, False),
        ({"device": "02:00:00:00:00:02"}, False),  # two devices: in doubt both are left
        ({"nas_identifier": "ap-2"}, True),
    ],
)
def test_the_same_device_on_the_same_port_or_with_the_same_address_replaces_its_session(
    changes: dict[str, object], is_replaced: bool
) -> None:
    """2.5."""
    assert replaced_by(replace(NEW, **changes), [OLD]) == ([OLD] if is_replaced else [])


def test_of_two_starts_in_one_second_of_the_nas_neither_is_known_to_be_the_later() -> None:
    """2.5: the first one's may have overtaken the second one's on the way."""
    first = replace(OLD, started_ms=T0_MS, start_seen=True, start_believed=True, event_believed=True)
    assert replaced_by(replace(NEW, started_ms=T0_MS), [first]) == []
    assert replaced_by(replace(NEW, started_ms=T0_MS + 1_000), [first]) == [first]
    heard_since = replace(first, event_ms=T0_MS + 1_000)
    assert replaced_by(replace(NEW, started_ms=T0_MS + 1_000), [heard_since]) == [heard_since]


def test_a_session_opened_by_an_interim_after_its_nas_clock_was_set_back_is_not_replaced_by_a_start_that_arrived_before_it_began() -> None:
    """2.5: its own times say too little of when it began; that of its arrival less Acct-Session-Time says more."""
    row = replace(OLD, started_ms=T0_MS - 600_000, order_ms=T0_MS + 10_000, opened_by="Interim-Update")
    assert replaced_by(replace(NEW, order_ms=T0_MS), [row]) == []
    assert replaced_by(replace(NEW, order_ms=T0_MS + 20_000), [row]) == [row]
    began = replace(row, start_seen=True)
    assert replaced_by(replace(NEW, order_ms=T0_MS), [began]) == [began]


def test_ports_that_differ_by_name_are_two() -> None:
    """2.5: a NAS whose NAS-Port is the same for all."""
    assert replaced_by(replace(NEW, nas_port_id="lan2", framed_ip_address=None), [replace(OLD, nas_port_id="lan1")]) == []


def test_two_devices_of_one_entry_of_the_configuration_have_ports_of_their_own() -> None:
    """2.5: what a proxy passes on."""
    assert replaced_by(replace(NEW, nas_identifier="ap-2"), [replace(OLD, nas_identifier="ap-1")]) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "255.255.255.254", "255.255.255.255"])  # noqa: S104 - nothing is bound to it
def test_an_address_that_is_none_is_nobodys(address: str) -> None:
    """2.5; RFC 2865 section 5.8."""
    row = replace(OLD, framed_ip_address=address, nas_port=None)
    assert replaced_by(replace(NEW, framed_ip_address=address, nas_port=None), [row]) == []


def test_a_device_that_starts_anew_on_its_port_ends_its_session_and_needs_one_slot() -> None:
    """2.5, 4.2: as superseded, before the limits are asked; and nobody is disconnected for it."""
    journal = play(policy(user_limit(1, count="sessions")), start(mac=MAC, nas_port=7), interim(at_s=60, mac=MAC, nas_port=7))
    journal.feed(start("s2", at_s=90, mac=MAC, nas_port=7))
    events = journal.events()
    assert [event.type for event in events] == [
        "session.started",
        "session.updated",
        "session.superseded",
        "session.ended",
        "session.started",
    ]
    assert (events[3].acct_session_id, events[3].said_by, events[3].ended_ms) == ("s1", "superseded", T0_MS + 60_000)
    assert journal.ended_row("s1").said_by == "superseded"
    journal.nothing_else()


def test_the_session_that_was_replaced_comes_back_if_it_reports_again() -> None:
    """2.6: we were wrong."""
    journal = play(start(mac=MAC, nas_port=7), start("s2", at_s=90, mac=MAC, nas_port=7))
    journal.events()
    journal.feed(interim(at_s=120, mac=MAC, nas_port=7))
    assert journal.types() == ["session.reopened"]
    journal.nothing_else()


def test_a_late_start_replaces_nothing_that_was_heard_of_since() -> None:
    """2.5, 3.5: old news."""
    journal = play(start(at_s=0, mac=MAC, nas_port=7), interim(at_s=600, mac=MAC, nas_port=7))
    journal.feed(start("s0", at_s=300, late_s=400, mac=MAC, nas_port=7))
    assert journal.types() == ["session.started", "session.updated", "session.started"]
    journal.open_row()
    journal.nothing_else()
