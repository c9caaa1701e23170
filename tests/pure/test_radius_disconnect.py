"""Disconnect-Requests: the NAS's own octets go out, and only a proven answer comes in."""

import base64
import hmac
from hashlib import md5
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrad.packet import CoAPacket

from schemas.configuration import MacNotation
from streams.mac import normal_mac
from streams.radius.decode import decode_accounting
from streams.radius.disconnect import RefusedReply, Reply, build_disconnect, encode_field, in_notation, read_reply
from streams.radius.simulated import (
    RefusedRequest,
    build_accounting_request,
    build_disconnect_reply,
    encode_attributes,
    parse_disconnect_request,
)

SECRET = b"testing456"
TEXT_FIELDS = {
    1: "user_name",
    25: "class",
    30: "called_station_id",
    31: "calling_station_id",
    32: "nas_identifier",
    44: "acct_session_id",
    50: "acct_multi_session_id",
    87: "nas_port_id",
    89: "chargeable_user_identity",
}
SIZED_FIELDS = {4: ("nas_ip_address", 4), 5: ("nas_port", 4), 8: ("framed_ip_address", 4), 95: ("nas_ipv6_address", 16)}


def request_of(*attributes, identifier=7, event_timestamp_s=1795199833):
    return build_disconnect(attributes=attributes, secret=SECRET, identifier=identifier, event_timestamp_s=event_timestamp_s)


def test_a_request_is_laid_out_and_signed_as_rfc_5176_says():
    """5.1: sections 2.3 and 3.4, computed here by hand."""
    request = request_of((44, b"s01"), (1, b"nemo"))

    rest = b"\x2c\x05s01" + b"\x01\x06nemo" + b"\x37\x06\x6b\x00\x93\x59"
    header = b"\x28\x07" + (20 + 18 + len(rest)).to_bytes(2)
    proof = hmac.digest(SECRET, header + bytes(16) + b"\x50\x12" + bytes(16) + rest, "md5")
    attributes = b"\x50\x12" + proof + rest
    assert request == header + md5(header + bytes(16) + attributes + SECRET).digest() + attributes


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(1, 54), st.binary(max_size=253), max_size=8),
    st.sampled_from([40, 43]),
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
)
def test_pyrad_builds_the_same_request(attributes, code, identifier, is_stamped, is_proven):
    """5.1: the oracle; for a Disconnect-Request and a CoA-Request."""
    attributes.pop(26, None)
    theirs = CoAPacket(code=code, id=identifier, secret=SECRET, message_authenticator=is_proven)
    for number, octets in [*attributes.items(), *([(55, bytes.fromhex("6b009359"))] if is_stamped else [])]:
        theirs.setdefault(number, []).append(octets)
    ours = build_disconnect(
        attributes=[*attributes.items()],
        secret=SECRET,
        identifier=identifier,
        event_timestamp_s=0x6B009359 if is_stamped else None,
        code=code,
        message_authenticator=is_proven,
    )
    assert ours == bytes(theirs.RequestPacket())


@settings(deadline=None)
@given(st.sampled_from(sorted(TEXT_FIELDS)), st.binary(max_size=253))
def test_text_and_octets_go_out_as_they_came_in(code, octets):
    """5.1, 2.3: digits, "0x...", NUL and what is no UTF-8 too."""
    received = decode_accounting(build_accounting_request(identifier=1, secret=SECRET, attributes=[(code, octets)]))
    assert set(received.fields) == {TEXT_FIELDS[code]}

    attribute = encode_field(TEXT_FIELDS[code], received.fields[TEXT_FIELDS[code]])
    request = request_of(attribute)

    assert attribute == (code, octets)
    assert request[38:-6] == encode_attributes([(code, octets)])
    assert parse_disconnect_request(request, SECRET) == (7, {**received.fields, "event_timestamp_s": 1795199833})


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(SIZED_FIELDS)))
def test_addresses_and_numbers_go_out_as_they_came_in(data, code):
    """5.1"""
    field, size = SIZED_FIELDS[code]
    octets = data.draw(st.binary(min_size=size, max_size=size))
    received = decode_accounting(build_accounting_request(identifier=1, secret=SECRET, attributes=[(code, octets)]))

    assert encode_field(field, received.fields[field]) == (code, octets)
    assert received.dropped == []


@settings(deadline=None)
@given(st.binary(max_size=230))
def test_audit_session_id_goes_out_as_ciscos_own_attribute(octets):
    """2.1, 5.1"""
    vsa = b"\0\0\0\x09\x01" + bytes([len(octets) + 19]) + b"audit-session-id=" + octets
    received = decode_accounting(build_accounting_request(identifier=1, secret=SECRET, attributes=[(26, vsa)]))

    assert encode_field("audit_session_id", received.fields["audit_session_id"]) == (26, vsa)
    assert received.attributes == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_time_s", 1),
        ("no_such_field", "x"),
        ("nas_port", -1),
        ("nas_port", 1 << 32),
        ("nas_port", "1"),
        ("nas_port", True),
        ("nas_ip_address", 1),
        ("nas_ip_address", "10.0.0"),
        ("framed_ip_address", "::1"),
        ("nas_ipv6_address", {"base64": "AAAA"}),
        ("nas_ipv6_address", "10.0.0.1"),
        ("user_name", 5),
        ("user_name", {"base64": "?"}),
        ("user_name", {"base64": "QQ==", "more": 1}),
        ("user_name", "a" * 254),
        ("audit_session_id", "a" * 231),
    ],
)
def test_a_value_that_no_nas_can_have_sent_is_refused(name, value):
    """5.7: a record that is wrong becomes a named failure, not another session's disconnect."""
    with pytest.raises(ValueError):
        encode_field(name, value)


@pytest.mark.parametrize(
    ("attributes", "identifier", "event_timestamp_s"),
    [
        ([(1, b"a" * 254)], 7, 0),
        ([(0, b"a")], 7, 0),
        ([(256, b"a")], 7, 0),
        ([(1, b"a")], 256, 0),
        ([(1, b"a")], -1, 0),
        ([(1, b"a")], 7, 1 << 32),
        ([(25, b"a" * 253)] * 16, 7, 0),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(attributes, identifier, event_timestamp_s):
    """5.7"""
    with pytest.raises(ValueError):
        build_disconnect(attributes=attributes, secret=SECRET, identifier=identifier, event_timestamp_s=event_timestamp_s)


@pytest.mark.parametrize("ack", [True, False])
@pytest.mark.parametrize("error_cause", [None, 503])
@pytest.mark.parametrize("timestamp_s", [None, 1795199834])
def test_an_answer_says_what_the_nas_said(ack, error_cause, timestamp_s):
    """5.1, 5.3; and pyrad believes it too."""
    request = request_of((1, b"a"), (33, b"p1"), (33, b""))
    reply = build_disconnect_reply(request, SECRET, ack=ack, error_cause=error_cause, event_timestamp_s=timestamp_s)

    assert read_reply(reply + b"padding", request, SECRET) == Reply(ack, error_cause, timestamp_s)
    assert decode_accounting(reply).proxy_states == [b"p1", b""]
    assert CoAPacket(packet=request, secret=SECRET).VerifyReply(CoAPacket(packet=reply, secret=SECRET), reply)


def test_an_error_cause_of_the_wrong_size_is_none():
    """5.3, 1.3"""
    request = request_of((1, b"a"))
    body = encode_attributes([(101, b"\x01\xf7")])
    header = b"\x2a\x07" + (20 + len(body)).to_bytes(2)
    reply = header + md5(header + request[4:20] + body + SECRET).digest() + body

    assert read_reply(reply, request, SECRET) == Reply(acknowledged=False, error_cause=None, event_timestamp_s=None)


def test_every_other_datagram_is_refused_by_name():
    """5.1: framing, Code, Identifier, Response Authenticator, Message-Authenticator, in this order."""
    request = request_of((1, b"a"))
    other = request_of((1, b"a"), identifier=8)
    reply = build_disconnect_reply(request, SECRET, ack=True, error_cause=None)
    body = b"\x50\x12" + bytes(16)
    signed = reply[:4] + md5(reply[:4] + request[4:20] + body + SECRET).digest() + body

    assert read_reply(reply, request, SECRET) == Reply(acknowledged=True, error_cause=None, event_timestamp_s=None)
    assert read_reply(reply[:-1], request, SECRET) == RefusedReply.MALFORMED
    assert read_reply(b"\x02" + reply[1:], request, SECRET) == RefusedReply.OTHER_CODE
    assert read_reply(build_disconnect_reply(other, SECRET, ack=True, error_cause=None), request, SECRET) == RefusedReply.OTHER_IDENTIFIER
    assert read_reply(b"\x2a" + reply[1:], request, SECRET) == RefusedReply.AUTHENTICATOR
    assert read_reply(reply, request, b"another") == RefusedReply.AUTHENTICATOR
    assert read_reply(signed, request, SECRET) == RefusedReply.MESSAGE_AUTHENTICATOR


def test_a_nas_refuses_what_is_no_request_to_it():
    """5.1, seen from the NAS."""
    request = request_of((1, b"a"))

    assert parse_disconnect_request(request, SECRET) == (7, {"user_name": "a", "event_timestamp_s": 1795199833})
    assert parse_disconnect_request(request[:-1], SECRET) == RefusedRequest.MALFORMED
    assert parse_disconnect_request(b"\x2b" + request[1:], SECRET) == RefusedRequest.OTHER_CODE
    assert parse_disconnect_request(request, b"another") == RefusedRequest.AUTHENTICATOR


def test_a_stored_value_survives_json_shapes():
    """2.3: {"base64"} is the shape for octets that are no text."""
    octets = bytes(range(253))

    assert encode_field("class", {"base64": base64.b64encode(octets).decode()}) == (25, octets)


@pytest.mark.parametrize(
    ("field", "value", "attribute"),
    [
        ("nas_port_type", 19, (61, bytes.fromhex("00000013"))),
        ("framed_interface_id", "1:203:405:607", (96, bytes.fromhex("0001020304050607"))),
        ("framed_ipv6_prefix", "2001:db8::/57", (97, bytes.fromhex("0039 20010db800000000"))),
        ("framed_ipv6_prefix", "::/0", (97, bytes.fromhex("0000"))),
        ("framed_ipv6_prefix", "2001:db8::1/128", (97, bytes.fromhex("0080 20010db8000000000000000000000001"))),
    ],
)
def test_port_type_interface_and_prefix_go_out_as_the_nas_reads_them(field, value, attribute):
    """5.1: the prefix with no more octets than it has bits for (RFC 3162 section 2.3)."""
    received = decode_accounting(build_accounting_request(identifier=1, secret=SECRET, attributes=[attribute]))

    assert encode_field(field, value) == attribute
    assert received.fields == {field: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nas_port_type", "Ethernet"),
        ("framed_interface_id", "1:2:3"),
        ("framed_interface_id", "1:2:3:-4"),
        ("framed_interface_id", "1:2:3:10000"),
        ("framed_interface_id", 7),
        ("framed_ipv6_prefix", "2001:db8::1/64"),
        ("framed_ipv6_prefix", "2001:db8::/129"),
        ("framed_ipv6_prefix", ["2001:db8::/64"]),
    ],
)
def test_what_is_no_port_type_interface_or_prefix_is_refused(name, value):
    """5.7"""
    with pytest.raises(ValueError):
        encode_field(name, value)


@pytest.mark.parametrize("notation", [one for one in get_args(MacNotation) if one != "as-sent"])
@pytest.mark.parametrize("sent", [b"02-AA-00-00-00-FF", b"02aa.0000.00ff", b"02AA000000FF"])
def test_a_mac_address_is_written_in_the_notation_that_is_asked_for(notation, sent):
    """5.2: the notation is written as AA-BB-CC-DD-EE-FF would be in it."""
    written = in_notation(sent, notation)

    assert normal_mac(written.decode()) == "02:aa:00:00:00:ff"
    assert [sign if sign in "-:." else "x" for sign in written.decode()] == [sign if sign in "-:." else "x" for sign in notation]
    assert written == (written.upper() if notation.isupper() else written.lower())


@pytest.mark.parametrize("sent", [b"", b"+49 30 123", b"192.0.2.1", b"\xff\xaa\x00\x00\x00\xff", b"02-AA-00-00-00-FF:campus"])
def test_what_is_no_mac_address_stays_as_the_nas_sent_it(sent):
    """5.2"""
    assert in_notation(sent, "aabbccddeeff") == sent


def test_as_sent_is_as_sent():
    """5.1"""
    assert in_notation(b"02-Aa-00-00-00-fF", "as-sent") == b"02-Aa-00-00-00-fF"


def test_event_timestamp_and_message_authenticator_can_be_left_out():
    """5.1: the Request Authenticator still proves the secret."""
    request = build_disconnect(attributes=[(1, b"a")], secret=SECRET, identifier=7, event_timestamp_s=None, message_authenticator=False)

    assert request[20:] == b"\x01\x03a"
    assert parse_disconnect_request(request, SECRET) == (7, {"user_name": "a"})
    assert parse_disconnect_request(request, b"another") == RefusedRequest.AUTHENTICATOR
