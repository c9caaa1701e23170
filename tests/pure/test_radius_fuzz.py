"""Whatever octets come in, nothing raises, and what is kept is what JSON can hold."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.radius.disconnect import RefusedReply, read_reply
from streams.radius.framing import Malformed, check_framing
from streams.radius.simulated import RefusedRequest, build_accounting_request, encode_attributes, parse_disconnect_request
from tests.fuzz.targets import SECRET, take_in
from tests.pure.test_radius_corpus import CORPUS, octets, secret

PACKETS = [(octets(line), secret(line)) for line in CORPUS]


@settings(deadline=None)
@given(st.binary(max_size=5000))
@example(b"")
@example(b"\x04\x00\x00\x14" + bytes(16))
def test_arbitrary_octets_never_raise(datagram):
    """1.2, 1.3"""
    take_in(datagram, SECRET)


ATTRIBUTE = st.tuples(
    st.integers(0, 255) | st.sampled_from([4, 25, 26, 40, 42, 52, 55, 64, 79, 80, 81, 97, 123, 155, 241, 245, 246]),
    st.binary(max_size=40) | st.sampled_from([b"", b"\0\0\0\x09", b"\x1a\x80", bytes(4), bytes(8), bytes(16)]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(ATTRIBUTE, max_size=30))
def test_every_well_framed_packet_is_decoded(attributes):
    """1.3, 1.7: and each Proxy-State is there, in order."""
    packet = build_accounting_request(identifier=1, secret=SECRET, attributes=attributes)

    decoded = take_in(packet, SECRET)

    assert decoded is not None
    assert decoded.proxy_states == [value for code, value in attributes if code == 33]
    assert check_framing(packet[:-1] if attributes else packet) == (Malformed.LENGTH_BEYOND_DATAGRAM if attributes else 20)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([26, 241, 242, 245, 246]), st.lists(ATTRIBUTE, max_size=6), st.integers(0, 2**32 - 1) | st.sampled_from([9, 311]))
def test_attributes_within_attributes_are_decoded(code, inner, vendor):
    """1.7"""
    value = (vendor.to_bytes(4) + encode_attributes(inner))[:253]

    decoded = take_in(build_accounting_request(identifier=1, secret=SECRET, attributes=[(code, value)] * 2), SECRET)

    assert decoded is not None
    assert decoded.proxy_states == []


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(PACKETS), st.lists(st.integers(0, 1 << 20), min_size=1, max_size=4))
def test_bit_flips_of_real_packets_never_raise(packet, bits):
    """1.2"""
    datagram, key = packet
    flipped = bytearray(datagram or b"\0")
    for bit in set(bits):
        flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8

    take_in(bytes(flipped), key)


@settings(deadline=None)
@given(st.sampled_from(PACKETS), st.integers(0, 4096))
def test_a_packet_that_was_cut_is_malformed(packet, length):
    """1.2"""
    datagram, key = packet
    whole = check_framing(datagram)
    if isinstance(whole, Malformed):
        return
    cut = datagram[: length % whole]

    assert isinstance(check_framing(cut), Malformed)
    assert read_reply(cut, datagram, key) == RefusedReply.MALFORMED
    assert parse_disconnect_request(cut, key) == RefusedRequest.MALFORMED
