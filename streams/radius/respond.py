"""Responses of the accounting port: Accounting-Response, also as the answer to Status-Server.

Law of this file: it makes the octets of an answer; whether there may be one (the record is durable, the packet was authentic) is known
elsewhere.
Sources: RFC 2866 sections 2.1, 3 and 4.2, RFC 5997 section 3.
"""

from collections.abc import Sequence

from streams.radius.authenticator import sign_response

ACCOUNTING_REQUEST = 4
ACCOUNTING_RESPONSE = 5
STATUS_SERVER = 12
_PROXY_STATE = 33


def accounting_response(request: bytes, secret: bytes, proxy_states: Sequence[bytes] = ()) -> bytes:
    """Answer an Accounting-Request, or a Status-Server (RFC 5997 section 3: without attributes, so without Proxy-States).

    Args:
        request: the packet that is answered; its header is enough.
        secret: shared with the client.
        proxy_states: the request's Proxy-State values, which go back unchanged and in order.

    Returns:
        The Accounting-Response.
    """
    attributes = b"".join([bytes((_PROXY_STATE, len(state) + 2)) + state for state in proxy_states]) if proxy_states else b""
    return sign_response(ACCOUNTING_RESPONSE, request, attributes, secret)
