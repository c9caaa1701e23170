"""Huawei's Portal protocol: octets, authenticators, and what is refused (behaviour 5.6)."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.huawei_portal import (
    ACK_LOGOUT,
    ACK_NTF_LOGOUT,
    NTF_LOGOUT,
    PACKET_OCTETS_MAX,
    REQ_LOGOUT,
    SESSION_ID,
    Packet,
    Refused,
    answer_of,
    build_request,
    build_response,
    read_request,
    read_response,
)

SECRET = b"1234567890123456"
MAC = (SESSION_ID, bytes.fromhex("020000000001"))
REQUEST = build_request(Packet(REQ_LOGOUT, 0x1234, "192.0.2.7"), SECRET)
PUBLISHED_CHALLENGE = bytes.fromhex("02010000 00040000 ac4b64fd 00000000 e80da1b279f3b5f2e8cbc2dd324f56dd")
"""A REQ_CHALLENGE with its authenticator, as published with xpws for this secret."""


def ack(error_code=0, **changes):
    return build_response(Packet(ACK_LOGOUT, 0x1234, "192.0.2.7", error_code)._replace(**changes), REQUEST, SECRET)


def test_the_published_authenticator_of_a_request_is_ours():
    """5.6: MD5 over header, zeros, attributes and secret."""
    assert read_request(PUBLISHED_CHALLENGE, 1, SECRET) == Packet(1, 4, "172.75.100.253")
    assert read_request(PUBLISHED_CHALLENGE, 1, b"another") is Refused.AUTHENTICATOR


def test_a_logout_request_is_these_octets():
    """5.6: PAP, the user's address, no attribute."""
    header = bytes.fromhex("02050100 12340000 c0000207 00000000")
    assert header + md5(header + bytes(16) + SECRET).digest() == REQUEST
    assert len(REQUEST) == 32


def test_a_response_rests_on_the_requests_authenticator():
    """5.6: one that was made for another request is none."""
    assert read_response(ack(3), ACK_LOGOUT, REQUEST, SECRET) == Packet(ACK_LOGOUT, 0x1234, "192.0.2.7", 3)
    by_another = build_request(Packet(REQ_LOGOUT, 0x1234, "192.0.2.7", attributes=(MAC,)), SECRET)
    assert read_response(ack(), ACK_LOGOUT, by_another, SECRET) is Refused.AUTHENTICATOR
    assert read_request(ack(), ACK_LOGOUT, SECRET) is Refused.AUTHENTICATOR


def test_attributes_come_and_go():
    """5.6: the MAC address of a notification."""
    packet = Packet(NTF_LOGOUT, 9, "192.0.2.7", attributes=((5, b"bye"), MAC))
    read = read_request(build_request(packet, SECRET), NTF_LOGOUT, SECRET)
    assert read == packet
    assert isinstance(read, Packet)
    assert read.mac == "02:00:00:00:00:01"
    assert Packet(NTF_LOGOUT, 9, "192.0.2.7", attributes=((SESSION_ID, b"short"),)).mac is None


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", Refused.MALFORMED),
        (ack()[:15], Refused.MALFORMED),
        (ack()[:31], Refused.MALFORMED),
        (ack() + b"\x01", Refused.MALFORMED),
        (ack() + b"\x05\x01", Refused.MALFORMED),
        (ack() + b"\x05\x09x", Refused.MALFORMED),
        (ack() + b"\x05\x02", Refused.MALFORMED),  # one attribute more than the header says
        (ack().ljust(PACKET_OCTETS_MAX + 1, b"\0"), Refused.MALFORMED),
        (b"\x01" + ack()[1:16], Refused.VERSION),
        (REQUEST, Refused.TYPE),
        (ack(serial=0x1235), Refused.SERIAL),
        (ack(user_ip="192.0.2.8"), Refused.USER),
        (ack()[:14] + b"\x01" + ack()[15:], Refused.AUTHENTICATOR),
        (ack()[:-1] + b"\0", Refused.AUTHENTICATOR),
    ],
)
def test_what_is_no_answer_is_refused_by_name(datagram, reason):
    """5.6: truncated, altered, of another exchange, of version 1."""
    assert read_response(datagram, ACK_LOGOUT, REQUEST, SECRET) is reason


@pytest.mark.parametrize(("error_code", "answer"), [(0, "accepted"), (1, "refused"), (2, "refused"), (3, "gone"), (9, "refused")])
def test_each_error_of_an_acknowledgement_has_its_answer(error_code, answer):
    """5.6: 3 says that nobody is there."""
    found, sentence = answer_of(Packet(ACK_LOGOUT, 1, "192.0.2.7", error_code))
    assert found == answer
    assert sentence.startswith("ACK_LOGOUT")


@pytest.mark.parametrize(
    "packet",
    [
        Packet(REQ_LOGOUT, 1 << 16, "192.0.2.7"),
        Packet(256, 1, "192.0.2.7"),
        Packet(REQ_LOGOUT, 1, "2001:db8::1"),
        Packet(REQ_LOGOUT, 1, "192.0.2.7", attributes=((1, bytes(254)),)),
        Packet(REQ_LOGOUT, 1, "192.0.2.7", attributes=((1, bytes(200)),) * 5),
        Packet(REQ_LOGOUT, 1, "192.0.2.7", attributes=((1, b""),) * 256),
    ],
)
def test_what_does_not_fit_is_not_sent(packet):
    """5.6."""
    with pytest.raises(ValueError):
        build_request(packet, SECRET)


@given(st.binary(max_size=200), st.sampled_from([NTF_LOGOUT, ACK_LOGOUT, ACK_NTF_LOGOUT]))
def test_fuzz_whatever_comes_is_refused_and_raises_nothing(octets, kind):
    """5.6: nobody without the secret gets a packet through."""
    assert isinstance(read_request(octets, kind, SECRET), Refused)
    assert isinstance(read_response(bytes((2, kind)) + octets, kind, REQUEST, SECRET), Refused)
