"""Authenticators: one bit anywhere, or another secret, and a packet is not believed."""

import hmac
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.radius.authenticator import (
    BadAuthenticator,
    message_authenticator,
    verify_keyed_request,
    verify_response,
    verify_status_server,
)
from streams.radius.respond import accounting_response
from streams.radius.simulated import build_accounting_request

SECRET = b"testing123"


def accounting_with_message_authenticator():
    """Make an Accounting-Request by hand; the Message-Authenticator rests on zeros in place of both authenticators."""
    rest = b"\x28\x06\x00\x00\x00\x01\x01\x05bob"
    header = b"\x04\x09" + (20 + 18 + len(rest)).to_bytes(2)
    proof = hmac.digest(SECRET, header + bytes(16) + b"\x50\x12" + bytes(16) + rest, "md5")
    attributes = b"\x50\x12" + proof + rest
    return header + md5(header + bytes(16) + attributes + SECRET).digest() + attributes


def resigned(packet):
    """Sign a packet that was tampered with, as one who knows the secret, so that only its Message-Authenticator is wrong."""
    return packet[:4] + md5(packet[:4] + bytes(16) + packet[20:] + SECRET).digest() + packet[20:]


def flipped(packet, bit):
    octets = bytearray(packet)
    octets[bit // 8] ^= 1 << bit % 8
    return bytes(octets)


def test_one_bit_anywhere_is_noticed():
    """1.2"""
    packet = build_accounting_request(identifier=9, secret=SECRET, attributes=[(40, b"\0\0\0\x01"), (1, b"bob")])

    assert verify_keyed_request(packet, SECRET) is None
    answers = {verify_keyed_request(flipped(packet, bit), SECRET) for bit in range(len(packet) * 8)}
    assert answers == {BadAuthenticator.AUTHENTICATOR}


def test_another_secret_is_noticed():
    """1.2"""
    packet = build_accounting_request(identifier=9, secret=SECRET, attributes=[])

    assert verify_keyed_request(packet, b"testing124") == BadAuthenticator.AUTHENTICATOR


def test_a_message_authenticator_in_accounting_is_verified():
    """1.2"""
    packet = accounting_with_message_authenticator()

    assert verify_keyed_request(packet, SECRET) is None
    assert verify_keyed_request(packet, SECRET, require_message_authenticator=True) is None
    for bit in range(22 * 8, 38 * 8):
        assert verify_keyed_request(resigned(flipped(packet, bit)), SECRET) == BadAuthenticator.MESSAGE_AUTHENTICATOR


def test_a_message_authenticator_can_be_demanded():
    """1.2: `require_message_authenticator`; the letter P in a name is not one."""
    packet = build_accounting_request(identifier=9, secret=SECRET, attributes=[(1, b"PPP\x50\x12")])

    assert verify_keyed_request(packet, SECRET) is None
    assert verify_keyed_request(packet, SECRET, require_message_authenticator=True) == BadAuthenticator.MESSAGE_AUTHENTICATOR_MISSING


@pytest.mark.parametrize("value", [b"", bytes(4), bytes(15), bytes(17), bytes(253)])
def test_a_message_authenticator_of_another_size_is_a_forgery(value):
    """1.2"""
    packet = build_accounting_request(identifier=9, secret=SECRET, attributes=[(80, value)])

    assert verify_keyed_request(packet, SECRET) == BadAuthenticator.MESSAGE_AUTHENTICATOR


def test_a_second_message_authenticator_is_a_forgery_even_if_the_first_is_right():
    """1.2"""
    rest = b"\x50\x12" + bytes(16)
    header = b"\x04\x09" + (20 + 18 + len(rest)).to_bytes(2)
    proof = hmac.digest(SECRET, header + bytes(16) + b"\x50\x12" + bytes(16) + rest, "md5")
    packet = resigned(header + bytes(16) + b"\x50\x12" + proof + rest)

    assert verify_keyed_request(packet, SECRET) == BadAuthenticator.MESSAGE_AUTHENTICATOR


def test_status_server_rests_on_its_own_random_authenticator():
    """1.5: RFC 5997 section 3; the keyed rule does not fit it."""
    header = b"\x0c\x01\x00\x26" + bytes(range(16))
    packet = header + b"\x50\x12" + hmac.digest(SECRET, header + b"\x50\x12" + bytes(16), "md5")

    assert verify_status_server(packet, SECRET) is None
    assert verify_keyed_request(packet, SECRET) == BadAuthenticator.AUTHENTICATOR
    answers = {verify_status_server(flipped(packet, bit), SECRET) for bit in range(20 * 8)}
    assert answers == {BadAuthenticator.MESSAGE_AUTHENTICATOR}


def test_a_response_belongs_to_one_request():
    """1.5"""
    request = build_accounting_request(identifier=9, secret=SECRET, attributes=[(33, b"p")])
    other = build_accounting_request(identifier=9, secret=SECRET, attributes=[(33, b"q")])
    response = accounting_response(request, SECRET, [b"p"])

    assert response[:4] == b"\x05\x09\x00\x17"
    assert response[20:] == b"\x21\x03p"
    assert verify_response(response, request, SECRET) is None
    assert verify_response(response, other, SECRET) == BadAuthenticator.AUTHENTICATOR


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300))
def test_the_message_authenticator_is_hmac_md5_whatever_the_secret_s_length(secret, attributes):
    """5.1, RFC 2104: Python's own is the oracle; beyond 64 octets the secret's digest takes its place."""
    header, zeros = b"\x28\x07\x01\x00", bytes(16)
    assert message_authenticator(header, zeros, attributes, secret) == hmac.digest(secret, header + zeros + attributes, "md5")
