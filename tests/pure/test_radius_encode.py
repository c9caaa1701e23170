"""Encoding what people write (behaviours 4.6 and 5.2): the octets of an attribute by its name and value."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary
from pyrad.packet import CoAPacket

from streams.radius.composite import vendor_specific
from streams.radius.decode import decode_accounting
from streams.radius.dictionary import packaged_texts
from streams.radius.encode import encode_attribute
from streams.radius.simulated import build_accounting_request, encode_attributes


@pytest.mark.parametrize(
    ("name", "value", "attribute"),
    [
        ("Filter-Id", "slow", (11, b"slow")),
        ("filter-id", "slow", (11, b"slow")),
        ("Filter-Id", {"base64": "/wA="}, (11, b"\xff\x00")),
        ("11", "slow", (11, b"slow")),
        ("Session-Timeout", 60, (27, bytes.fromhex("0000003c"))),
        ("Session-Timeout", "60", (27, bytes.fromhex("0000003c"))),
        ("Acct-Status-Type", "interim-update", (40, bytes.fromhex("00000003"))),
        ("Framed-IP-Address", "192.0.2.7", (8, bytes.fromhex("c0000207"))),
        ("Framed-IPv6-Prefix", "2001:db8::/33", (97, bytes.fromhex("0021 20010db800"))),
        ("Tunnel-Private-Group-Id", "20", (81, b"20")),
        ("Tunnel-Private-Group-Id:1", "20", (81, b"\x0120")),
        ("Tunnel-Type:1", 13, (64, bytes.fromhex("0100000d"))),
        ("Cisco-AVPair", "subscriber:command=account-logoff", (26, b"\0\0\0\x09\x01\x23subscriber:command=account-logoff")),
        ("Mikrotik-Rate-Limit", "1M/1M", (26, bytes.fromhex("00003a8c 0807") + b"1M/1M")),
        ("26.14988.8", "1M/1M", (26, bytes.fromhex("00003a8c 0807") + b"1M/1M")),
        ("26.4711.3", 7, (26, bytes.fromhex("00001267 0306 00000007"))),
    ],
)
def test_a_name_and_a_value_become_these_octets(name, value, attribute):
    """4.6 and 5.2."""
    assert encode_attribute(name, value) == attribute


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("Filtre-Id", "slow", "no attribute is known by the name Filtre-Id"),
        ("Session-Timeout", "soon", "Session-Timeout cannot be 'soon'"),
        ("Session-Timeout", -1, "cannot be -1"),
        ("Session-Timeout", True, "cannot be True"),
        ("Filter-Id", 5, "neither text nor octets"),
        ("Filter-Id", "", "0 octets"),
        ("Filter-Id", "x" * 254, "254 octets"),
        ("Cisco-AVPair", "x" * 248, "longer"),
        ("Filter-Id:1", "slow", "has no tag"),
        ("Tunnel-Type:32", 13, "1 to 31"),
        ("Tunnel-Type:1", 1 << 24, "three octets"),
        ("Tunnel-Password", "x", "encrypted"),
        ("Framed-IP-Address", "here", "here"),
        ("Framed-Interface-Id", "1:2:3:4", "cannot be written"),
        ("26", "x", "no simple attribute"),
        ("241.1", "x", "no simple attribute"),
        ("26.9.256", "x", "no simple attribute"),
        ("0", "x", "no simple attribute"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_a_sentence(name, value, says):
    """5.7: never a packet that says something else."""
    with pytest.raises(ValueError, match=says):
        encode_attribute(name, value)


@given(st.text(min_size=1, max_size=60))
def test_a_vendor_s_text_is_read_back_as_it_was_written(text):
    """5.2: the decoder is the other direction."""
    number, octets = encode_attribute("Mikrotik-Group", text)
    assert list(vendor_specific(octets, has_audit_session_id=False)) == [("Mikrotik-Group", text)]
    packet = build_accounting_request(identifier=1, secret=b"s", attributes=[(number, octets)])
    assert decode_accounting(packet).attributes == {"Mikrotik-Group": text}


def test_pyrad_writes_the_same():
    """5.2: the oracle."""
    dictionary = Dictionary()
    for _, text in packaged_texts():
        dictionary.ReadDictionary(StringIO(text.replace("ipv4prefix", "octets")))
    written = {"Filter-Id": "slow", "Session-Timeout": 60, "Cisco-AVPair": "a=b", "Mikrotik-Rate-Limit": "1M"}
    packet = CoAPacket(code=43, id=1, secret=b"s", dict=dictionary)
    for name, value in written.items():
        packet.AddAttribute(name, value)
    assert bytes(packet.RequestPacket())[20:] == encode_attributes([encode_attribute(*pair) for pair in written.items()])
