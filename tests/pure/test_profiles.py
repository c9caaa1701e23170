"""Profiles (behaviour 5.2): which attributes go, in which order, octet for octet.

`files/disconnect_requests.txt` holds what each profile sends for one session, in words and in octets: what is sent first and after each
refusal of the attributes (401, 402 and 407 alike), after 403, and for a session that lacks an attribute that the profile requires.
"""

import json
from pathlib import Path

import pytest

from schemas.configuration import PACKAGED_PROFILES, AttributeSet, Disconnect, Nas, ProfileChange
from schemas.disconnect import DisconnectCommand, DisconnectResult
from streams.dispatcher import Datagram, Dispatcher, targets
from streams.kick import Now
from streams.profiles import ProfileError, configured, packaged, parse, requests
from streams.radius.disconnect import build_disconnect
from streams.radius.simulated import build_disconnect_reply, encode_attributes, parse_disconnect_request

VECTORS = Path(__file__).parent / "files" / "disconnect_requests.txt"
SECRET = b"testing456"
WALL_MS = 1_700_000_000_000
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
    return [[one.name for one in request.attributes] for request in requests(packaged()[profile], session)]


class Vector:
    """A profile's part of the file.

    Attributes:
        port: where it sends. sends: (attribute names, octets) in order. after_403: the names in order. lacking: by attribute, likewise.
    """

    def __init__(self, port):
        self.port = int(port)
        self.sends = []
        self.after_403 = []
        self.lacking = {}


def read_vectors():
    vectors, session, vector = {}, {}, Vector(0)
    for line in VECTORS.read_text().splitlines():
        match line.split(" ", 1):
            case ["session", text]:
                session = json.loads(text)
            case ["profile", text]:
                name, port = text.split()
                vector = vectors[name] = Vector(port)
            case ["sends", text]:
                vector.sends.append((text.removeprefix("coa ").split(), b""))
            case ["octets", text]:
                vector.sends[-1] = (vector.sends[-1][0], vector.sends[-1][1] + bytes.fromhex(text))
            case ["403", text]:
                vector.after_403 = [one.split() for one in text.split(" | ")]
            case ["lacking", text]:
                name, _, then = text.partition(": ")
                vector.lacking[name] = [] if then == "unsupported" else [one.split() for one in then.split(" | ")]
            case [""] | ["#", *_]:
                pass
            case _:
                raise AssertionError(line)
    return session, vectors


VECTOR_SESSION, VECTORS_BY_PROFILE = read_vectors()


def converse(profile, error_cause, session):
    """What goes out to a NAS that refuses everything with that Error-Cause, and the result."""
    way = Disconnect(address="192.0.2.1", secret=SECRET.decode(), profile=profile)
    nas = Nas(name="nas", addresses=("192.0.2.1/32",), secret="s", disconnect=way)
    kicker = Dispatcher(targets([nas], packaged()), ports=1, in_flight_per_nas=1, jitter=lambda: 0.0)
    now = Now(WALL_MS, 1_000.0)
    command = DisconnectCommand(
        id="1", time_ms=WALL_MS, expires_ms=WALL_MS + 60_000, nas="nas", identity="bob", session=session, reason="limit"
    )
    sent, outputs = [], kicker.command(command, now)
    while isinstance(outputs[0], Datagram):
        (datagram,) = outputs
        sent.append(datagram)
        reply = build_disconnect_reply(datagram.octets, SECRET, ack=False, error_cause=error_cause)
        outputs = kicker.datagram(0, datagram.endpoint, reply, now)
    (result,) = outputs
    assert isinstance(result, DisconnectResult)
    return sent, result


def test_the_packaged_profiles_are_those_that_the_configuration_may_name_and_each_has_its_vector():
    """5.2: the kinds of NAS named there among them; each file is in the list, and says where it has its facts from."""
    folder = Path(__file__).parents[2] / "streams" / "profile_files"
    assert {file.stem for file in folder.glob("*.toml")} == set(packaged()) == set(PACKAGED_PROFILES) == set(VECTORS_BY_PROFILE)
    wanted = {"default", "hostapd", "cisco", "mikrotik", "huawei", "aruba", "juniper", "coova", "strongswan", "fortinet"}
    assert wanted <= set(packaged())
    for file in folder.glob("*.toml"):
        assert len(file.read_text().partition("doc =")[0].splitlines()) >= 2, file


@pytest.mark.parametrize("error_cause", [401, 402, 407])
@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_a_profile_sends_these_octets_and_after_a_refusal_of_the_attributes_the_next_ones(profile, error_cause):
    """5.1, 5.2 and 5.3."""
    sent, result = converse(profile, error_cause, VECTOR_SESSION)
    vector = VECTORS_BY_PROFILE[profile]
    assert [datagram.endpoint for datagram in sent] == [("192.0.2.1", vector.port)] * len(vector.sends)
    assert [attempt.attributes for attempt in result.attempts] == [names for names, _ in vector.sends]
    assert [datagram.octets.hex() for datagram in sent] == [octets.hex() for _, octets in vector.sends]
    assert (result.outcome, result.error_cause) == ("refused", error_cause)


@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_a_profile_s_octets_are_believed_and_say_what_the_session_said(profile):
    """5.1: read as a NAS reads them; a MAC address is the same one in whatever notation, everything else is as it was."""
    for number, (_, octets) in enumerate(VECTORS_BY_PROFILE[profile].sends):
        identifier, fields = parse_disconnect_request(octets, SECRET, octets[0])
        assert (identifier, fields.pop("event_timestamp_s")) == (number, WALL_MS // 1000)
        device = fields.pop("calling_station_id", "02-aa-00-00-00-01")
        assert device.lower().translate(str.maketrans("", "", "-:.")) == "02aa00000001"
        assert fields.items() <= VECTOR_SESSION.items()
        assert octets[20:22] == b"\x50\x12"


@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_a_nas_that_is_told_another_nas_s_name_gets_these_sets(profile):
    """5.3: 403."""
    _, result = converse(profile, 403, VECTOR_SESSION)
    assert [attempt.attributes for attempt in result.attempts] == VECTORS_BY_PROFILE[profile].after_403
    assert all("NAS-I" not in name for attempt in result.attempts[1:] for name in attempt.attributes)


@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_a_session_that_lacks_what_a_profile_requires_is_asked_about_in_another_way_or_not_at_all(profile):
    """5.2 and 5.7: each required attribute is missed once."""
    lacking = VECTORS_BY_PROFILE[profile].lacking
    assert set(lacking) == {name for attempt in packaged()[profile].attempt for name in attempt.require}
    for missing, sets in lacking.items():
        session = {name: value for name, value in VECTOR_SESSION.items() if name != missing.lower().replace("-", "_")}
        sent, result = converse(profile, 401, session)
        assert [attempt.attributes for attempt in result.attempts] == sets
        assert (result.outcome == "unsupported") == (sent == [])


def test_only_strongswan_is_asked_by_what_may_be_several_sessions_of_several_devices():
    """5.2 and 5.7: a name alone ends all sessions of that user; there it is the only way, and `docs/nas.md` says so."""
    one_device = {"Acct-Session-Id", "Calling-Station-Id", "Framed-IP-Address", "Framed-IPv6-Prefix", "Audit-Session-Id"}
    broad = {name for name, profile in packaged().items() for attempt in profile.attempt if not one_device & {*attempt.require}}
    assert broad == {"strongswan"}


def change(text):
    return ProfileChange(**({"name": "mine"} | text))


def test_a_profile_of_one_s_own_says_only_what_differs():
    """5.2: an operator can write one in the configuration."""
    mine = configured([change({"extends": "cisco", "port": 3799, "calling_station_id": "aabb.ccdd.eeff"})])["mine"]
    cisco = packaged()["cisco"]
    assert (mine.port, mine.calling_station_id, mine.attempt, mine.doc) == (3799, "aabb.ccdd.eeff", cisco.attempt, cisco.doc)
    (octets,) = [one.octets for one in requests(mine, VECTOR_SESSION)[0].attributes if one.name == "Calling-Station-Id"]
    assert octets == b"02aa.0000.0001"


def test_a_profile_of_one_s_own_may_stand_on_one_before_it_or_take_a_known_name():
    """5.2: the packaged one stays what it was."""
    sets = (AttributeSet(require=("Acct-Session-Id",)),)
    profiles = configured([change({"name": "default", "attempt": sets}), change({"event_timestamp": False})])
    assert profiles["mine"].attempt == profiles["default"].attempt == sets
    assert (profiles["mine"].event_timestamp, profiles["default"].event_timestamp) == (False, True)
    assert packaged()["default"].attempt != sets


def test_a_profile_may_leave_out_event_timestamp_and_message_authenticator():
    """5.1: both are sent unless a NAS is known to take offence."""
    mine = change({"event_timestamp": False, "message_authenticator": False, "attempt": (AttributeSet(require=("Acct-Session-Id",)),)})
    way = Disconnect(address="192.0.2.1", secret=SECRET.decode(), profile="mine", port=1700)
    known = targets([Nas(name="nas", addresses=("192.0.2.1/32",), secret="s", disconnect=way)], configured([mine]))
    kicker = Dispatcher(known, ports=1, in_flight_per_nas=1, jitter=lambda: 0.0)
    command = DisconnectCommand(id="1", time_ms=1, expires_ms=2, nas="nas", identity="bob", session=VECTOR_SESSION, reason="limit")
    (datagram,) = kicker.command(command, Now(0, 1.0))
    assert datagram.endpoint == ("192.0.2.1", 1700)
    assert datagram.octets[20:] == encode_attributes([(44, b"5F1A")])


def test_an_attribute_that_the_nas_sent_several_times_goes_back_as_often():
    """5.1: RFC 3162 section 3 allows several prefixes."""
    session = {"nas_port_id": "1/1/4:50", "framed_ipv6_prefix": ["2001:db8::/56", "2001:db8:1::/64"]}
    ((_, first, second),) = [request.attributes for request in requests(packaged()["nokia"], session)]
    assert first.octets == bytes.fromhex("0038 20010db8000000")
    assert second.octets == bytes.fromhex("0040 20010db800010000")


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
    attributes = requests(packaged()["default"], session)[0].attributes
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
