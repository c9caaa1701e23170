"""Framing: do the Length fields divide the octets into a header and attributes?

Law of this file: nothing of a packet is looked at before this check has passed, neither its authenticator nor its attributes, so that the
code after it may index without fear. It judges lengths only. A value of the wrong size for its type is no framing error (RFC 6929 section
2.8) and belongs to `decode`.
Sources: RFC 2865 section 3 and RFC 2866 sections 3 and 5, RFC 6613 section 2.6.4 (attributes must fill the packet exactly).
"""

from enum import StrEnum

HEADER_OCTETS = 20
# RFC 2866 section 3 says 4095, RFC 2865 and RFC 5176 say 4096: who takes the larger refuses nobody.
PACKET_OCTETS_MAX = 4096


class Malformed(StrEnum):
    """Why a datagram is no RADIUS packet; it is discarded without an answer."""

    TOO_SHORT = "too-short"
    LENGTH_FIELD = "length-field"
    LENGTH_BEYOND_DATAGRAM = "length-beyond-datagram"
    ATTRIBUTE_LENGTH = "attribute-length"
    ATTRIBUTE_OVERRUN = "attribute-overrun"


def check_framing(datagram: bytes) -> int | Malformed:
    """Check the header's Length and every attribute's Length.

    Octets beyond Length are padding, and ignored (RFC 2866 section 3).

    Args:
        datagram: what the socket gave.

    Returns:
        The packet's length in octets (20 to 4096): `datagram[:length]` is the packet. Or the reason why there is none.
    """
    if len(datagram) < HEADER_OCTETS:
        return Malformed.TOO_SHORT
    length = datagram[2] << 8 | datagram[3]
    if not HEADER_OCTETS <= length <= PACKET_OCTETS_MAX:
        return Malformed.LENGTH_FIELD
    if length > len(datagram):
        return Malformed.LENGTH_BEYOND_DATAGRAM
    at = HEADER_OCTETS
    last = length - 1
    while at < last:
        step = datagram[at + 1]
        if step < 2:
            return Malformed.ATTRIBUTE_LENGTH
        at += step
    # Beyond the end, or on the last octet: a Type without its Length.
    return length if at == length else Malformed.ATTRIBUTE_OVERRUN
