"""RADIUS packets out of a stream of octets (RFC 6613 section 2.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.radius.framing import HEADER_OCTETS, PACKET_OCTETS_MAX, Malformed
from streams.radius.stream_framing import PacketStream


def packet(length, code=4):
    return bytes((code, 7)) + length.to_bytes(2) + bytes(length - 4)


def taken(stream):
    """All that can be taken now."""
    found = []
    while (one := stream.take()) is not None:
        found.append(one)
        if isinstance(one, Malformed):
            break
    return found


@given(st.lists(st.integers(HEADER_OCTETS, 300), max_size=20), st.randoms(use_true_random=False))
def test_however_a_stream_is_cut_the_packets_come_out_as_they_went_in(lengths, chance):
    """1.2: TCP keeps no bounds of packets: they come whole, once, in order, and nothing stays behind."""
    packets = [packet(length, code) for code, length in enumerate(lengths, 1)]
    octets, stream, found = b"".join(packets), PacketStream(), []
    while octets:
        piece = chance.randint(1, len(octets))
        stream.feed(octets[:piece])
        octets = octets[piece:]
        found += taken(stream)
    assert found == packets
    assert stream.waiting_octets == 0
    assert stream.take() is None


@pytest.mark.parametrize("length", [HEADER_OCTETS, PACKET_OCTETS_MAX])
def test_the_bounds_of_a_packet_are_20_and_4096_octets(length):
    """1.2 (RFC 2865 section 3)."""
    stream = PacketStream()
    stream.feed(packet(length)[:-1])
    assert (stream.take(), stream.waiting_octets) == (None, length - 1)
    stream.feed(bytes(1))
    assert stream.take() == packet(length)
    assert stream.take() is None


@pytest.mark.parametrize("head", [bytes((4, 1, 0, 19)), bytes((4, 1, 0x10, 1)), bytes(4), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000])
def test_a_length_that_cannot_be_ends_the_stream_as_soon_as_it_is_read(head):
    """1.2: garbage is told by its first four octets, and is never waited for; nothing after it is taken for a packet."""
    stream = PacketStream()
    stream.feed(packet(20))
    stream.feed(head[:3])
    assert stream.take() == packet(20)
    assert stream.take() is None
    stream.feed(head[3:])
    assert stream.take() is Malformed.LENGTH_FIELD
    stream.feed(packet(20))
    assert stream.take() is Malformed.LENGTH_FIELD


def test_what_was_cut_off_is_known():
    """1.2: a connection that ends within a packet."""
    stream = PacketStream()
    stream.feed(packet(60) + packet(60)[:17])
    assert taken(stream) == [packet(60)]
    assert stream.waiting_octets == 17
