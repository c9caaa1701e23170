"""Profiles (behaviour 5.2): which attributes go, in which order, octet for octet."""

import pytest

from streams.profiles import ProfileError, attribute_sets, packaged, parse
from streams.radius.disconnect import build_disconnect

SESSION = {
    "acct_session_id": "5F1A",
    "user_name": "bob",
    "calling_station_id": "02-AA-00-00-00-01",
    "nas_ip_address": "192.0.2.7",
    "nas_identifier": "ap-12",
    "nas_port": 3,
    "framed_ip_address": "198.51.100.4",
    "called_station_id": "02-00-00-0A-00-01:",
    "class": "c",
    "nas_port_type": "Ethernet",
}


def names(profile, session=SESSION):
    return [[one.name for one in attributes] for attributes in attribute_sets(packaged()[profile], session)]


def test_the_packaged_profiles_are_these():
    assert set(packaged()) == {"default", "hostapd"}


def test_default_sends_what_hostapd_and_strongswan_both_accept_and_then_less():
    """5.2."""
    assert names("default") == [
        ["Acct-Session-Id", "User-Name", "Calling-Station-Id", "NAS-IP-Address", "NAS-Identifier"],
        ["Acct-Session-Id", "User-Name"],
        ["Acct-Session-Id"],
    ]


def test_hostapd_gets_nothing_that_it_refuses_by_401():
    """5.2: its whitelist, and no User-Name, which it may know differently."""
    allowed = {"NAS-IP-Address", "NAS-IPv6-Address", "Calling-Station-Id", "NAS-Identifier", "Acct-Session-Id"}
    assert names("hostapd")[0] == ["Acct-Session-Id", "Calling-Station-Id", "NAS-IP-Address", "NAS-Identifier"]
    assert {name for attributes in names("hostapd", {**SESSION, "nas_ipv6_address": "2001:db8::1"}) for name in attributes} == allowed


def test_the_bytes_of_the_default_profile_are_the_nas_s_own():
    """5.1 and 5.2: octet for octet, also where they are no UTF-8."""
    session = {**SESSION, "user_name": {"base64": "/wBi"}, "nas_ipv6_address": "2001:db8::1"}
    attributes = attribute_sets(packaged()["default"], session)[0]
    packet = build_disconnect(
        attributes=[(one.number, one.octets) for one in attributes], secret=b"testing456", identifier=9, event_timestamp_s=1_700_000_000
    )
    assert packet[:2] == b"\x28\x09"
    assert packet[38:] == (
        b"\x2c\x065F1A" + b"\x01\x05\xff\x00b" + b"\x1f\x1302-AA-00-00-00-01" + b"\x04\x06\xc0\x00\x02\x07" + b"\x20\x07ap-12"
        b"\x5f\x12\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + b"\x37\x06\x65\x53\xf1\x00"
    )


def test_a_session_with_less_is_asked_about_once_for_each_different_set():
    assert names("default", {"acct_session_id": "1"}) == [["Acct-Session-Id"]]


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"user_name": "bob"},
        {"acct_session_id": ""},
        {"acct_session_id": 5},
        {"acct_session_id": {"base64": "?"}},
        {"acct_session_id": "x" * 254},
    ],
)
def test_a_session_without_a_usable_session_id_is_not_asked_about_at_all(session):
    """5.7: a name alone would end all sessions of that user."""
    assert names("default", session) == []
    assert names("hostapd", session) == []


def test_an_attribute_that_no_nas_can_have_sent_is_left_out():
    assert names("default", {"acct_session_id": "1", "nas_ip_address": "not an address", "user_name": "bob"}) == [
        ["Acct-Session-Id", "User-Name"],
        ["Acct-Session-Id"],
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("doc = 1", "doc"),
        ("doc = ", "cannot be read"),
        ('doc = "x"\nattempt = []', "attempt"),
        ('doc = "x"\n[[attempt]]\nrequire = []', "require"),
        ('doc = "x"\n[[attempt]]\nrequire = ["Acct-Session-Id"]\nalways = []', "always"),
        ('doc = "x"\n[[attempt]]\nrequire = ["Service-Type"]', "Service-Type"),
    ],
)
def test_a_wrong_profile_is_refused_with_what_is_wrong(text, says):
    with pytest.raises(ProfileError, match=says):
        parse("mine", text)
