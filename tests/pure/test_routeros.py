"""The RouterOS API's words (`streams.routeros`), on the manual's examples and on what routers were seen to print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import display
from schemas.ways import DeviceSession
from streams.routeros import (
    HOTSPOT,
    PPP,
    attributes_of,
    challenge_response,
    heard,
    menu_of,
    query_of,
    refusal_of,
    session_of,
    spoken,
    uptime_s,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4m17s", 257),
        ("1w2d3h4m5s", 604_800 + 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5),
        ("22h23m12s", 80_592),
        ("2d", 172_800),
        ("51s", 51),
        ("4m17s350ms", 257),
        ("350ms", 0),
        ("1d02:03:04", 86_400 + 7_384),
        ("00:04:17", 257),
        ("", None),
        ("never", None),
        ("-5s", None),
    ],
)
def test_an_uptime_is_read_in_each_of_its_notations(text, expected):
    """5.6."""
    assert uptime_s(text) == expected


def test_a_line_of_ppp_becomes_a_session():
    """5.6: the line of a router, with the session id that accounting calls 8160035a."""
    words = (
        "=.id=*8",
        "=name=mahbub",
        "=service=pppoe",
        "=caller-id=9C:C9:EB:F8:C9:10",
        "=address=10.1.0.7",
        "=uptime=22m21s",
        "=encoding=",
    )
    session = session_of(PPP, attributes_of((*words, "=session-id=0x8160035A", "=radius=true", ".tag=3")))
    assert session == DeviceSession(
        kind="pppoe",
        device_id="*8",
        user_name="mahbub",
        calling_station_id="9C:C9:EB:F8:C9:10",
        framed_ip_address="10.1.0.7",
        acct_session_id="0x8160035A",
        uptime_s=1341,
        radius=True,
    )
    assert menu_of(session) is PPP


def test_a_line_of_hotspot_becomes_a_session():
    """5.6: hotspot lists no session id; an empty value is nothing."""
    session = session_of(
        HOTSPOT, attributes_of(("=.id=*A000064", "=user=ex=1", "=address=", "=mac-address=02:00:5E:10:00:01", "=radius=false"))
    )
    assert session == DeviceSession(
        kind="hotspot", device_id="*A000064", user_name="ex=1", calling_station_id="02:00:5E:10:00:01", radius=False
    )
    assert menu_of(session) is HOTSPOT


def test_a_query_names_the_user_or_the_device():
    """5.6: both where both are known, so that a device under another name is seen; all where neither is."""
    session = {"user_name": "alice", "calling_station_id": "02-00-5e-10-00-0a", "framed_ip_address": "10.0.0.1"}
    assert query_of(HOTSPOT, session) == ("?user=alice", "?mac-address=02:00:5E:10:00:0A", "?#|")
    assert query_of(PPP, session) == ("?name=alice", "?caller-id=02:00:5E:10:00:0A", "?#|")
    assert query_of(PPP, {"user_name": "alice"}) == ("?name=alice",)
    assert query_of(PPP, {"calling_station_id": "192.0.2.7"}) == ("?caller-id=192.0.2.7",)
    assert query_of(PPP, {"framed_ip_address": "10.0.0.1"}) == ()
    assert query_of(PPP, {"user_name": {"base64": "YvxyZw=="}}) == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("invalid user name or password (6)", "login"),
        ("cannot log in", "login"),
        ("not enough permissions (9)", "permission"),
        ("not allowed (9)", "permission"),
        ("no such item (4)", "no-item"),
        ("no such command or directory (hotspot)", "no-command"),
        ("no such command prefix", "no-command"),
        ("failure: busy", "other"),
        ("", "other"),
    ],
)
def test_a_refusal_is_told_by_its_words(message, expected):
    """5.6: each wrong thing gets its own sentence."""
    assert refusal_of(message) == expected


def test_the_challenge_of_an_old_router_is_answered():
    """5.6: RouterOS before 6.43; the example of MikroTik's manual (admin without a password), and one made with md5sum."""
    assert challenge_response("", "856780b7411eefd3abadee2058c149a3") == "005062f7a5ef124d34675bf3e81f56c556"
    assert challenge_response("secret", "856780b7411eefd3abadee2058c149a3") == "009622e621f0892961a28bcf7a0cea13e4"
    with pytest.raises(ValueError, match="hexadecimal"):
        challenge_response("secret", "what?")


@given(st.text())
def test_a_text_comes_back_as_it_went(text):
    """5.6: nothing is lost on the way."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert heard(spoken(text)) == text


@given(st.binary())
def test_octets_that_are_no_text_look_as_everywhere(octets):
    """5.6: as `display` shows what accounting holds of them."""
    assert display(heard(octets.decode("latin-1"))) == display(octets.decode("utf-8", "backslashreplace"))
