"""Huawei's Portal protocol, version 2 (also spoken by H3C, Ruijie and others): a portal server ends a user, a NAS tells that one has gone.

Law of this file: octets in, packets out, and back. Version 1 is refused: it has no authenticator, so that anybody could log anybody out.
A user is known by his IPv4 address alone.

    version(1) type(1) PAP/CHAP(1) reserved(1) serial(2) request(2) user address(4) user port(2) error(1) number of attributes(1)
    authenticator(16)
    attributes: type(1) length(1, with these two octets) value

A request's authenticator is MD5 of the packet with 16 zeros in its place and the secret behind; a response's is the same with the request's
authenticator in its place. Nothing in a packet says when it was made: whoever reads one must remember it, or take it again and again.
Sources: Huawei "Portal Protocol" (packet types and fields), H3C "display portal server statistics" (the same types), and for the
authenticators the published test vectors of xpws, which are in the tests.
"""

import hmac
from collections.abc import Sequence
from enum import StrEnum
from hashlib import md5
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from schemas.ways import Answer

VERSION: Final = 2
REQ_LOGOUT: Final = 0x05
ACK_LOGOUT: Final = 0x06
NTF_LOGOUT: Final = 0x08
ACK_NTF_LOGOUT: Final = 0x0E
"""The answer to NTF_LOGOUT, due also where the user is unknown; some call it AFF_ACK_LOGOUT."""
SESSION_ID: Final = 0x0B
"""An attribute: the user's MAC address, six octets."""
BAS_PORT: Final = 2000
HEADER_OCTETS: Final = 16
AUTHENTICATED_OCTETS: Final = 32
PACKET_OCTETS_MAX: Final = 1024
_ZEROS: Final = bytes(16)
_PAP: Final = 1


class Refused(StrEnum):
    """Why a datagram is not taken."""

    MALFORMED = "malformed"
    VERSION = "other-version"
    TYPE = "other-type"
    SERIAL = "other-serial"
    USER = "other-user"
    AUTHENTICATOR = "authenticator"


class Packet(NamedTuple):
    """A packet without its authenticator.

    Attributes:
        kind: its type. serial: of the exchange. user_ip: IPv4. error_code: what it means depends on the type.
        attributes: (type, value).
    """

    kind: int
    serial: int
    user_ip: str
    error_code: int = 0
    request_id: int = 0
    attributes: tuple[tuple[int, bytes], ...] = ()

    @property
    def mac(self) -> str | None:
        """The user's MAC address, in lower case with colons, where the packet has it."""
        return next((value.hex(":") for kind, value in self.attributes if kind == SESSION_ID and len(value) == 6), None)


def build_request(packet: Packet, secret: bytes) -> bytes:
    """A packet that begins an exchange.

    Raises:
        ValueError: the address is no IPv4 address, a number is out of its range, or the packet is longer than 1024 octets.
    """
    return _signed(packet, _ZEROS, secret)


def build_response(packet: Packet, request: bytes, secret: bytes) -> bytes:
    """A packet that answers one.

    Args:
        packet: with the request's serial and user.
        request: as it was received, whole.
        secret: shared with its sender.

    Raises:
        ValueError: as for `build_request`.
    """
    return _signed(packet, request[HEADER_OCTETS:AUTHENTICATED_OCTETS], secret)


def read_request(datagram: bytes, kind: int, secret: bytes) -> Packet | Refused:
    """Read a packet that begins an exchange.

    Args:
        datagram: what came from the peer.
        kind: the type that is expected.
        secret: shared with the peer.

    Returns:
        The packet, or why it is not taken.
    """
    return _read(datagram, kind, _ZEROS, secret)


def read_response(datagram: bytes, kind: int, request: bytes, secret: bytes) -> Packet | Refused:
    """Read what may be the answer to a request of ours: its serial and user have to be the request's.

    Args:
        datagram: what came from the peer.
        kind: the type that is expected.
        request: as it was sent.
        secret: the one it was signed with.

    Returns:
        The packet, or why this is no answer.
    """
    return _read(datagram, kind, request[HEADER_OCTETS:AUTHENTICATED_OCTETS], secret, request)


LOGOUT_ANSWERS: Final[dict[int, tuple[Answer, str]]] = {
    0: ("accepted", "ACK_LOGOUT: the NAS logs the user out"),
    1: ("refused", "ACK_LOGOUT with error 1: the NAS refuses"),
    2: ("refused", "ACK_LOGOUT with error 2: the NAS failed to log the user out"),
    3: ("gone", "ACK_LOGOUT with error 3: no user is online at that address"),
}
"""What the error of an ACK_LOGOUT means."""


def answer_of(ack: Packet) -> tuple[Answer, str]:
    """What an ACK_LOGOUT means for a disconnect, and a sentence."""
    return LOGOUT_ANSWERS.get(ack.error_code, ("refused", f"ACK_LOGOUT with error {ack.error_code}, which is not known"))


def _signed(packet: Packet, authenticator: bytes, secret: bytes) -> bytes:
    attributes = _encoded(packet.attributes)
    for number, octets in ((packet.kind, 1), (packet.serial, 2), (packet.request_id, 2), (packet.error_code, 1)):
        if not 0 <= number < 1 << (8 * octets):
            raise ValueError(f"{number} does not fit into {octets} octets")
    header = (
        bytes((VERSION, packet.kind, _PAP, 0))
        + packet.serial.to_bytes(2)
        + packet.request_id.to_bytes(2)
        + IPv4Address(packet.user_ip).packed
        + bytes((0, 0, packet.error_code, len(packet.attributes)))
    )
    whole = header + md5(header + authenticator + attributes + secret).digest() + attributes
    if len(whole) > PACKET_OCTETS_MAX:
        raise ValueError(f"a packet of {len(whole)} octets cannot be sent")
    return whole


def _encoded(attributes: Sequence[tuple[int, bytes]]) -> bytes:
    if len(attributes) > 255:
        raise ValueError(f"{len(attributes)} attributes do not fit into a packet")
    return b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes)


def _read(datagram: bytes, kind: int, authenticator: bytes, secret: bytes, request: bytes | None = None) -> Packet | Refused:
    if not HEADER_OCTETS <= len(datagram) <= PACKET_OCTETS_MAX:
        return Refused.MALFORMED
    if datagram[0] != VERSION:
        return Refused.VERSION
    if len(datagram) < AUTHENTICATED_OCTETS:
        return Refused.MALFORMED
    if datagram[1] != kind:
        return Refused.TYPE
    attributes = _attributes(datagram)
    if attributes is None:
        return Refused.MALFORMED
    if request is not None and datagram[4:6] != request[4:6]:
        return Refused.SERIAL
    if request is not None and datagram[8:12] != request[8:12]:
        return Refused.USER
    expected = md5(datagram[:HEADER_OCTETS] + authenticator + datagram[AUTHENTICATED_OCTETS:] + secret).digest()
    if not hmac.compare_digest(expected, datagram[HEADER_OCTETS:AUTHENTICATED_OCTETS]):
        return Refused.AUTHENTICATOR
    serial, request_id = int.from_bytes(datagram[4:6]), int.from_bytes(datagram[6:8])
    return Packet(kind, serial, str(IPv4Address(datagram[8:12])), datagram[14], request_id, attributes)


def _attributes(datagram: bytes) -> tuple[tuple[int, bytes], ...] | None:
    """The attributes; None where they are not as many as the header says, or do not fill the packet exactly."""
    at, found = AUTHENTICATED_OCTETS, []
    while at < len(datagram):
        length = datagram[at + 1] if at + 1 < len(datagram) else 0
        if length < 2 or at + length > len(datagram):
            return None
        found.append((datagram[at], datagram[at + 2 : at + length]))
        at += length
    return tuple(found) if len(found) == datagram[15] else None
