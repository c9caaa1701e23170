"""RADIUS packets out of a stream of octets, as TCP and TLS give them: where does one end and the next begin?

Law of this file: it goes by the header's Length alone (RFC 6613 section 2.6.1), whose bounds are all that keeps a stream in step: once a
Length cannot be, what follows it has no beginning, and the connection is to be closed (section 2.6.4). What is in a packet is for `framing`
and those behind it. Memory: what was fed and not taken yet; whoever feeds it bounds that by not reading on.
"""

from streams.radius.framing import HEADER_OCTETS, PACKET_OCTETS_MAX, Malformed

_LENGTH_ENDS = 4
"""Code, Identifier and Length."""


class PacketStream:
    """One direction of one connection."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._octets = bytearray()

    @property
    def waiting_octets(self) -> int:
        """How much was fed and is not taken yet; more than 0 at the end of a connection: a packet was cut off."""
        return len(self._octets)

    def feed(self, octets: bytes) -> None:
        """What came next."""
        self._octets += octets

    def take(self) -> bytes | Malformed | None:
        """The next whole packet.

        Returns:
            The packet; None while it is not all there; or, from then on always, why the stream is none of RADIUS packets. That is known as
            soon as its Length is.
        """
        if len(self._octets) < _LENGTH_ENDS:
            return None
        length = self._octets[2] << 8 | self._octets[3]
        if not HEADER_OCTETS <= length <= PACKET_OCTETS_MAX:
            return Malformed.LENGTH_FIELD
        if len(self._octets) < length:
            return None
        packet = bytes(self._octets[:length])
        del self._octets[:length]
        return packet
