"""Which sightings from outside are let into the journal (behaviour 3.4): those that say who, and when, and not in their millions.

Law of this file: clocks are arguments. What is refused has a name, under which it is counted.
"""

from __future__ import annotations

import ipaddress

from schemas.sighting import Sighting
from streams.mac import normal_mac

FUTURE_MS = 60_000
LATE_MS = 600_000
PER_SECOND_MAX = 1_000
"""So many a second of one sender; each second's share can be saved up for `BURST_S`."""
BURST_S = 5
SENDERS_MAX = 1_024
"""Senders told apart; all further ones share one account."""


class Gate:
    """One door's memory of its senders."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[float, int]] = {}

    def refuses(self, sighting: Sighting, wall_ms: int, mono_ms: int) -> str | None:
        """Why a sighting is not let through; None: it is.

        Args:
            sighting: what somebody says.
            wall_ms: now, milliseconds since the epoch.
            mono_ms: now, on a clock that does not jump.
        """
        if not self._has_credit(sighting.by, mono_ms):
            return "too-many"
        if sighting.probe_id is not None or sighting.acct_session_id is not None:
            return "not-the-prober"
        if sighting.mac is None and sighting.address is None:
            return "says-nobody"
        if sighting.mac is not None:
            mac = normal_mac(sighting.mac)
            if mac is None or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
                return "no-device"
        if sighting.address is not None and not _is_a_devices(sighting.address):
            return "no-address"
        if sighting.time_ms > wall_ms + FUTURE_MS:
            return "future"
        return "late" if sighting.time_ms < wall_ms - LATE_MS else None

    def _has_credit(self, sender: str, mono_ms: int) -> bool:
        if sender not in self._accounts and len(self._accounts) >= SENDERS_MAX:
            sender = ""
        credit, at_ms = self._accounts.get(sender, (float(BURST_S * PER_SECOND_MAX), mono_ms))
        credit = min(BURST_S * PER_SECOND_MAX, credit + (mono_ms - at_ms) * PER_SECOND_MAX / 1000)
        self._accounts[sender] = (max(0.0, credit - 1), mono_ms)
        return credit >= 1


def _is_a_devices(address: str) -> bool:
    """Whether an address can be one device's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_multicast or parsed.is_unspecified or parsed.is_loopback or str(parsed) == "255.255.255.255")
