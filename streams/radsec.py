"""RADIUS over TLS: which NAS a connection is from, and why there is none (RFC 6614 sections 2.3 and 2.4).

Law of this file: what is known of a connection is its source address and what its certificate says; that somebody vouches for that is
known before. A name is stronger than an address: a NAS with `tls_name` is whoever shows that name from one of its networks. Others are
known by the source address, as over UDP: the most specific network wins, and where only NASes with names are at it, an unknown name is
nobody. Names are compared without regard to case, and as a whole: a certificate for any host of a domain (`*.`) names no NAS.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from schemas.configuration import Nas
from streams.nas_lookup import NasTable
from streams.radius.authenticator import BadAuthenticator
from streams.radius.framing import Malformed


class Ended(StrEnum):
    """Why a connection is refused or ended; counted under this name. Reasons of packets that end one are in `ENDING`."""

    TOO_MANY = "too-many"
    UNKNOWN_SOURCE = "unknown-source"
    HANDSHAKE = "handshake"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    NO_CERTIFICATE = "no-certificate"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_AUTHORITY = "certificate-authority"
    CERTIFICATE = "certificate"
    NAME = "tls-name"
    IDLE = "idle"
    SLOW_PACKET = "slow-packet"
    TRUNCATED = "truncated"
    NOT_READING = "not-reading"
    UNANSWERABLE = "unanswerable"


SENTENCES: Mapping[str, str] = {
    Ended.TOO_MANY: "there are as many connections as [ingest] radsec_connections allows",
    Ended.UNKNOWN_SOURCE: "no [[nas]] has this address",
    Ended.HANDSHAKE: "it does not come to terms with us about TLS (1.2 at least): is RADIUS over TLS turned on there?",
    Ended.HANDSHAKE_TIMEOUT: "it connected and did not finish its TLS handshake",
    Ended.NO_CERTIFICATE: "it shows no certificate: give the NAS one, by an authority in [tls] cafile",
    Ended.CERTIFICATE_EXPIRED: "its certificate has expired, or is not valid yet: renew it, and look at the clocks",
    Ended.CERTIFICATE_AUTHORITY: "no authority in [tls] cafile vouches for its certificate",
    Ended.CERTIFICATE: "its certificate cannot be believed",
    Ended.NAME: "its certificate bears the tls_name of no [[nas]] with this address",
    Ended.IDLE: "nothing came from it for [ingest] radsec_idle_s",
    Ended.SLOW_PACKET: "it did not finish a packet that it had begun",
    Ended.TRUNCATED: "it closed the connection within a packet",
    Ended.NOT_READING: "it does not read its answers",
    Ended.UNANSWERABLE: "Kafka did not take its records: it sends them again on its next connection",
}

ENDING = frozenset(str(reason) for kind in (Malformed, BadAuthenticator) for reason in kind)
"""Reasons against a packet after which the connection is not believed any more (RFC 6613 section 2.6.4)."""

_EXPIRED = (9, 10)
_NOBODY_VOUCHES = (2, 18, 19, 20, 21, 27)
"""OpenSSL's X509_V_ERR numbers: CERT_NOT_YET_VALID and CERT_HAS_EXPIRED; those about an issuer that is unknown or not trusted."""


def refused_handshake(reason: str | None, verify_code: int | None) -> Ended:
    """Why a handshake failed.

    Args:
        reason: OpenSSL's word, as `PEER_DID_NOT_RETURN_A_CERTIFICATE`.
        verify_code: the number of what is wrong with the certificate, where it is that.
    """
    if verify_code is not None:
        if verify_code in _EXPIRED:
            return Ended.CERTIFICATE_EXPIRED
        return Ended.CERTIFICATE_AUTHORITY if verify_code in _NOBODY_VOUCHES else Ended.CERTIFICATE
    return Ended.NO_CERTIFICATE if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE" else Ended.HANDSHAKE


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """The names that a certificate bears: the common names of its subject, and its alternative names for hosts and addresses.

    Args:
        certificate: as Python's `ssl.SSLSocket.getpeercert` gives it.
    """
    subject = (pair for part in certificate.get("subject", ()) for pair in part)
    names = [value for key, value in subject if key == "commonName"]
    names += [value for key, value in certificate.get("subjectAltName", ()) if key in ("DNS", "IP Address")]
    return frozenset(map(_normal, names))


class RadsecNases:
    """The NASes of a configuration as they are known over TLS; a changed one makes a new table."""

    def __init__(self, nases: Iterable[Nas], secret: str) -> None:
        """Build it.

        Args:
            nases: all, with and without `tls_name`.
            secret: what stands for the shared secret inside of TLS.
        """
        inside = [msgspec.structs.replace(nas, secret=secret) for nas in nases]
        named: dict[str, list[Nas]] = {}
        for nas in inside:
            if nas.tls_name is not None:
                named.setdefault(_normal(nas.tls_name), []).append(nas)
        self._by_name = {name: NasTable(sharing) for name, sharing in named.items()}
        self._all = NasTable(inside)

    def knows(self, source: str) -> bool:
        """Whether any NAS has this address: nobody else is worth a handshake."""
        return self._all.secret_for(source) is not None

    def of(self, source: str, names: frozenset[str]) -> tuple[Nas, ...]:
        """The NASes that a connection may be from, with the secret that holds inside of TLS; several are told apart by their records.

        Args:
            source: the address that it comes from.
            names: from `names_of`.

        Returns:
            None of them: `Ended.NAME` if `knows` the source.
        """
        tables = [self._by_name[name] for name in sorted(names) if name in self._by_name]
        named = [nas for table in tables if (match := table.secret_for(source)) is not None for nas in match.nases]
        if named:
            return tuple(named)
        match = self._all.secret_for(source)
        return () if match is None else tuple(nas for nas in match.nases if nas.tls_name is None)


def _normal(name: str) -> str:
    """A name, or an address however it is written, in the form in which it is compared."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.casefold().removesuffix(".")
