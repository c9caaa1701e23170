"""The dispatcher: lines, budgets, Identifiers, replies (behaviours 5.1, 5.5, 5.7). The other side is `streams.radius.simulated`."""

import pytest

from schemas.configuration import Disconnect, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from streams.dispatcher import Datagram, Dispatcher, Ignored, targets
from streams.kick import Now
from streams.profiles import packaged
from streams.radius.simulated import build_disconnect_reply, parse_disconnect_request

WALL_MS = 1_700_000_000_000
SECRET = b"testing456"


def at(ms):
    return Now(WALL_MS + int(ms), 1_000.0 + ms)


def nas(name, address, **changes):
    way = {"address": address, "port": 3799, "secret": SECRET.decode()} | changes
    return Nas(name=name, addresses=("127.0.0.1/32",), secret="s", disconnect=Disconnect(**way))


NASES = (
    nas("campus", "192.0.2.1"),
    nas("dead", "192.0.2.2"),
    nas("six", "2001:0db8::0001"),
    nas("silent", "192.0.2.3", via="none"),
    nas("api", "192.0.2.3", via="routeros"),
    nas("strange", "192.0.2.3", profile="strange"),
    nas("no-secret", "192.0.2.4", secret=None),
    nas("cisco", "192.0.2.5", profile="cisco", port=None),
    nas("cisco-elsewhere", "192.0.2.6", profile="cisco", port=3799),
    Nas(name="bare", addresses=("127.0.0.2/32",), secret="s"),
)


def dispatcher(ports=1, in_flight=2):
    return Dispatcher(targets(NASES, packaged()), ports=ports, in_flight_per_nas=in_flight, jitter=lambda: 0.0)


def order(number, name="campus", session="", attributes=None, **changes):
    fields = {
        "id": f"0-{number}-0-bob",
        "time_ms": WALL_MS - 50,
        "expires_ms": WALL_MS + 60_000,
        "nas": name,
        "identity": "bob",
        "session": attributes or {"acct_session_id": session or f"S{number}", "user_name": "bob"},
        "reason": "limit",
    }
    return DisconnectCommand(**(fields | changes))


def answer(datagram, *, ack=True, error_cause=None, secret=SECRET):
    return build_disconnect_reply(datagram.octets, secret, ack=ack, error_cause=error_cause)


def outcomes(outputs):
    return [output.outcome for output in outputs if isinstance(output, DisconnectResult)]


def asked_for(datagram):
    _, fields = parse_disconnect_request(datagram.octets, SECRET)
    return fields["acct_session_id"]


def test_a_command_becomes_a_request_that_the_nas_believes():
    """5.1."""
    (datagram,) = dispatcher().command(order(1), at(0))
    assert (datagram.port, datagram.endpoint, datagram.decided_ms) == (0, ("192.0.2.1", 3799), WALL_MS - 50)
    identifier, fields = parse_disconnect_request(datagram.octets, SECRET)
    assert identifier == 0
    assert fields == {"acct_session_id": "S1", "user_name": "bob", "event_timestamp_s": WALL_MS // 1000}


def test_a_retransmission_is_the_same_octets_from_the_same_port():
    """5.1."""
    kicker = dispatcher()
    (first,) = kicker.command(order(1), at(0))
    assert kicker.next_wake_ms == at(2_000).mono_ms
    assert kicker.wake(at(1_999)) == []
    (again,) = kicker.wake(at(2_000))
    assert again == first._replace(decided_ms=None)


def test_ack_and_stop_lead_to_acknowledged_and_confirmed_and_leave_nothing():
    """5.4."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    assert outcomes(kicker.datagram(0, datagram.endpoint, answer(datagram), at(1))) == ["acknowledged"]
    notice = SessionNotice(command_id="0-1-0-bob", nas="campus", identity="bob", acct_session_id="S1", said_by="nas-stop", time_ms=1)
    assert outcomes(kicker.notice(notice, at(2))) == ["confirmed"]
    assert len(kicker) == 0
    assert kicker.next_wake_ms is None
    assert kicker.notice(notice, at(3)) == []


@pytest.mark.parametrize(
    ("source", "change", "reason"),
    [
        (("192.0.2.9", 3799), lambda octets: octets, "unexpected"),
        (("192.0.2.1", 3798), lambda octets: octets, "unexpected"),
        (("192.0.2.1", 3799), lambda octets: octets[:1] + b"\x09" + octets[2:], "unexpected"),
        (("192.0.2.1", 3799), lambda octets: octets[:1], "unexpected"),
        (("192.0.2.1", 3799), lambda octets: b"", "unexpected"),
        (("192.0.2.1", 3799), lambda octets: b"\x05" + octets[1:], "other-code"),
        (("192.0.2.1", 3799), lambda octets: octets[:-1], "malformed"),
        (("192.0.2.1", 3799), lambda octets: octets[:4] + bytes(16) + octets[20:], "authenticator"),
    ],
)
def test_what_is_no_answer_is_named_and_ignored_and_the_answer_still_counts(source, change, reason):
    """5.1: source, Identifier, code and authenticators."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    assert kicker.datagram(0, source, change(answer(datagram)), at(1)) == [Ignored(reason)]
    assert kicker.datagram(1, datagram.endpoint, answer(datagram), at(1)) == [Ignored("unexpected")]
    assert outcomes(kicker.datagram(0, datagram.endpoint, answer(datagram), at(2))) == ["acknowledged"]


def test_a_reply_with_another_secret_is_ignored():
    """5.1."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    assert kicker.datagram(0, datagram.endpoint, answer(datagram, secret=b"other"), at(1)) == [Ignored("authenticator")]


def test_a_nas_that_answers_a_thousand_times_is_heard_once():
    """5.4."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    kicker.datagram(0, datagram.endpoint, answer(datagram), at(1))
    for _ in range(1_000):
        assert kicker.datagram(0, datagram.endpoint, answer(datagram), at(2)) == [Ignored("unexpected")]


def test_a_refusal_of_the_attributes_leads_to_a_request_with_another_identifier():
    """5.3."""
    kicker = dispatcher()
    (first,) = kicker.command(order(1, session="S"), at(0))
    (second,) = kicker.datagram(0, first.endpoint, answer(first, ack=False, error_cause=401), at(1))
    assert isinstance(second, Datagram)
    assert (first.octets[1], second.octets[1]) == (0, 1)
    assert second.decided_ms is None
    assert kicker.datagram(0, first.endpoint, answer(first), at(2)) == [Ignored("unexpected")]
    assert outcomes(kicker.datagram(0, first.endpoint, answer(second, ack=False, error_cause=503), at(3))) == ["gone"]


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("nobody", "unknown-nas"),
        ("bare", "no-secret"),
        ("no-secret", "no-secret"),
        ("silent", "unsupported"),
        ("api", "unsupported"),
        ("strange", "unsupported"),
    ],
)
def test_what_cannot_be_carried_out_is_a_named_result(name, outcome):
    """5.7."""
    kicker = dispatcher()
    (result,) = kicker.command(order(1, name), at(0))
    assert (result.outcome, result.final) == (outcome, True)
    assert result.detail
    assert len(kicker) == 0


def test_a_session_without_usable_attributes_is_unsupported_and_the_sentence_says_what_is_wanted():
    """5.7."""
    (result,) = dispatcher().command(order(1, attributes={"user_name": "bob"}), at(0))
    assert result.outcome == "unsupported"
    assert "Acct-Session-Id" in result.detail


def test_a_line_sends_as_many_as_its_budget_and_the_next_when_one_is_answered():
    """5.5."""
    kicker = dispatcher(in_flight=2)
    sent = [datagram for number in range(4) for datagram in kicker.command(order(number), at(0))]
    assert [asked_for(one) for one in sent] == ["S0", "S1"]
    result, third = kicker.datagram(0, sent[0].endpoint, answer(sent[0]), at(1))
    assert (result.outcome, asked_for(third)) == ("acknowledged", "S2")


def test_a_dead_nas_holds_up_nobody():
    """5.5: its line is its own."""
    kicker = dispatcher(in_flight=2)
    for number in range(500):
        kicker.command(order(number, "dead"), at(0))
    (datagram,) = kicker.command(order(1_000), at(1))
    assert datagram.endpoint == ("192.0.2.1", 3799)
    assert outcomes(kicker.datagram(0, datagram.endpoint, answer(datagram), at(2))) == ["acknowledged"]


def test_every_command_of_a_dead_nas_has_its_final_result_in_time():
    """5.3 and 5.4: unanswered where it was sent, expired where its turn never came."""
    kicker = dispatcher(in_flight=2)
    ended = {}
    for number in range(50):
        kicker.command(order(number, "dead"), at(0))
    while kicker.next_wake_ms is not None:
        now = at(kicker.next_wake_ms - 1_000)
        ended |= {one.command_id: (one.outcome, now.mono_ms - 1_000) for one in kicker.wake(now) if isinstance(one, DisconnectResult)}
    assert len(ended) == 50
    assert sorted({outcome for outcome, _ in ended.values()}) == ["expired", "unanswered"]
    assert [outcome for outcome, _ in ended.values()].count("unanswered") == 4
    assert max(when for _, when in ended.values()) <= 90_000
    assert len(kicker) == 0


def test_identifiers_that_are_used_up_make_the_line_wait_and_not_repeat_one():
    """5.5: 256 for each source port in 300 s."""
    kicker = dispatcher(ports=1, in_flight=4_096)
    sent = [
        one for number in range(257) for one in kicker.command(order(number, expires_ms=WALL_MS + 900_000, confirm_within_s=900), at(0))
    ]
    assert sorted(one.octets[1] for one in sent) == list(range(256))
    kicker.datagram(0, sent[0].endpoint, answer(sent[0]), at(1))
    late = []
    while not late:
        now = at(kicker.next_wake_ms - 1_000)
        late = [one for one in kicker.wake(now) if isinstance(one, Datagram) and one.decided_ms]
    assert now.mono_ms - 1_000 >= 300_001
    assert late[0].octets[1] == sent[0].octets[1]


def test_a_newer_command_for_the_same_session_supersedes_the_older():
    """5.5."""
    kicker = dispatcher()
    (first,) = kicker.command(order(1, session="S"), at(0))
    result, second = kicker.command(order(2, session="S"), at(1))
    assert (result.command_id, result.outcome) == ("0-1-0-bob", "superseded")
    assert second.octets[1] != first.octets[1]
    assert len(kicker) == 1
    assert kicker.command(order(2, session="S"), at(2)) == []


def test_a_repeated_command_is_worth_nothing():
    kicker = dispatcher()
    kicker.command(order(1), at(0))
    assert kicker.command(order(1), at(1)) == []


def test_a_notice_that_came_before_its_command_ends_it_before_anything_is_sent():
    kicker = dispatcher()
    notice = SessionNotice(command_id="0-1-0-bob", nas="campus", identity="bob", acct_session_id="S1", time_ms=1)
    assert outcomes(outputs := kicker.command(order(1), at(0), early=notice)) == ["gone"]
    assert len(outputs) == 1


def test_a_command_acknowledged_before_a_restart_is_not_sent_again():
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    (promise,) = kicker.datagram(0, datagram.endpoint, answer(datagram), at(1))
    other = dispatcher()
    assert other.command(order(1), at(10_000), acknowledged=promise) == []
    assert outcomes(other.wake(at(100_000))) == ["unconfirmed"]


def test_a_forgotten_command_is_neither_sent_nor_reported_and_makes_room():
    kicker = dispatcher(in_flight=1)
    (datagram,) = kicker.command(order(1), at(0))
    kicker.command(order(2), at(0))
    kicker.command(order(3), at(0))
    kicker.forget("0-1-0-bob", at(1))
    kicker.forget("0-2-0-bob", at(1))
    assert kicker.datagram(0, datagram.endpoint, answer(datagram), at(1)) == [Ignored("unexpected")]
    (third,) = kicker.wake(at(1))
    assert asked_for(third) == "S3"
    assert len(kicker) == 1


def test_a_changed_configuration_holds_for_the_next_command_and_what_is_in_flight_goes_on():
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    kicker.change({}, 2)
    (unknown,) = kicker.command(order(2), at(1))
    assert unknown.outcome == "unknown-nas"
    assert outcomes(kicker.datagram(0, datagram.endpoint, answer(datagram), at(2))) == ["acknowledged"]


@pytest.mark.parametrize(("name", "port"), [("cisco", 1700), ("cisco-elsewhere", 3799)])
def test_the_profile_says_the_port_unless_the_configuration_does(name, port):
    """5.2."""
    (datagram,) = dispatcher().command(order(1, name), at(0))
    assert datagram.endpoint[1] == port


def test_a_nas_that_is_overloaded_is_left_alone_and_its_line_goes_on_meanwhile():
    """5.3 and 5.5: 506; another Identifier afterwards, since it is a new request."""
    kicker = dispatcher(in_flight=1)
    (first,) = kicker.command(order(1), at(0))
    assert kicker.command(order(2), at(0)) == []
    (second,) = kicker.datagram(0, first.endpoint, answer(first, ack=False, error_cause=506), at(1))
    assert asked_for(second) == "S2"
    assert outcomes(kicker.datagram(0, first.endpoint, answer(second, ack=False, error_cause=503), at(2))) == ["gone"]
    (again,) = kicker.wake(at(kicker.next_wake_ms - 1_000))
    assert (asked_for(again), again.octets[1], again.decided_ms) == ("S1", 2, None)
    assert len(kicker) == 1


def test_a_nas_that_finds_several_sessions_is_sent_the_session_id_alone():
    """5.3: 508, also where the profile would not have sent it."""
    kicker = dispatcher()
    (first,) = kicker.command(order(1), at(0))
    (second,) = kicker.datagram(0, first.endpoint, answer(first, ack=False, error_cause=508), at(1))
    assert set(parse_disconnect_request(second.octets, SECRET)[1]) == {"acct_session_id", "event_timestamp_s"}


def test_a_promise_that_is_not_kept_leads_to_the_next_request():
    """5.4."""
    kicker = dispatcher()
    (first,) = kicker.command(order(1), at(0))
    kicker.datagram(0, first.endpoint, answer(first), at(1))
    notice = SessionNotice(command_id="0-1-0-bob", nas="campus", identity="bob", acct_session_id="S1", alive=True, time_ms=1)
    (second,) = kicker.notice(notice, at(20_000))
    assert set(parse_disconnect_request(second.octets, SECRET)[1]) == {"acct_session_id", "event_timestamp_s"}
    assert kicker.datagram(0, first.endpoint, answer(second), at(20_001)) == []
    assert outcomes(kicker.wake(at(90_000))) == ["unconfirmed"]
    assert len(kicker) == 0


def test_an_ipv6_nas_is_known_by_its_address_as_a_socket_writes_it():
    (datagram,) = dispatcher().command(order(1, "six"), at(0))
    assert datagram.endpoint == ("2001:db8::1", 3799)


def test_timers_that_were_replaced_do_not_pile_up():
    kicker = dispatcher(ports=64, in_flight=4_096)
    for number in range(2_000):
        (datagram,) = kicker.command(order(number, session="S"), at(number))[-1:]
        kicker.datagram(datagram.port, datagram.endpoint, answer(datagram), at(number))
    assert len(kicker._timers) < 2_000
