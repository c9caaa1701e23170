"""The board of disconnects that devices come by for (behaviour 5.6)."""

import msgspec
import pytest

from schemas.disconnect import DisconnectCommand
from schemas.ways import PICKUP_WITHIN_S, way_within_s
from streams.pickup import GRACE_S, SLIPS_PER_NODE_MAX, Board, Report, item_of, unanswered


def command(number=0, **session):
    attributes = {"acct_session_id": f"s{number}", "calling_station_id": "0200.5e10.0001", "user_name": "bob", **session}
    return DisconnectCommand(id=f"c{number}", time_ms=1, expires_ms=2, nas="hut", identity="bob", session=attributes, reason="limit")


def test_a_slip_is_handed_out_until_it_is_reported_on():
    """5.6: an answer can be lost on the way."""
    board = Board()
    slip = board.put("hut", command(), 10)
    assert board.visit("other", 11) == []
    (first,), (again,) = board.visit("hut", 12), board.visit("hut", 13)
    assert first == again == item_of(command())
    assert board.report("hut", "c0", Report("accepted", "bye\n now"), 14) is slip
    assert slip.answer is not None
    assert (slip.answer.answer, slip.answer.detail, slip.answer.round_trip_ms) == ("accepted", "the device reports accepted: bye now", 4000)
    assert board.visit("hut", 15) == []
    assert board.report("hut", "c0", Report("refused"), 16) is None
    assert board.last_visit_s == {"other": 11, "hut": 16}


def test_a_report_on_what_was_never_picked_up_or_is_anothers_is_nothing():
    """5.7: a device cannot speak for another one, nor of what it has not seen."""
    board = Board()
    board.put("hut", command(), 10)
    assert board.report("hut", "c0", Report("gone"), 11) is None
    board.visit("hut", 12)
    assert board.report("other", "c0", Report("gone"), 13) is None
    assert board.report("hut", "c1", Report("gone"), 13) is None
    assert board.report("hut", "c0", Report("gone"), 13) is not None


def test_the_board_is_bounded_and_what_is_taken_down_is_gone():
    """5.6: a device that does not come by any more fills nothing."""
    board = Board()
    slips = [board.put("hut", command(n), n) for n in range(SLIPS_PER_NODE_MAX)]
    assert board.put("hut", command(SLIPS_PER_NODE_MAX), 0) is None
    assert board.put("other", command(), 0) is not None
    assert board.waiting("hut") == SLIPS_PER_NODE_MAX
    for slip in slips:
        board.take_down("hut", slip)
    assert (board.waiting("hut"), board.visit("hut", 1)) == (0, [])


def test_a_command_that_is_read_again_takes_the_place_of_its_slip():
    """5.1: taking the old one down leaves the new one up."""
    board = Board()
    old, new = board.put("hut", command(), 1), board.put("hut", command(), 2)
    board.take_down("hut", old)
    assert board.waiting("hut") == 1
    board.visit("hut", 3)
    assert board.report("hut", "c0", Report("accepted"), 4) is new


def test_what_a_device_is_told_is_text_and_the_mac_address_is_safe_in_a_shell():
    """5.6: a name that a user chose may hold anything but control characters."""
    assert item_of(command(user_name="bob\n$(reboot)", class_=5, framed_ip_address=["a"])) == {
        "id": "c0",
        "user_name": "bob\\x0a$(reboot)",
        "calling_station_id": "0200.5e10.0001",
        "acct_session_id": "s0",
        "mac": "02-00-5E-10-00-01",
    }
    assert "mac" not in item_of(command(calling_station_id="02-00-5E-10-00-01;reboot"))


def test_a_slip_without_a_report_says_whether_the_device_came_by():
    """5.7."""
    board = Board()
    slip = board.put("hut", command(), 10)
    assert unanswered(slip, 75).detail == "the device did not come by within 75 s"
    board.visit("hut", 11)
    assert unanswered(slip, 75).detail == "the device picked it up, and did not report on it within 75 s"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"answer": "maybe"}', b'{"answer": "gone", "x": 1}', b'{"answer": "gone", "detail": "%s"}' % (b"x" * 201)]
)
def test_a_report_is_one_of_three_words(body):
    """5.7: what is none is refused."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body, type=Report)


def test_the_kicker_waits_as_long_as_a_device_may_take():
    """5.6: RADIUSdesk's one minute, and what a device may be late by."""
    assert way_within_s("poll") == PICKUP_WITHIN_S == 60 + GRACE_S
    assert way_within_s("coova-mqtt") == way_within_s("huawei-portal") == 10
