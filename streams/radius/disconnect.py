"""Disconnecting: Disconnect-Requests and CoA-Requests out, their ACKs and NAKs in.

Law of this file: octets only. Which attributes a NAS is to be sent, when it is asked again and what its answer means for the session are
decided elsewhere. The session's attributes go out octet for octet as the NAS sent them, but for a MAC address where the NAS is known to
want another notation here than it sends. Packets are put together here, in a twentieth of the time that pyrad takes; pyrad is the oracle
in the tests.
Sources: RFC 5176 sections 2.3, 3.3, 3.4 and 3.5; RFC 2869 section 5.3 (Event-Timestamp); RFC 3162 sections 2.2 and 2.3 (IPv6).
"""

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from typing import Final

import msgspec

from schemas.configuration import MacNotation
from streams.mac import normal_mac
from streams.radius import authenticator
from streams.radius.authenticator import MESSAGE_AUTHENTICATOR, ZEROS, BadAuthenticator, sign_request, verify_response
from streams.radius.composite import VENDOR_SPECIFIC
from streams.radius.fields import AUDIT_SESSION_ID, AUDIT_SESSION_ID_PREFIX, CISCO_AVPAIR, FIELDS, Value
from streams.radius.framing import HEADER_OCTETS, PACKET_OCTETS_MAX, Malformed, check_framing
from streams.radius.values import DECIMAL, to_octets

DISCONNECT_REQUEST: Final = 40
DISCONNECT_ACK: Final = 41
DISCONNECT_NAK: Final = 42
COA_REQUEST: Final = 43
COA_ACK: Final = 44
COA_NAK: Final = 45
EVENT_TIMESTAMP: Final = 55
ERROR_CAUSE: Final = 101
VALUE_OCTETS_MAX: Final = 253
_PROVEN: Final = bytes((MESSAGE_AUTHENTICATOR, 2 + len(ZEROS)))
_OCTET: Final = [bytes((octet,)) for octet in range(256)]
_STAMP: Final = bytes((EVENT_TIMESTAMP, 6))
_DECIMAL: Final = {DECIMAL[octet]: octet for octet in range(256)}
_INTERFACE_ID: Final = re.compile(r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){3}", re.IGNORECASE)


class RefusedReply(StrEnum):
    """Why a datagram is no answer to our request; it is ignored, and the request goes on waiting."""

    MALFORMED = "malformed"
    OTHER_CODE = "other-code"
    OTHER_IDENTIFIER = "other-identifier"
    AUTHENTICATOR = "authenticator"
    MESSAGE_AUTHENTICATOR = "message-authenticator"


class Reply(msgspec.Struct, frozen=True):
    """A NAS's answer to a Disconnect-Request or CoA-Request.

    Attributes:
        acknowledged: ACK, else NAK.
        error_cause: RFC 5176 section 3.5, where the NAS gives one.
        event_timestamp_s: seconds since 1970 by the NAS's clock, where it gives one; whether that is stale is the caller's to judge.
    """

    acknowledged: bool
    error_cause: int | None
    event_timestamp_s: int | None


def build_disconnect(
    *,
    attributes: Sequence[tuple[int, bytes]],
    secret: bytes,
    identifier: int,
    event_timestamp_s: int | None,
    code: int = DISCONNECT_REQUEST,
    message_authenticator: bool = True,
) -> bytes:
    """Build a Disconnect-Request or a CoA-Request.

    Message-Authenticator comes first, Event-Timestamp last; between them the attributes in order. A request that is sent again is these
    same octets, its Event-Timestamp too (RFC 5176 section 6.3).

    Args:
        attributes: (number, octets), as `encode_field` makes them.
        secret: shared with the NAS for disconnecting.
        identifier: 0 to 255, not in use towards that NAS from that port.
        event_timestamp_s: when it is first sent, seconds since 1970; None leaves it out.
        code: `DISCONNECT_REQUEST` or `COA_REQUEST`.
        message_authenticator: False leaves it out; the Request Authenticator proves the secret in any case.

    Returns:
        The packet.

    Raises:
        ValueError: an attribute is longer than 253 octets, the packet than 4096, or a number is out of its range.
    """
    if not 0 <= identifier <= 255:
        raise ValueError(f"Identifier {identifier} is not one octet")
    parts: list[bytes] = []
    for number, octets in attributes:
        if not 0 < number <= 255 or len(octets) > VALUE_OCTETS_MAX:
            raise ValueError(f"attribute {number} of {len(octets)} octets cannot be sent")
        parts += (_OCTET[number], _OCTET[len(octets) + 2], octets)
    if event_timestamp_s is not None:
        parts += (_STAMP, _u32(event_timestamp_s))
    encoded = b"".join(parts)
    length = HEADER_OCTETS + len(encoded) + (len(_PROVEN) + len(ZEROS) if message_authenticator else 0)
    if length > PACKET_OCTETS_MAX:
        raise ValueError(f"a packet of {length} octets cannot be sent")
    if message_authenticator:
        header = bytes((code, identifier, length >> 8, length & 255))
        encoded = _PROVEN + authenticator.message_authenticator(header, ZEROS, _PROVEN + ZEROS + encoded, secret) + encoded
    return sign_request(code, identifier, encoded, secret)


def read_reply(reply: bytes, request: bytes, secret: bytes) -> Reply | RefusedReply:
    """Read what may be the answer to a Disconnect-Request or CoA-Request of ours.

    Args:
        reply: a datagram from the NAS's address and port.
        request: the request as it was sent; its ACK's code is the next number, its NAK's the one after that.
        secret: the one that it was signed with.

    Returns:
        The answer, or why this is none.
    """
    length = check_framing(reply)
    if isinstance(length, Malformed):
        return RefusedReply.MALFORMED
    packet = reply[:length]
    if not request[0] < packet[0] <= request[0] + 2:
        return RefusedReply.OTHER_CODE
    if packet[1] != request[1]:
        return RefusedReply.OTHER_IDENTIFIER
    match verify_response(packet, request, secret):
        case None:
            return Reply(packet[0] == request[0] + 1, _first_u32(packet, ERROR_CAUSE), _first_u32(packet, EVENT_TIMESTAMP))
        case BadAuthenticator.AUTHENTICATOR:
            return RefusedReply.AUTHENTICATOR
        case _:
            return RefusedReply.MESSAGE_AUTHENTICATOR


def encode_field(name: str, value: Value) -> tuple[int, bytes]:
    """Turn a record's field back into the octets that the NAS sent.

    Args:
        name: the field's name in the accounting record.
        value: as in the record.

    Returns:
        (attribute number, octets); for `audit_session_id` the whole Vendor-Specific value.

    Raises:
        ValueError: no Disconnect-Request identifies a session by that field, or the value is none that could have been received.
    """
    encode = _ENCODERS.get(name)
    if encode is None:
        raise ValueError(f"no field of a Disconnect-Request: {name}")
    code, octets = encode[0], encode[1](value)
    if len(octets) > VALUE_OCTETS_MAX:
        raise ValueError(f"{name} is longer than an attribute can be: {len(octets)} octets")
    return code, octets


def in_notation(octets: bytes, notation: MacNotation) -> bytes:
    """Write a MAC address in another notation.

    Args:
        octets: Calling-Station-Id as the NAS sent it; what is no MAC address (a telephone number, an IP address) stays as it is.
        notation: how AA-BB-CC-DD-EE-FF is to be written.
    """
    mac = normal_mac(octets.decode("ascii", "replace")) if notation != "as-sent" else None
    if mac is None:
        return octets
    digits = iter(mac.replace(":", "").upper() if notation.isupper() else mac.replace(":", ""))
    return "".join(next(digits) if sign.isalnum() else sign for sign in notation).encode()


def _u32(value: object) -> bytes:
    """Encode an unsigned 32-bit integer."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise ValueError(f"no 32-bit number: {value!r}")
    return value.to_bytes(4)


def _ipv4(value: Value) -> bytes:
    """Encode an IPv4 address."""
    if not isinstance(value, str):
        raise ValueError(f"no IPv4 address: {value!r}")  # noqa: TRY004  # a stored record that is wrong, not a caller's mistake
    parts = value.split(".")
    if len(parts) != 4:
        raise ValueError(f"no IPv4 address: {value!r}")
    try:
        return bytes([_DECIMAL[part] for part in parts])
    except KeyError:
        raise ValueError(f"no IPv4 address: {value!r}") from None


def _ipv6(value: Value) -> bytes:
    """Encode an IPv6 address."""
    if not isinstance(value, str):
        raise ValueError(f"no IPv6 address: {value!r}")  # noqa: TRY004  # likewise
    return IPv6Address(value).packed


def _interface_id(value: Value) -> bytes:
    """Encode an interface identifier: four groups of hexadecimal digits, eight octets (RFC 3162 section 2.2)."""
    if not isinstance(value, str) or _INTERFACE_ID.fullmatch(value) is None:
        raise ValueError(f"no interface identifier: {value!r}")
    return b"".join(int(group, 16).to_bytes(2) for group in value.split(":"))


def _ipv6_prefix(value: Value) -> bytes:
    """Encode an IPv6 prefix: a reserved octet, the length, and no more octets than it says (RFC 3162 section 2.3).

    The one attribute that need not be the NAS's own octets: it may have sent more of them, and they say nothing.
    """
    if not isinstance(value, str):
        raise ValueError(f"no IPv6 prefix: {value!r}")  # noqa: TRY004  # likewise
    network = IPv6Network(value)
    return bytes((0, network.prefixlen)) + network.network_address.packed[: (network.prefixlen + 7) // 8]


def _audit_session_id(value: Value) -> bytes:
    """Encode Cisco's audit-session-id: Vendor-Id, type, length, text (RFC 2865 section 5.26)."""
    text = AUDIT_SESSION_ID_PREFIX + to_octets(value)
    _, vendor, kind = CISCO_AVPAIR
    if len(text) + 6 > VALUE_OCTETS_MAX:
        raise ValueError(f"audit_session_id is longer than an attribute can be: {len(text)} octets")
    return vendor.to_bytes(4) + bytes((kind, len(text) + 2)) + text


_BY_FIELD: Final[dict[str, Callable[[Value], bytes]]] = {
    "user_name": to_octets,
    "nas_ip_address": _ipv4,
    "nas_port": _u32,
    "framed_ip_address": _ipv4,
    "class": to_octets,
    "called_station_id": to_octets,
    "calling_station_id": to_octets,
    "nas_identifier": to_octets,
    "acct_session_id": to_octets,
    "acct_multi_session_id": to_octets,
    "nas_port_type": _u32,
    "nas_port_id": to_octets,
    "chargeable_user_identity": to_octets,
    "nas_ipv6_address": _ipv6,
    "framed_interface_id": _interface_id,
    "framed_ipv6_prefix": _ipv6_prefix,
}
_ENCODERS: Final = {field: (code, _BY_FIELD[field]) for code, field in FIELDS.items() if field in _BY_FIELD} | {
    AUDIT_SESSION_ID: (VENDOR_SPECIFIC, _audit_session_id),
}


def _first_u32(packet: bytes, code: int) -> int | None:
    """Give the first attribute of that number that is a 32-bit integer."""
    at = HEADER_OCTETS
    while at < len(packet):
        if packet[at] == code and packet[at + 1] == 6:
            return int.from_bytes(packet[at + 2 : at + 6])
        at += packet[at + 1]
    return None
