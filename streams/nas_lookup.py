"""Which NAS a packet is from: by its source address before anything of it is believed, by its attributes once it is.

The secret is chosen by the packet's source address alone (RFC 2865 section 3, RFC 5080 section 2.7.2): the most specific network of the
configuration wins, and all NASes of one network have one secret. Behind a proxy's address the record's own NAS-Identifier and
NAS-IP-Address then tell them apart. Asked for every packet, so answers are remembered, for a bounded number of sources.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from schemas.configuration import Address, Nas

REMEMBERED_MAX = 65_536
"""Answers that each of the two look-ups remembers; the one asked for longest ago is forgotten first."""


class NasMatch(NamedTuple):
    """What is known of a packet by its source address.

    Attributes:
        secret: The shared secret, in octets.
        require_message_authenticator: Whether any NAS of that network must sign with Message-Authenticator.
        nases: The NASes of that network, in the order of the configuration.
    """

    secret: bytes
    require_message_authenticator: bool
    nases: tuple[Nas, ...]

    def __repr__(self) -> str:
        """Without the secret."""
        return f"NasMatch({', '.join(nas.name for nas in self.nases)})"


class NasTable:
    """The NASes of a configuration, by network; a changed configuration makes a new table."""

    def __init__(self, nases: Iterable[Nas]) -> None:
        """Build the table from NASes that passed `check_configuration` and whose secret files were read.

        Raises:
            ValueError: A NAS has no secret, or an address that is none.
        """
        by_network: dict[tuple[int, int, int], list[Nas]] = {}
        for nas in nases:
            if not nas.secret:
                raise ValueError(f"the secret of {nas.name} is not known")
            for network in dict.fromkeys(map(ipaddress.ip_network, nas.addresses)):
                key = (network.version, network.prefixlen, _prefix(network.network_address, network.prefixlen))
                by_network.setdefault(key, []).append(nas)
        self._matches = {key: _match(sharing) for key, sharing in by_network.items()}
        self._lengths = {version: sorted({key[1] for key in by_network if key[0] == version}, reverse=True) for version in (4, 6)}
        self._known_sources = lru_cache(REMEMBERED_MAX)(self._match_source)
        self._known_records = lru_cache(REMEMBERED_MAX)(self._match_record)

    def secret_for(self, source: str) -> NasMatch | None:
        """The secret for a packet from `source`, an IPv4 or IPv6 address as the socket gives it; None if nobody is known there."""
        return self._known_sources(source)

    def resolve(self, source: str, nas_identifier: str | None, nas_ip_address: str | None) -> Nas | None:
        """The NAS of a record from `source` with these attributes (NAS-IP-Address or NAS-IPv6-Address); None if it is not told apart.

        An attribute that the record lacks contradicts no NAS, one with another value than configured does. Of those left, the one whose
        NAS-Identifier was seen goes before the one whose address was, and that before one that asks for neither.
        """
        return self._known_records(source, nas_identifier, nas_ip_address)

    def _match_source(self, source: str) -> NasMatch | None:
        try:
            address = _address(source)
        except ValueError:
            return None
        for length in self._lengths[address.version]:
            if match := self._matches.get((address.version, length, _prefix(address, length))):
                return match
        return None

    def _match_record(self, source: str, nas_identifier: str | None, nas_ip_address: str | None) -> Nas | None:
        match = self.secret_for(source)
        if match is None:
            return None
        seen = (nas_identifier, _address_or_none(nas_ip_address))
        ranked: dict[tuple[bool, bool, int], list[Nas]] = {}
        for nas in match.nases:
            asked = (nas.nas_identifier, _address_or_none(nas.nas_ip_address))
            agrees = tuple(want is not None and want == got for want, got in zip(asked, seen, strict=True))
            if any(want is not None and got is not None and want != got for want, got in zip(asked, seen, strict=True)):
                continue
            unseen = sum(want is not None for want in asked) - sum(agrees)
            ranked.setdefault((agrees[0], agrees[1], -unseen), []).append(nas)
        best = ranked[max(ranked)] if ranked else []
        return best[0] if len(best) == 1 else None


def _match(sharing: list[Nas]) -> NasMatch:
    secret = (sharing[0].secret or "").encode()
    return NasMatch(secret, any(nas.require_message_authenticator for nas in sharing), tuple(sharing))


def _address(text: str) -> Address:
    """An address without its zone; an IPv4 address that an IPv6 socket saw (RFC 4291 section 2.5.5.2) as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _address_or_none(text: str | None) -> Address | None:
    try:
        return None if text is None else _address(text)
    except ValueError:
        return None


def _prefix(address: Address, length: int) -> int:
    return int(address) >> (address.max_prefixlen - length)
