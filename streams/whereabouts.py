"""Whose is a MAC address, whose is an IP address: open sessions by the device and by the addresses that they have.

Law of this file: an index that follows from the rows. Only sessions whose rule takes sightings are in it, so it costs nothing elsewhere;
and since there may be millions of them, its keys are numbers (docs/liveness.md says what it costs).
"""

from __future__ import annotations

import ipaddress

from schemas.session import SessionRow
from streams.key_index import KeyIndex

_NET = 1 << 128
"""Set in the number of an IPv6 network of 64 bits: a Framed-IPv6-Prefix holds all addresses of its device."""


class Whereabouts:
    """Open sessions by MAC address and by IP address."""

    def __init__(self) -> None:
        self._of: KeyIndex[int] = KeyIndex()

    def __len__(self) -> int:
        """How many MAC addresses and places are known."""
        return len(self._of)

    def add(self, key: str, row: SessionRow) -> None:
        """A session is here now."""
        for place in _places(row.device, row.framed_ip_address, row.framed_ipv6_prefix):
            self._of.add(place, key)

    def remove(self, key: str, device: str | None, address: str | None, prefix: str | list[str] | None) -> None:
        """A session with this MAC address, Framed-IP-Address and Framed-IPv6-Prefix is not here any more."""
        for place in _places(device, address, prefix):
            self._of.remove(place, key)

    def of_mac(self, mac: str) -> tuple[str, ...]:
        """The keys of the sessions of a device, by its MAC address in small letters with colons."""
        return self._of.keys_of(_mac(mac))

    def of_address(self, address: str) -> tuple[str, ...]:
        """The keys of the sessions that have an IP address.

        Raises:
            ValueError: it is none.
        """
        parsed = ipaddress.ip_address(address)
        return self._of.keys_of(_v4(address) if parsed.version == 4 else _NET | int(parsed) >> 64)


def _places(device: str | None, address: str | None, prefix: str | list[str] | None) -> list[int]:
    """What a session is found by. A MAC address has 48 bits, an IPv4 address is set above them."""
    places = [] if device is None else [_mac(device)]
    if address is not None:
        places.append(_v4(address))
    for text in [prefix] if isinstance(prefix, str) else prefix or ():
        network = ipaddress.IPv6Network(text, strict=False)
        if network.prefixlen >= 64:
            places.append(_NET | int(network.network_address) >> 64)
    return list(dict.fromkeys(places))


def _mac(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _v4(address: str) -> int:
    return 1 << 48 | int.from_bytes(bytes(map(int, address.split("."))))
