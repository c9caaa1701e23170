"""Identity: whom a record is about."""

import base64

import pytest

from schemas.configuration import Identity
from streams.identity import NOBODY, IdentityRules
from streams.mac import normal_mac

RULES = IdentityRules(Identity(strip_realms=("Example.net", "CORP"), not_an_identity=("anonymous*", "Guest", "")))
MAC = "02-00-00-00-00-0A"


def octets(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


@pytest.mark.parametrize(
    "text", ["AA-BB-CC-0D-EE-FF", "aa:bb:cc:0d:ee:ff", "aabb.cc0d.eeff", "AABB-CC0D-EEFF", "aabb:cc0d:eeff", "aabbcc0deeff", "AABBCC0DEEFF"]
)
def test_every_notation_of_a_mac_is_one_device(text):
    """2.3: MAC addresses in every notation are one device."""
    assert normal_mac(text) == "aa:bb:cc:0d:ee:ff"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "AA-BB-CC-0D-EE-FF\n",
        "aabbcc0deef\uff16",
        "AA-BB-CC-0D-EE",
        "AA-BB:CC-0D-EE-FF",
        "AA-BB-CC-0D-EE-FF:campus",
        "AA-BB-CC-0D-EE-FG",
        "aabb.cc0d-eeff",
        " aabbcc0deeff",
    ],
)
def test_what_is_not_a_mac_as_a_whole_is_none(text):
    assert normal_mac(text) is None


@pytest.mark.parametrize(
    ("user_name", "identity"),
    [
        ("alice", "alice"),
        ("ALICE", "alice"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("alice\0", "alice"),
        ("alice@example.net", "alice"),
        ("Alice@EXAMPLE.NET", "alice"),
        ("corp\\Alice", "alice"),
        ("CORP\\Alice@Example.Net", "alice"),
        ("alice@elsewhere.org", "alice@elsewhere.org"),
        ("other\\alice", "other\\alice"),
        ("alice@corp@elsewhere.org", "alice@corp@elsewhere.org"),
        ("a\ufb01x", "afix"),
        ("mac:02:00:00:00:00:0b", "user:mac:02:00:00:00:00:0b"),
        ("session:campus/1", "user:session:campus/1"),
        ("cui:x", "user:cui:x"),
        ("user:x", "user:user:x"),
        ("0200000000AA", "0200000000aa"),
        ("491701234567", "491701234567"),
    ],
)
def test_a_user_is_the_folded_name_without_realm(user_name, identity):
    """2.3: user names compare case-insensitively, realms go by configuration; no name can pass for a device, a CUI or a session."""
    assert RULES.identity_of({"user_name": user_name, "calling_station_id": MAC}, "campus") == identity


@pytest.mark.parametrize(
    "user_name", [None, "", "\0", "anonymous", "ANONYMOUS@example.net", "anonymous@elsewhere.org", "guest", "corp\\GUEST", "@elsewhere.org"]
)
def test_a_name_that_is_nobodys_falls_through_to_the_next(user_name):
    """2.10: an anonymous outer name is no identity; Chargeable-User-Identity, MAC, and NAS and session follow in this order."""
    fields = {} if user_name is None else {"user_name": user_name}
    fields |= {"acct_session_id": "a-1"}
    assert RULES.identity_of(fields, "campus") == "session:campus/a-1"
    fields |= {"calling_station_id": MAC}
    assert RULES.identity_of(fields, "campus") == "mac:02:00:00:00:00:0a"
    fields |= {"chargeable_user_identity": "Ab"}
    assert RULES.identity_of(fields, "campus") == "cui:Ab"


def test_a_chargeable_user_identity_of_one_nul_is_none():
    """RFC 4372 section 2.1: a single NUL asks for one."""
    assert RULES.identity_of({"chargeable_user_identity": octets(b"\0"), "calling_station_id": MAC}, "campus") == "mac:02:00:00:00:00:0a"


@pytest.mark.parametrize(
    ("user_name", "calling_station_id", "identity"),
    [
        ("02000000000a", MAC, "mac:02:00:00:00:00:0a"),
        ("02:00:00:00:00:0A", MAC, "mac:02:00:00:00:00:0a"),
        ("02:00:00:00:00:0A", None, "mac:02:00:00:00:00:0a"),
        ("02:00:00:00:00:0A", "+49 170", "mac:02:00:00:00:00:0a"),
        ("02000000000a", None, "02000000000a"),
        ("02:00:00:00:00:0b", MAC, "02:00:00:00:00:0b"),
    ],
)
def test_a_name_that_is_only_the_devices_mac_is_the_device(user_name, calling_station_id, identity):
    """2.9: MAC authentication counts for the device; another device's MAC, or twelve digits that nothing vouches for, stay a name."""
    fields = {"user_name": user_name} | ({} if calling_station_id is None else {"calling_station_id": calling_station_id})
    assert RULES.identity_of(fields, "campus") == identity


def test_names_that_are_not_utf8_have_a_stable_identity():
    """2.3: foreign octets stand as backslash escapes, the same each time."""
    assert RULES.identity_of({"user_name": octets(b"J\xfcrgen")}, "campus") == "j\\xfcrgen"
    assert RULES.identity_of({"user_name": octets(b"J\xfcrgen")}, "other") == "j\\xfcrgen"
    assert RULES.identity_of({"acct_session_id": octets(b"\xff\x01")}, "campus") == "session:campus/\\xff\x01"


def test_nothing_to_go_by_is_nobody():
    assert RULES.identity_of({"calling_station_id": "no MAC", "acct_session_id": ""}, "campus") == NOBODY


def test_without_patterns_and_realms_a_name_stays_whole_but_never_empty():
    rules = IdentityRules(Identity(strip_realms=(), not_an_identity=()))
    assert rules.identity_of({"user_name": "Anonymous@example.net"}, "campus") == "anonymous@example.net"
    assert rules.identity_of({"user_name": ""}, "campus") == NOBODY


def test_identities_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("streams.identity.REMEMBERED_MAX", 3)
    rules = IdentityRules(Identity())
    assert [rules.identity_of({"user_name": f"u{n}"}, "campus") for n in range(10)] == [f"u{n}" for n in range(10)]
    assert len(rules._remembered) <= 3
