"""RADIUSdesk's messages: topics, commands, replies, and the list of chilli_query (behaviour 5.6)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.configuration import Disconnect
from streams.mesh_messages import COMMAND_IDS, PAYLOAD_OCTETS_MAX, NodeReply, listed, logout_command, message, read_reply, topic_of

AP = Disconnect(via="coova-mqtt", broker="b:1883", node="7", node_mac="02-00-5e-10-00-0a")
MESH = Disconnect(via="coova-mqtt", broker="b:1883", node="12", node_mac="02:00:5E:10:00:0B", mesh="hill_side")


def test_a_command_for_an_access_point_is_what_radiusdesk_sends_one():
    """5.6: topic, and the message's keys; the exit status is asked for beside."""
    assert topic_of(AP) == "/RD/AP/7/COMMAND"
    assert json.loads(message(AP, 77, "chilli_query list")) == {
        "mode": "ap",
        "ap_id": "7",
        "mac": "02-00-5E-10-00-0A",
        "cmd_id": 77,
        "cmd": 'chilli_query list 2>&1; echo "exit status $?"',
        "action": "execute_and_reply",
    }


def test_a_command_for_a_mesh_node_names_the_mesh():
    """5.6: in capitals and with hyphens, as RADIUSdesk writes it."""
    said = json.loads(message(MESH, 77, "chilli_query list"))
    assert topic_of(MESH) == "/RD/MESH/12/COMMAND"
    assert (said["mode"], said["node_id"], said["mesh_id"], said["mac"]) == ("mesh", "12", "HILL-SIDE", "02-00-5E-10-00-0B")
    assert "ap_id" not in said


@pytest.mark.parametrize("station", ["02-00-5E-10-00-01", "02:00:5e:10:00:01", "0200.5e10.0001", "02005e100001"])
def test_the_command_holds_the_device_in_one_notation(station):
    """5.2: whatever the NAS writes."""
    assert logout_command({"calling_station_id": station}) == "chilli_query logout mac 02-00-5E-10-00-01"


@pytest.mark.parametrize(
    "station", [None, "", "02-00-5E-10-00-01; reboot", "$(reboot)", "192.0.2.1", 5, ["02-00-5E-10-00-01"], {"base64": "AA=="}, "-" * 17]
)
def test_nothing_that_is_no_mac_address_gets_into_a_shell(station):
    """5.6, 5.7: a device chooses what it calls itself."""
    assert logout_command({"calling_station_id": station}) is None
    assert logout_command({}) is None


def reply(status="replied", *, mac="02-00-5E-10-00-0A", cmd_id=77, **more):
    return json.dumps({"mode": "ap", "ap_id": "7", "mac": mac, "cmd_id": cmd_id, "status": status, **more}).encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (reply("fetched"), NodeReply(77, "fetched")),
        (reply(reply="exit status 0\n"), NodeReply(77, "replied", "", 0)),
        (reply(reply="connect: No such file\nexit status 1\n"), NodeReply(77, "replied", "connect: No such file", 1)),
        (reply(reply="no last line"), NodeReply(77, "replied", "no last line")),
        (reply(reply="x\nexit status many"), NodeReply(77, "replied", "x")),
        (reply("fetched", cmd_id="77"), NodeReply(77, "fetched")),
        (reply("fetched", cmd_id=77.0), NodeReply(77, "fetched")),
        (reply("fetched", mac="02:00:5e:10:00:0a"), NodeReply(77, "fetched")),
    ],
)
def test_what_a_node_says_is_read(payload, expected):
    """5.6."""
    assert read_reply(payload, AP) == expected


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b'{"status": "fetched"}',
        reply("os_command"),
        reply("config_fetched"),
        reply("fetched", mac="02-00-5E-10-00-0B"),
        reply("fetched", mac="me"),
        reply("fetched", cmd_id="x"),
        reply("fetched", cmd_id=1e400),
        reply(reply=5),
        reply(reply="x" * PAYLOAD_OCTETS_MAX),
        b"\xff\xfe",
    ],
)
def test_what_is_no_reply_of_that_node_is_passed_over(payload):
    """5.6: another node's, another kind of message, garbage, too long."""
    assert read_reply(payload, AP) is None


@given(st.binary(max_size=300))
def test_fuzz_whatever_comes_raises_nothing(payload):
    """5.6."""
    assert read_reply(payload, AP) is None


def test_the_list_gives_those_who_are_logged_in():
    """5.6, chilli_query(1): who is not authenticated has no session."""
    text = (
        "02-00-5E-10-00-01 10.1.0.2 pass 5ff00000000000001 1 bob 65/3600 3/600 1/0 2/0 0 0 0%/0 0%/0 http://example.net/\n"
        "02-00-5E-10-00-02 10.1.0.3 dnat 5ff00000000000002 0 - 0/0 3/600 0/0 0/0 0 0 0%/0 0%/0 -\n"
        "garbage\n"
        "02-00-5E-10-00-03 10.1.0.4 pass 5ff00000000000003 1 - x/0\n"
    )
    first, second = listed(text)
    assert (first.kind, first.calling_station_id, first.framed_ip_address, first.acct_session_id, first.user_name, first.uptime_s) == (
        *("hotspot", "02-00-5E-10-00-01", "10.1.0.2", "5ff00000000000001", "bob"),
        65,
    )
    assert (second.user_name, second.uptime_s) == (None, None)


def test_a_reply_is_short_enough_for_a_sentence():
    """5.6: a part of it is shown."""
    assert NodeReply(1, "replied", "a\n  b\tc").shown == "a b c"
    assert len(NodeReply(1, "replied", "x" * 500).shown) == 120


def test_command_ids_are_none_of_radiusdesks_and_fit_a_nodes_integers():
    """5.6: its gateway hears our replies too."""
    assert COMMAND_IDS[0] > 1_000_000
    assert COMMAND_IDS[-1] < 1 << 31
