"""Authenticators: who knows the shared secret, and did the octets arrive as they were sent?

Law of this file: every MD5 and every comparison of digests is here, and each comparison takes the same time whatever differs. The packets
handed in are whole packets whose framing was checked, without padding.
Sources: RFC 2866 section 3 (Request and Response Authenticator), RFC 5176 section 2.3 (the same for Disconnect), RFC 2869 section 5.14 and
RFC 5176 section 3.4 (Message-Authenticator), RFC 5997 section 3 (Status-Server).
"""

import hmac
from enum import StrEnum
from functools import lru_cache
from hashlib import md5

from streams.radius.framing import HEADER_OCTETS

ZEROS = bytes(16)
MESSAGE_AUTHENTICATOR = 80
_MESSAGE_AUTHENTICATOR_OCTETS = 18
_BLOCK_OCTETS = 64


class BadAuthenticator(StrEnum):
    """Why a packet is not believed; it is discarded without an answer."""

    AUTHENTICATOR = "authenticator"
    MESSAGE_AUTHENTICATOR = "message-authenticator"
    MESSAGE_AUTHENTICATOR_MISSING = "message-authenticator-missing"


def verify_keyed_request(packet: bytes, secret: bytes, *, require_message_authenticator: bool = False) -> BadAuthenticator | None:
    """Verify a request whose Request Authenticator is keyed: Accounting-Request, Disconnect-Request, CoA-Request.

    A Message-Authenticator need not be there, but one that is there must be right and alone. It was made with both authenticators zero.

    Args:
        packet: a whole, well-framed packet.
        secret: shared with the sender, who is known by the source address.
        require_message_authenticator: whether a packet without one is refused (the operator's choice).

    Returns:
        None when the packet is authentic, else the reason.
    """
    expected = md5(packet[:4] + ZEROS + packet[HEADER_OCTETS:] + secret).digest()
    if not hmac.compare_digest(expected, packet[4:HEADER_OCTETS]):
        return BadAuthenticator.AUTHENTICATOR
    return _check_message_authenticator(packet, secret, ZEROS, required=require_message_authenticator)


def verify_status_server(packet: bytes, secret: bytes) -> BadAuthenticator | None:
    """Verify a Status-Server: its Request Authenticator is random, so the Message-Authenticator is all there is, and must be there.

    Args:
        packet: a whole, well-framed packet.
        secret: shared with the sender.

    Returns:
        None when the packet is authentic, else the reason (RFC 5997 section 3).
    """
    return _check_message_authenticator(packet, secret, packet[4:HEADER_OCTETS], required=True)


def verify_response(response: bytes, request: bytes, secret: bytes) -> BadAuthenticator | None:
    """Verify a response by the request it answers: Response Authenticator, and the Message-Authenticator if there is one.

    Args:
        response: a whole, well-framed packet.
        request: the request as it was sent.
        secret: shared with the peer.

    Returns:
        None when the response is authentic, else the reason (RFC 5176 sections 2.3 and 3.4).
    """
    request_authenticator = request[4:HEADER_OCTETS]
    expected = md5(response[:4] + request_authenticator + response[HEADER_OCTETS:] + secret).digest()
    if not hmac.compare_digest(expected, response[4:HEADER_OCTETS]):
        return BadAuthenticator.AUTHENTICATOR
    return _check_message_authenticator(response, secret, request_authenticator, required=False)


def sign_request(code: int, identifier: int, attributes: bytes, secret: bytes) -> bytes:
    """Put a keyed request together: header, Request Authenticator, attributes (RFC 2866 section 3).

    Args:
        code: the packet's Code.
        identifier: 0 to 255.
        attributes: encoded, a Message-Authenticator among them already filled in.
        secret: shared with the receiver.

    Returns:
        The packet.
    """
    return sign_response(code, bytes((0, identifier)) + bytes(18), attributes, secret)


def sign_response(code: int, request: bytes, attributes: bytes, secret: bytes) -> bytes:
    """Put a response together: its Identifier and the octets its authenticator rests on are the request's (RFC 2866 section 3).

    Args:
        code: the response's Code.
        request: the packet that is answered.
        attributes: encoded.
        secret: shared with the peer.

    Returns:
        The packet.
    """
    length = HEADER_OCTETS + len(attributes)
    header = bytes((code, request[1], length >> 8, length & 255))
    return header + md5(header + request[4:HEADER_OCTETS] + attributes + secret).digest() + attributes


def message_authenticator(header: bytes, authenticator: bytes, attributes: bytes, secret: bytes) -> bytes:
    """Compute the Message-Authenticator's value: HMAC-MD5 over the packet with the value itself zero.

    Args:
        header: Code, Identifier and Length, 4 octets.
        authenticator: 16 octets: zeros for keyed requests, the Request Authenticator for Status-Server and for responses.
        attributes: all attributes, the Message-Authenticator's value being 16 zeros.
        secret: shared with the peer.

    Returns:
        16 octets (RFC 2869 section 5.14).
    """
    inner, outer = _pads(secret)
    return md5(outer + md5(inner + header + authenticator + attributes).digest()).digest()


@lru_cache(maxsize=4_096)
def _pads(secret: bytes) -> tuple[bytes, bytes]:
    """Give what RFC 2104 section 2 has before the text, inner and outer; with these at hand HMAC takes half the time of `hmac.digest`."""
    key = (md5(secret).digest() if len(secret) > _BLOCK_OCTETS else secret).ljust(_BLOCK_OCTETS, b"\0")
    return bytes(octet ^ 0x36 for octet in key), bytes(octet ^ 0x5C for octet in key)


def _check_message_authenticator(packet: bytes, secret: bytes, authenticator: bytes, *, required: bool) -> BadAuthenticator | None:
    """Check the one Message-Authenticator that may be in a packet; a second one, or one of another size, is a forgery."""
    # Most accounting has none, and a search for the octet is far cheaper than a walk over the attributes.
    found = _positions(packet) if packet.find(MESSAGE_AUTHENTICATOR, HEADER_OCTETS) >= 0 else []
    if not found:
        return BadAuthenticator.MESSAGE_AUTHENTICATOR_MISSING if required else None
    at = found[0]
    if len(found) > 1 or packet[at + 1] != _MESSAGE_AUTHENTICATOR_OCTETS:
        return BadAuthenticator.MESSAGE_AUTHENTICATOR
    value = packet[at + 2 : at + _MESSAGE_AUTHENTICATOR_OCTETS]
    zeroed = packet[HEADER_OCTETS : at + 2] + ZEROS + packet[at + _MESSAGE_AUTHENTICATOR_OCTETS :]
    expected = message_authenticator(packet[:4], authenticator, zeroed, secret)
    return None if hmac.compare_digest(expected, value) else BadAuthenticator.MESSAGE_AUTHENTICATOR


def _positions(packet: bytes) -> list[int]:
    """Give where each Message-Authenticator attribute begins."""
    found = []
    at = HEADER_OCTETS
    while at < len(packet):
        if packet[at] == MESSAGE_AUTHENTICATOR:
            found.append(at)
        at += packet[at + 1]
    return found
