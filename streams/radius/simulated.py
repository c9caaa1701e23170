"""The other side: what a NAS says, for simulated NASes and for tests.

Law of this file: the same rules as in the rest of the package, seen from the NAS: Accounting-Requests out, Disconnect-Requests in, their
answers out. No behaviour (which session it has, whether it refuses) is here. Sources: RFC 2866 section 3, RFC 5176 sections 2.3 and 3.
"""

from collections.abc import Sequence
from enum import StrEnum

from streams.radius.authenticator import (
    MESSAGE_AUTHENTICATOR,
    ZEROS,
    BadAuthenticator,
    message_authenticator,
    sign_request,
    sign_response,
    verify_keyed_request,
)
from streams.radius.decode import Decoded, decode_accounting
from streams.radius.disconnect import DISCONNECT_REQUEST, ERROR_CAUSE, EVENT_TIMESTAMP
from streams.radius.fields import Value
from streams.radius.framing import HEADER_OCTETS, Malformed, check_framing
from streams.radius.respond import ACCOUNTING_REQUEST

_PROXY_STATE = 33


class RefusedRequest(StrEnum):
    """Why a NAS does not answer a datagram on its disconnect port."""

    MALFORMED = "malformed"
    OTHER_CODE = "other-code"
    AUTHENTICATOR = "authenticator"
    MESSAGE_AUTHENTICATOR = "message-authenticator"


def build_accounting_request(*, identifier: int, secret: bytes, attributes: Sequence[tuple[int, bytes]]) -> bytes:
    """Build an Accounting-Request.

    Args:
        identifier: 0 to 255.
        secret: shared with the server.
        attributes: (number, octets), in order.

    Returns:
        The packet.
    """
    return sign_request(ACCOUNTING_REQUEST, identifier, encode_attributes(attributes), secret)


def parse_disconnect_request(
    datagram: bytes, secret: bytes, code: int = DISCONNECT_REQUEST
) -> tuple[int, dict[str, Value]] | RefusedRequest:
    """Read a Disconnect-Request, or a CoA-Request, as a NAS does.

    Args:
        datagram: what the socket gave.
        secret: shared with who may disconnect.
        code: which of the two it takes.

    Returns:
        (Identifier, the attributes by the record's field names, `event_timestamp_s` among them); or why it is discarded.
    """
    length = check_framing(datagram)
    if isinstance(length, Malformed):
        return RefusedRequest.MALFORMED
    packet = datagram[:length]
    if packet[0] != code:
        return RefusedRequest.OTHER_CODE
    match verify_keyed_request(packet, secret):
        case None:
            return packet[1], _by_field(decode_accounting(packet))
        case BadAuthenticator.AUTHENTICATOR:
            return RefusedRequest.AUTHENTICATOR
        case _:
            return RefusedRequest.MESSAGE_AUTHENTICATOR


def build_disconnect_reply(
    request: bytes, secret: bytes, *, ack: bool, error_cause: int | None, event_timestamp_s: int | None = None
) -> bytes:
    """Build the answer to a Disconnect-Request or CoA-Request: the Proxy-States back in order, and a Message-Authenticator.

    Args:
        request: the packet as received, its framing checked.
        secret: shared with its sender.
        ack: ACK, else NAK.
        error_cause: RFC 5176 section 3.5; None leaves it out.
        event_timestamp_s: seconds since 1970; None leaves it out.

    Returns:
        The packet.
    """
    numbers = [(ERROR_CAUSE, error_cause), (EVENT_TIMESTAMP, event_timestamp_s)]
    attributes = [(MESSAGE_AUTHENTICATOR, ZEROS)]
    attributes += [(_PROXY_STATE, state) for state in decode_accounting(request).proxy_states]
    attributes += [(code, number.to_bytes(4)) for code, number in numbers if number is not None]
    code = request[0] + (1 if ack else 2)
    encoded = encode_attributes(attributes)
    header = bytes((code, request[1])) + (HEADER_OCTETS + len(encoded)).to_bytes(2)
    value = message_authenticator(header, request[4:HEADER_OCTETS], encoded, secret)
    return sign_response(code, request, encoded[:2] + value + encoded[2 + len(value) :], secret)


def encode_attributes(attributes: Sequence[tuple[int, bytes]]) -> bytes:
    """Encode attributes one after the other.

    Args:
        attributes: (number, octets of at most 253).

    Returns:
        The octets between the header and the end.

    Raises:
        ValueError: a number or a length does not fit into an octet.
    """
    return b"".join(bytes((code, len(octets) + 2)) + octets for code, octets in attributes)


def _by_field(decoded: Decoded) -> dict[str, Value]:
    """Give the fields, and the time the request was made."""
    timestamp_s = decoded.event_timestamp_s
    return decoded.fields if timestamp_s is None else {**decoded.fields, "event_timestamp_s": timestamp_s}
