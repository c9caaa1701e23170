"""The dispatcher: lines, budgets, Identifiers, replies (behaviours 5.1, 5.5, 5.7). The other side is `streams.radius.simulated`."""

import msgspec
import pytest

from schemas.configuration import Disconnect, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from schemas.ways import WayAnswer
from streams.dispatcher import SILENT_WAITING_MAX, TURNS_MS, Datagram, Dispatcher, Ignored, Question, targets
from streams.kick import Now, NoWay
from streams.profiles import packaged
from streams.radius.authenticator import sign_response
from streams.radius.simulated import build_disconnect_reply, encode_attributes, parse_disconnect_request

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
    assert again == msgspec.structs.replace(first, decided_ms=None)


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


def let_time_pass(kicker, until_ms=10**9):
    """What goes out, with when (ms), while nobody answers."""
    out = []
    while kicker.next_wake_ms is not None and kicker.next_wake_ms - 1_000 <= until_ms:
        now = at(kicker.next_wake_ms - 1_000)
        out += [(now.mono_ms - 1_000, one) for one in kicker.wake(now)]
    return out


def ends(outputs):
    return {one.command_id: (one.outcome, ms) for ms, one in outputs if isinstance(one, DisconnectResult)}


def test_every_command_of_a_dead_nas_is_unanswered_in_its_time():
    """5.3, 5.4 and 5.5: where its turn never came, the result says that nothing was sent."""
    kicker = dispatcher(in_flight=2)
    for number in range(50):
        kicker.command(order(number, "dead"), at(0))
    passed = let_time_pass(kicker)
    ended = ends(passed)
    assert len(ended) == 50
    assert {outcome for outcome, _ in ended.values()} == {"unanswered"}
    assert max(when for _, when in ended.values()) <= 90_000
    details = [one.detail for _, one in passed if isinstance(one, DisconnectResult)]
    assert sum(one.startswith("Sent 4 times") for one in details) == 3
    assert sum("Nothing was sent" in one for one in details) == 47
    assert len(kicker) == 0


def test_a_dead_nas_is_asked_by_one_request_at_a_time_until_it_answers():
    """5.5: back-off of the whole NAS; the first answer ends it."""
    kicker = dispatcher(in_flight=4)
    for number in range(20):
        kicker.command(order(number, "dead", expires_ms=WALL_MS + 900_000, confirm_within_s=900), at(0))
    passed = let_time_pass(kicker, 32_000)
    (probe,) = [one for ms, one in passed if isinstance(one, Datagram) and ms > 30_000]
    assert len(ends(passed)) == 4
    out = kicker.datagram(probe.port, probe.endpoint, answer(probe, ack=False, error_cause=503), at(32_001))
    assert outcomes(out) == ["gone"]
    assert len([one for one in out if isinstance(one, Datagram)]) == 2
    assert len(kicker) == 15


def test_a_nas_that_answers_nobody_has_no_long_queue_and_turns_newer_commands_away_at_once():
    """5.5 and 5.7: so that what stands behind them in the topic is read."""
    kicker = dispatcher(in_flight=2, ports=4)
    for number in range(500):
        kicker.command(order(number, "dead", expires_ms=WALL_MS + 900_000, confirm_within_s=900), at(0))
    ended = ends(let_time_pass(kicker, 30_000))
    assert {outcome for outcome, _ in ended.values()} == {"unanswered"}
    assert len(kicker) == SILENT_WAITING_MAX == 500 - len(ended)
    (turned_away,) = kicker.command(order(1_000, "dead"), at(30_001))
    assert (turned_away.outcome, turned_away.attempts) == ("unanswered", [])
    assert isinstance(kicker.command(order(1_001), at(30_002))[0], Datagram)


def test_however_many_nases_are_silent_each_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    """5.5: beyond ten thousand nothing was sent to any of them any more, and so none was heard either."""
    monkeypatch.setattr("streams.dispatcher.SILENT_WAITING_ALL", 0)
    kicker = dispatcher(in_flight=1)
    for number in range(4):
        kicker.command(order(number, "dead", expires_ms=WALL_MS + 900_000, confirm_within_s=900), at(0))
    let_time_pass(kicker, 31_000)
    assert kicker.silent == 1
    passed = let_time_pass(kicker, 300_000)
    assert [one for _, one in passed if isinstance(one, Datagram)]


def test_a_configuration_that_says_nothing_else_of_a_nas_leaves_what_is_known_of_it():
    """5.5: at each SIGHUP it was asked as much again beside what it had not answered yet, and silent ones were counted twice."""
    kicker = dispatcher(in_flight=2)
    sent = [one for number in range(4) for one in kicker.command(order(number, "dead", expires_ms=WALL_MS + 900_000), at(0))]
    assert len([one for one in sent if isinstance(one, Datagram)]) == 2
    known = dict(kicker._known)
    kicker.change(known, 2)
    assert [one for one in kicker.command(order(9, "dead"), at(1)) if isinstance(one, Datagram)] == []
    let_time_pass(kicker, 31_000)
    assert kicker.silent == 1
    kicker.change(known, 2)
    assert kicker.silent == 1
    kicker.change({**known, "dead": NoWay("no-secret", "gone")}, 2)
    assert kicker.silent == 0


def test_a_line_is_no_longer_than_what_its_nas_may_be_sent_in_300_s():
    """5.5: RFC 5176 section 6.3; beyond it a command expires at once instead of when its time is over."""
    kicker = dispatcher(in_flight=2, ports=1)
    outputs = [one for number in range(2 + 256 + 1) for one in kicker.command(order(number), at(0))]
    (result,) = [one for one in outputs if isinstance(one, DisconnectResult)]
    assert (result.command_id, result.outcome) == ("0-258-0-bob", "expired")
    assert len(kicker) == 258


def test_identifiers_that_are_used_up_make_the_line_wait_and_not_repeat_one():
    """5.5: 256 for each source port in 300 s."""
    kicker = dispatcher(ports=1, in_flight=4_096)
    sent = [
        one
        for number in range(257)
        for one in kicker.command(order(number, expires_ms=WALL_MS + 900_000, confirm_within_s=900), at(100 * number))
        if isinstance(one, Datagram)
    ]
    assert sorted(one.octets[1] for one in sent) == list(range(256))
    kicker.datagram(0, sent[0].endpoint, answer(sent[0]), at(25_700))
    late = []
    while not late:
        now = at(kicker.next_wake_ms - 1_000)
        late = [one for one in kicker.wake(now) if isinstance(one, Datagram) and one.decided_ms]
    assert now.mono_ms - 1_000 >= 325_700
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


def test_a_nas_that_is_overloaded_is_left_alone_as_a_whole_and_asked_again_under_another_identifier():
    """5.3 and 5.5: 506; others at the same NAS wait a second too, other NASes do not."""
    kicker = dispatcher(in_flight=1)
    (first,) = kicker.command(order(1), at(0))
    assert kicker.command(order(2), at(0)) == []
    assert kicker.datagram(0, first.endpoint, answer(first, ack=False, error_cause=506), at(1)) == []
    assert isinstance(kicker.command(order(3, "six"), at(2))[0], Datagram)
    (second,) = [one for ms, one in let_time_pass(kicker, 1_010) if one.endpoint == first.endpoint]
    assert asked_for(second) == "S2"
    assert outcomes(kicker.datagram(0, first.endpoint, answer(second, ack=False, error_cause=503), at(1_011))) == ["gone"]
    (again,) = [one for ms, one in let_time_pass(kicker, 4_010) if one.endpoint == first.endpoint]
    assert (asked_for(again), again.octets[1], again.decided_ms) == ("S1", 2, None)
    assert len(kicker) == 2


def test_a_bulk_does_not_arrive_as_one_clap():
    """5.5: the first eight at once, the others one in 10 ms."""
    kicker = dispatcher(in_flight=4_096, ports=16)
    at_once = [one for number in range(100) for one in kicker.command(order(number), at(0))]
    later = [ms for ms, one in let_time_pass(kicker, 1_000)]
    assert (len(at_once), len(later)) == (8, 92)
    assert later == pytest.approx([10.0 * n for n in range(1, 93)], abs=TURNS_MS)


def test_the_request_that_a_nas_took_is_the_first_one_for_the_next_session():
    """5.3: here what 403 made of the profile's first set, which the profile itself does not have."""
    kicker = dispatcher()
    session = {"user_name": "bob", "nas_identifier": "ap", "calling_station_id": "02-AA-00-00-00-01"}
    (first,) = kicker.command(order(1, attributes=session | {"acct_session_id": "A"}), at(0))
    (second,) = kicker.datagram(0, first.endpoint, answer(first, ack=False, error_cause=403), at(1))
    kicker.datagram(0, first.endpoint, answer(second), at(2))
    (third,) = kicker.command(order(2, attributes=session | {"acct_session_id": "B"}), at(3))
    assert set(parse_disconnect_request(third.octets, SECRET)[1]) == set(parse_disconnect_request(second.octets, SECRET)[1])
    assert "nas_identifier" not in parse_disconnect_request(third.octets, SECRET)[1]
    (fourth,) = kicker.datagram(0, first.endpoint, answer(third, ack=False, error_cause=402), at(4))
    assert "nas_identifier" in parse_disconnect_request(fourth.octets, SECRET)[1]
    (other,) = kicker.command(order(3, "six", attributes=session | {"acct_session_id": "C"}), at(5))
    assert "nas_identifier" in parse_disconnect_request(other.octets, SECRET)[1]


def test_a_change_of_authorisation_is_a_coa_request_and_its_ack_is_final():
    """4.6 and 5.4: no Stop follows it, so nothing else can prove it."""
    kicker = dispatcher()
    coa = {"Filter-Id": "slow", "Mikrotik-Rate-Limit": "1M/1M", "Session-Timeout": 60}
    (datagram,) = kicker.command(order(1, coa=coa, reason="quota"), at(0))
    assert datagram.octets[0] == 43
    assert datagram.octets[38:-6] == (
        b"\x2c\x04S1" + b"\x01\x05bob" + b"\x0b\x06slow" + b"\x1a\x0d\x00\x00\x3a\x8c\x08\x071M/1M" + b"\x1b\x06\x00\x00\x00\x3c"
    )
    (result,) = kicker.datagram(0, datagram.endpoint, answer(datagram), at(1))
    assert (result.outcome, result.final, result.attempts[0].answer) == ("confirmed", True, "CoA-ACK")
    assert result.attempts[0].request == "CoA-Request"
    assert len(kicker) == 0
    assert kicker.learned.accepted("campus") is None


@pytest.mark.parametrize(("coa", "says"), [({"Filtre-Id": "slow"}, "Filtre-Id"), ({"Session-Timeout": "soon"}, "Session-Timeout")])
def test_a_change_that_cannot_be_written_is_unsupported_and_says_what(coa, says):
    """4.6 and 5.7."""
    (result,) = dispatcher().command(order(1, coa=coa), at(0))
    assert result.outcome == "unsupported"
    assert says in result.detail


def test_a_disconnect_nak_to_a_coa_request_is_none():
    """5.1: the code belongs to the request."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1, coa={"Filter-Id": "slow"}), at(0))
    other = bytes([40]) + datagram.octets[1:]
    assert kicker.datagram(0, datagram.endpoint, build_disconnect_reply(other, SECRET, ack=False, error_cause=503), at(1)) == [
        Ignored("other-code")
    ]
    assert len(kicker) == 1


def asking(in_flight=1):
    return Dispatcher(targets(NASES, packaged(), {"routeros"}), ports=1, in_flight_per_nas=in_flight, jitter=lambda: 0.0)


def test_a_nas_of_another_way_is_asked_by_it_within_the_same_budget():
    """5.5 and 5.6."""
    kicker = asking()
    (question,) = kicker.command(order(1, "api"), at(0))
    assert (question.via, question.nas.name, question.command.id, question.decided_ms) == ("routeros", "api", "0-1-0-bob", WALL_MS - 50)
    assert kicker.command(order(2, "api"), at(0)) == []
    promise, following = kicker.way_answer("0-1-0-bob", WayAnswer("accepted", "removed *4", 3.5), at(4))
    assert (promise.outcome, promise.final, promise.attempts[0].answer) == ("acknowledged", False, "accepted")
    assert (promise.attempts[0].request, promise.attempts[0].round_trip_ms) == ("routeros", 3.5)
    assert "removed *4" in promise.detail
    assert isinstance(following, Question)
    assert kicker.learned.accepted("api") is not None
    notice = SessionNotice(command_id="0-1-0-bob", nas="api", identity="bob", acct_session_id="S1", said_by="nas-stop", time_ms=1)
    assert outcomes(kicker.notice(notice, at(5))) == ["confirmed"]
    assert kicker.way_answer("0-1-0-bob", WayAnswer("accepted"), at(6)) == []


def test_a_way_that_comes_to_no_end_is_unanswered_and_holds_its_nas_alone():
    """5.5, 5.6 and 5.7: whatever its driver does."""
    kicker = asking()
    kicker.command(order(1, "api"), at(0))
    kicker.command(order(2, "api"), at(0))
    assert isinstance(kicker.command(order(3), at(0))[0], Datagram)
    passed = [(ms, one) for ms, one in let_time_pass(kicker) if getattr(one, "nas", "") == "api"]
    assert {one.outcome for _, one in passed if isinstance(one, DisconnectResult)} == {"unanswered"}
    assert passed[0][0] == 12_000


def test_a_change_of_authorisation_by_another_way_is_unsupported():
    """5.7."""
    assert outcomes(asking().command(order(1, "api", coa={"Filter-Id": "slow"}), at(0))) == ["unsupported"]


def test_a_reply_longer_than_a_packet_or_of_last_week_is_ignored_by_name():
    """5.1 and 5.7: 4096 octets are read, one more is not; the Identifier's request of last week is no request any more."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    longest = sign_response(41, datagram.octets, encode_attributes([(18, b"x" * 253)] * 15 + [(18, b"y" * 249)]), SECRET)
    assert len(longest) == 4_096
    header = b"\x29" + datagram.octets[1:2]
    assert kicker.datagram(0, datagram.endpoint, header + (4_097).to_bytes(2) + bytes(4_093), at(1)) == [Ignored("malformed")]
    assert kicker.datagram(0, datagram.endpoint, longest[:4_000], at(1)) == [Ignored("malformed")]
    assert outcomes(kicker.datagram(0, datagram.endpoint, longest, at(2))) == ["acknowledged"]
    let_time_pass(kicker)
    week_ms = 7 * 86_400_000
    (fresh,) = kicker.command(order(2, time_ms=WALL_MS + week_ms, expires_ms=WALL_MS + week_ms + 60_000), at(week_ms))
    assert fresh.octets[1] != datagram.octets[1]
    assert kicker.datagram(0, datagram.endpoint, longest, at(week_ms)) == [Ignored("unexpected")]
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
        (datagram,) = kicker.command(order(number, session="S", expires_ms=WALL_MS + 90_000), at(10 * number))[-1:]
        kicker.datagram(datagram.port, datagram.endpoint, answer(datagram), at(10 * number))
        assert kicker.next_wake_ms is not None
    assert len(kicker._timers) < 2_000


def test_a_timer_that_a_later_one_replaced_wakes_at_the_later_time_only():
    """5.1: the ACK replaces the retransmission's timer by that of the proof, which stands behind it."""
    kicker = dispatcher()
    (datagram,) = kicker.command(order(1), at(0))
    assert kicker.next_wake_ms == at(2_000).mono_ms
    kicker.datagram(datagram.port, datagram.endpoint, answer(datagram), at(5))
    assert kicker.wake(at(2_000)) == []
    assert kicker.next_wake_ms == at(90_000).mono_ms
    assert outcomes(kicker.wake(at(90_000))) == ["unconfirmed"]
    assert kicker.next_wake_ms is None
    assert kicker._timers == []
