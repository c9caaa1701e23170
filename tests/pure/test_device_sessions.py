"""Which session is it? What a device lists, held against what accounting said (`streams.device_sessions`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Octets
from schemas.session import SessionRow
from schemas.ways import DeviceSession
from streams.device_sessions import CANDIDATES_MAX, Likeness, Signs, attributes_of, choose, hold, likeness, named, signs_of

PHONE, LAPTOP = "02:00:5E:10:00:01", "02:00:5E:10:00:02"


def listed(device_id="*1", user="alice", station=PHONE, address="10.0.0.1", session_id=None, *, kind="hotspot"):
    return DeviceSession(
        kind=kind,
        device_id=device_id,
        user_name=user,
        calling_station_id=station,
        framed_ip_address=address,
        acct_session_id=session_id,
    )


def meant(user="alice", station="02-00-5e-10-00-01", address="10.0.0.1", session_id="80300001"):
    given = {"user_name": user, "calling_station_id": station, "framed_ip_address": address, "acct_session_id": session_id}
    return signs_of({name: value for name, value in given.items() if value is not None})


def row(session_id="80300001", user="alice", station="02-00-5e-10-00-01", address="10.0.0.1", nas="hut"):
    return SessionRow(
        nas=nas,
        acct_session_id=session_id,
        identity=str(user),
        state="open",
        user_name=user,
        calling_station_id=station,
        framed_ip_address=address,
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Signs("a", "m", "i", "0x81A00003"), Signs("a", "m", "i", "81a00003"), Likeness.SESSION_ID),
        (Signs("a", "m", "i", "some-id"), Signs("a", "m", "j", "some-id"), Likeness.SESSION_ID),
        (Signs("a", "m", "i", "0x81A00003"), Signs("a", "m", "i", "81a00004"), Likeness.OTHER),
        (Signs("a", "m", "i", "0x81A00003"), Signs("b", "m", "i", "81a00003"), Likeness.OTHER),  # given out again after a reboot
        (Signs("a", "m", "i", "0x81A00003"), Signs("a", "n", "i", "81a00003"), Likeness.OTHER),
        (Signs("a", "m", "i", "0x81A00003"), Signs("a", "m", "i", "5FA3C1-0007"), Likeness.USER_AND_STATION_AND_ADDRESS),  # no number
        (Signs("a", "m", "i"), Signs("a", "m", "i", "81a00003"), Likeness.USER_AND_STATION_AND_ADDRESS),
        (Signs("a", "m", "i"), Signs("a", "m", "j"), Likeness.USER_AND_STATION),  # an address may change
        (Signs("a", "m", "i"), Signs("a", "n", "i"), Likeness.OTHER),
        (Signs("a", None, "i"), Signs("a", "m", "i"), Likeness.USER_AND_ADDRESS),
        (Signs("a", None, "i"), Signs("a", "m", "j"), Likeness.OTHER),  # no device to go by, and another address
        (Signs("a", None, None), Signs("a", "m", "i"), Likeness.USER_OR_STATION),
        (Signs(None, "m", "i"), Signs("a", "m", "i"), Likeness.USER_OR_STATION),
        (Signs(None, None, "i"), Signs(None, None, "i"), Likeness.OTHER),  # an address alone is given to the next one
        (Signs("a", "02:00:5e:10:00:01", "i"), Signs("a", "192.0.2.7", "i"), Likeness.USER_AND_ADDRESS),  # a tunnel's calling address
        (Signs(), Signs(), Likeness.OTHER),
    ],
)
def test_two_descriptions_mean_one_session_as_surely_as_what_both_name_says(one, other, expected):
    """5.6: a contradiction outweighs an equal session id."""
    assert likeness(one, other) is expected
    assert likeness(other, one) is expected


def test_the_session_is_chosen_by_its_id_where_the_device_lists_one():
    """5.6."""
    first, second = listed("*1", session_id="0x81A00001", kind="pppoe"), listed("*2", session_id="0x81A00002", kind="pppoe")
    assert choose(meant(session_id="81a00002"), [first, second]) == (second, (), "")


def test_without_an_id_the_session_is_chosen_by_user_and_device():
    """5.6: another device of the same user, and the same device under another name, are left alone."""
    sessions = [listed("*1", station=LAPTOP), listed("*2"), listed("*3", user="bob")]
    assert choose(meant(), sessions).session is sessions[1]


def test_a_session_that_nobody_matches_is_not_there():
    """5.6: and who it is under another id is said."""
    assert choose(meant(), []) == (None, (), "it lists no such session")
    assert choose(meant(), [listed(user="bob")]) == (None, (), "it lists no such session")
    again = listed("*7", session_id="0x81A00009", kind="pppoe")
    assert choose(meant(session_id="81a00001"), [again]) == (
        None,
        (),
        "it has the user in other sessions only: pppoe *7 (alice, 02:00:5E:10:00:01, 10.0.0.1)",
    )


def test_two_devices_of_one_user_are_refused_by_name_when_the_user_is_all_that_is_known():
    """5.6: never somebody else's session, nor somebody's other one."""
    both = [listed("*1", station=PHONE), listed("*2", station=LAPTOP, address="10.0.0.2")]
    chosen = choose(meant(station=None, address=None), both)
    assert chosen.session is None
    assert chosen.alike == tuple(both)
    assert chosen.sentence == (
        "2 of its sessions could be the one, and none of them was touched: "
        "hotspot *1 (alice, 02:00:5E:10:00:01, 10.0.0.1), hotspot *2 (alice, 02:00:5E:10:00:02, 10.0.0.2)"
    )


def test_one_session_of_the_user_is_the_one_when_the_user_is_all_that_is_known():
    """5.6."""
    only = listed("*1")
    assert choose(meant(station=None, address=None), [only, listed("*2", user="bob")]).session is only


def test_of_two_sessions_of_one_user_and_device_the_address_tells():
    """5.6."""
    sessions = [listed("*1"), listed("*2", address="10.0.0.2")]
    assert choose(meant(address="10.0.0.2"), sessions).session is sessions[1]
    assert choose(meant(address=None), sessions).alike == tuple(sessions)


def test_a_name_that_is_not_utf_8_is_compared_by_its_octets():
    """5.6: octets that are left out make two users one."""
    foreign = {"base64": "YvxyZw=="}  # b, 0xfc, r, g
    sessions = [listed("*1", user="brg", station=None, address=None), listed("*2", user="b\\xfcrg", station=None, address=None)]
    assert choose(signs_of({"user_name": foreign}), sessions).session is sessions[1]
    assert choose(signs_of({"user_name": Octets("YvxyZw==")}), sessions).session is sessions[1]


@pytest.mark.parametrize("value", [7, 1.5, ["alice"], {"base64": "?"}, {"other": "x"}, "", None])
def test_what_is_no_text_is_nothing_to_know_a_session_by(value):
    """5.6: bad input."""
    assert signs_of({"user_name": value}) == Signs()


def test_many_sessions_are_named_up_to_a_number():
    """5.6: a sentence stays one."""
    assert named([listed(f"*{n}", None, None, None) for n in range(7)]).endswith("*4 (no user, no device, no address) and 2 more")


def test_a_session_that_only_the_device_knows_finds_itself():
    """5.6: what is kicked from the list is what was listed."""
    for session in (listed(), listed(session_id="0x81A00001", kind="pppoe"), listed(station=None), listed(user=None)):
        other = listed("*99", user="bob", station=LAPTOP, address="10.0.0.9")
        assert choose(signs_of(attributes_of(session)), [other, session]).session is session


def test_the_list_is_held_against_the_table_in_three_parts():
    """5.6: on both, on the device alone, in the table alone; and what both name differently."""
    moved, stranger = listed("*1", address="10.0.0.77"), listed("*2", user="mallory", station=LAPTOP)
    dialled = listed("*3", user="carol", station=None, address="10.0.1.1", session_id="0x81A00003", kind="pppoe")
    alice, bob, carol = row(), row("80300002", "bob", LAPTOP, "10.0.0.2"), row("81a00003", "carol", None, None)
    assert hold([moved, stranger, dialled], [alice, bob, carol]) == [
        ("both", moved, alice, ("framed_ip_address",)),
        ("device", stranger, None, ()),
        ("both", dialled, carol, ()),
        ("table", None, bob, ()),
    ]


def test_each_session_has_one_partner_and_the_surest_first():
    """5.6: what an id or an address says goes before what the order of the lists says."""
    unsure, sure = listed("*1", address=None), listed("*2", address="10.0.0.2")
    old, new = row("80300001", address="10.0.0.1"), row("80300002", address="10.0.0.2")
    assert [(held.device, held.row) for held in hold([unsure, sure], [old, new])] == [(unsure, old), (sure, new)]
    assert [held.where for held in hold([unsure, sure], [new])] == ["device", "both"]


def test_of_rows_that_are_alike_the_newest_has_the_partner():
    """5.6: the older one is that whose Stop was lost."""
    old, new = row("80300001"), row("80300002")
    assert [(held.where, held.row) for held in hold([listed()], [old, new])] == [("both", new), ("table", old)]


def test_many_that_are_alike_are_held_in_bounded_time():
    """5.6: one shared name without devices, a thousand times on both sides."""
    count = 20 * CANDIDATES_MAX
    devices = [listed(f"*{n}", "guest", None, f"10.1.{n // 256}.{n % 256}") for n in range(count)]
    rows = [row(f"id-{n}", "guest", None, f"10.2.{n // 256}.{n % 256}") for n in range(count)]
    held = hold(devices, rows)
    assert [one.where for one in held] == ["device"] * count + ["table"] * count


TEXTS = st.sampled_from([None, "a", "b"])
SIGNS = st.tuples(TEXTS, st.sampled_from([None, PHONE, LAPTOP, "192.0.2.7"]), st.sampled_from([None, "10.0.0.1", "10.0.0.2"]))


@given(
    st.lists(st.tuples(SIGNS, st.sampled_from([None, "0x1", "0x2"])), max_size=8),
    st.lists(st.tuples(SIGNS, st.sampled_from(["1", "2", "x"])), max_size=8),
)
def test_nobody_is_lost_and_nobody_counts_twice(devices, rows):
    """5.6: whatever the lists hold."""
    sessions = [listed(f"*{n}", *signs, session_id=session_id) for n, (signs, session_id) in enumerate(devices)]
    table = [row(session_id, signs[0], signs[1], signs[2]) for signs, session_id in rows]
    held = hold(sessions, table)
    assert [one.device for one in held if one.device is not None] == sessions
    assert sorted(id(one.row) for one in held if one.row is not None) == sorted(map(id, table))
    for one in held:
        assert (one.where != "table", one.where != "device") == (one.device is not None, one.row is not None)
        if one.where == "both":
            assert likeness(signs_of(attributes_of(one.device)), signs_of({"user_name": one.row.user_name} | _rest(one.row)))


def _rest(one):
    return {
        "calling_station_id": one.calling_station_id,
        "framed_ip_address": one.framed_ip_address,
        "acct_session_id": one.acct_session_id,
    }
