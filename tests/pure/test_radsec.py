"""Which NAS a connection over TLS is from (RFC 6614 section 2.3; issue D, RadSec)."""

import pytest

from schemas.configuration import Nas
from streams.radius.authenticator import BadAuthenticator
from streams.radius.framing import Malformed
from streams.radsec import ENDING, SENTENCES, Ended, RadsecNases, names_of, refused_handshake

HUT = Nas(name="hut", addresses=("192.0.2.0/24",), tls_name="Hut.Example.net")
ROAMING = Nas(name="roaming", addresses=("0.0.0.0/0", "::/0"), tls_name="van.example.net")
SCHOOL = Nas(name="school", addresses=("198.51.100.0/24",), secret="over UDP")
GATE = Nas(name="gate", addresses=("198.51.100.7",), tls_name="gate.example.net")
TABLE = RadsecNases([HUT, ROAMING, SCHOOL, GATE], "radsec")


def known(source, *names):
    return [(nas.name, nas.secret) for nas in TABLE.of(source, frozenset(names))]


@pytest.mark.parametrize(
    ("source", "names", "expected"),
    [
        ("192.0.2.9", ["hut.example.net"], ["hut"]),
        ("192.0.2.9", ["other.example.net"], []),  # its address alone is not enough
        ("192.0.2.9", [], []),
        ("203.0.113.1", ["hut.example.net"], []),  # its name alone is not enough, where it has an address
        ("203.0.113.1", ["van.example.net"], ["roaming"]),
        ("2001:db8::1", ["van.example.net"], ["roaming"]),
        ("198.51.100.20", ["van.example.net"], ["roaming"]),  # a name goes before an address
        ("198.51.100.20", ["whoever.example.net"], ["school"]),
        ("198.51.100.7", ["whoever.example.net"], []),  # the most specific network wins, and asks for a name
        ("198.51.100.7", ["gate.example.net", "x"], ["gate"]),
        ("::ffff:198.51.100.20", [], ["school"]),
        ("no address", ["van.example.net"], []),
    ],
)
def test_a_nas_is_known_by_its_name_and_its_address(source, names, expected):
    """1.2: and the secret is that of RFC 6614, never the one for UDP."""
    assert known(source, *names) == [(name, "radsec") for name in expected]


def test_a_source_that_no_nas_has_is_not_worth_a_handshake():
    """1.2."""
    table = RadsecNases([HUT, SCHOOL], "radsec")
    assert [table.knows(source) for source in ("192.0.2.1", "198.51.100.1", "203.0.113.1")] == [True, True, False]


def test_the_names_of_a_certificate_are_those_of_its_subject_and_its_alternative_names():
    """1.2: addresses however they are written; what is no name of a host is left out."""
    certificate = {
        "subject": ((("countryName", "AT"),), (("commonName", "Hut.Example.net."),)),
        "subjectAltName": (("DNS", "b.example.net"), ("IP Address", "2001:DB8:0:0:0:0:0:1"), ("email", "x@example.net"), ("DNS", "*.c")),
    }
    assert names_of(certificate) == {"hut.example.net", "b.example.net", "2001:db8::1", "*.c"}
    assert names_of({}) == frozenset()
    assert known("203.0.113.1", "*.example.net") == []


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", None, Ended.NO_CERTIFICATE),
        ("CERTIFICATE_VERIFY_FAILED", 10, Ended.CERTIFICATE_EXPIRED),
        ("CERTIFICATE_VERIFY_FAILED", 9, Ended.CERTIFICATE_EXPIRED),
        ("CERTIFICATE_VERIFY_FAILED", 20, Ended.CERTIFICATE_AUTHORITY),
        ("CERTIFICATE_VERIFY_FAILED", 18, Ended.CERTIFICATE_AUTHORITY),
        ("CERTIFICATE_VERIFY_FAILED", 26, Ended.CERTIFICATE),
        ("WRONG_VERSION_NUMBER", None, Ended.HANDSHAKE),
        (None, None, Ended.HANDSHAKE),
    ],
)
def test_a_handshake_that_fails_has_a_reason(reason, code, expected):
    """1.2."""
    assert refused_handshake(reason, code) is expected


def test_every_reason_has_a_sentence_and_bad_packets_end_a_connection():
    """1.2: RFC 6613 section 2.6.4."""
    assert set(SENTENCES) == set(Ended)
    assert {*Malformed, *BadAuthenticator} == ENDING
