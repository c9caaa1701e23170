"""Which sightings from outside are let into the journal (behaviour 3.4)."""

from typing import Any

import pytest

from schemas.sighting import Sighting
from streams.sighting_gate import BURST_S, PER_SECOND_MAX, SENDERS_MAX, Gate

NOW_MS = 1_795_199_831_000
MAC, ADDRESS = "02-AA-00-00-00-01", "192.0.2.7"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mac": MAC}, None),
        ({"address": ADDRESS}, None),
        ({"address": "2001:db8::7", "mac": "02aa.0000.0001"}, None),
        ({}, "says-nobody"),
        ({"mac": "ff:ff:ff:ff:ff:ff"}, "no-device"),
        ({"mac": "33:33:00:00:00:01"}, "no-device"),
        ({"mac": "00:00:00:00:00:00"}, "no-device"),
        ({"mac": "printer"}, "no-device"),
        ({"address": "224.0.0.1"}, "no-address"),
        ({"address": "255.255.255.255"}, "no-address"),
        ({"address": "10.0.0.256"}, "no-address"),
        ({"mac": MAC, "time_ms": NOW_MS + 60_001}, "future"),
        ({"mac": MAC, "time_ms": NOW_MS - 600_001}, "late"),
        ({"mac": MAC, "time_ms": 0}, "late"),
        ({"mac": MAC, "probe_id": "0-1-0-bob"}, "not-the-prober"),
        ({"mac": MAC, "nas": "ap1", "acct_session_id": "s1"}, "not-the-prober"),
    ],
)
def test_a_sighting_says_who_and_when(fields: dict[str, Any], reason: str | None) -> None:
    """3.4: broadcast and multicast are nobody; the future and long ago are no news; an answer to a probe comes from the prober alone."""
    assert Gate().refuses(Sighting(**{"time_ms": NOW_MS, **fields}), NOW_MS, 0) == reason


def test_one_sender_is_limited_and_the_others_are_not() -> None:
    """3.4: in their millions from one sender."""
    gate = Gate()
    loud, quiet = Sighting(time_ms=NOW_MS, by="loud", mac=MAC), Sighting(time_ms=NOW_MS, by="quiet", mac=MAC)
    told = [gate.refuses(loud, NOW_MS, 0) for _ in range(3 * BURST_S * PER_SECOND_MAX)]
    assert told.count(None) == BURST_S * PER_SECOND_MAX
    assert told[-1] == "too-many"
    assert gate.refuses(quiet, NOW_MS, 0) is None
    assert [gate.refuses(loud, NOW_MS, 1000) for _ in range(2 * PER_SECOND_MAX)].count(None) == PER_SECOND_MAX


def test_senders_that_invent_names_share_one_account() -> None:
    """Limits on everything that grows."""
    gate = Gate()
    told = [
        gate.refuses(Sighting(time_ms=NOW_MS, by=f"s{n}", mac=MAC), NOW_MS, 0) for n in range(SENDERS_MAX + 2 * BURST_S * PER_SECOND_MAX)
    ]
    assert told.count(None) == SENDERS_MAX + BURST_S * PER_SECOND_MAX
