"""The kick machine (behaviours 5.1, 5.3, 5.4, 5.7): every cell of its table, every outcome, any order of what can happen."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.disconnect import ERROR_CAUSES, DisconnectCommand
from schemas.ways import WayAnswer
from streams.kick import (
    TRANSITIONS,
    AskWay,
    Event,
    ImpossibleError,
    Input,
    Now,
    NoWay,
    Report,
    Send,
    State,
    Timer,
    Wait,
    Way,
    begin,
    resume,
    step,
)
from streams.profiles import Request, SentAttribute

WALL_MS = 1_700_000_000_000
SESSION, NAME = SentAttribute("Acct-Session-Id", 44, b"A"), SentAttribute("User-Name", 1, b"bob")
ADDRESS, DEVICE = SentAttribute("NAS-IP-Address", 4, b"1234"), SentAttribute("Calling-Station-Id", 31, b"02-AA-00-00-00-01")
SETS = ((SESSION, NAME), (SESSION,))
WAY = Way(tuple(map(Request, SETS)), 3799, Request((SESSION,)))


def at(ms):
    return Now(WALL_MS + int(ms), 1_000.0 + ms)


def order(**changes):
    fields = {
        "id": "0-1-0-bob",
        "time_ms": WALL_MS,
        "expires_ms": WALL_MS + 60_000,
        "nas": "campus",
        "identity": "bob",
        "session": {"acct_session_id": "A", "user_name": "bob"},
        "reason": "limit",
    }
    return DisconnectCommand(**(fields | changes))


def queued(*, sets=SETS, **changes):
    kick, outputs = begin(order(**changes), WAY._replace(requests=tuple(map(Request, sets))), at(0))
    assert outputs[0] == Wait()
    return kick


def sent(*, sets=SETS, **changes):
    kick = queued(sets=sets, **changes)
    step(kick, Event(Input.TURN, at(0), identifier=7))
    return kick


def acknowledged(*, sets=SETS, **changes):
    kick = sent(sets=sets, **changes)
    step(kick, Event(Input.ACK, at(5)))
    return kick


def backing_off():
    kick = sent()
    assert step(kick, Event(Input.NAK, at(5), error_cause=506)) == [Timer(at(4_005).mono_ms)]
    return kick


def done():
    kick = queued()
    step(kick, Event(Input.ENDED, at(1)))
    return kick


MAKERS = {
    State.QUEUED: queued,
    State.SENT: sent,
    State.BACKING_OFF: backing_off,
    State.ACKNOWLEDGED: acknowledged,
    State.DONE: done,
}


def only_result(outputs):
    (report,) = outputs
    assert isinstance(report, Report)
    return report.result


def test_every_state_has_an_answer_to_every_input():
    """The table is complete: a missing cell would be a silent pass."""
    assert set(TRANSITIONS) == set(itertools.product(State, Input))


@pytest.mark.parametrize("given_input", [Input.TURN, Input.CROWDED])
@pytest.mark.parametrize("state", [State.SENT, State.BACKING_OFF, State.ACKNOWLEDGED, State.DONE])
def test_a_turn_for_a_command_that_does_not_wait_is_the_callers_defect_and_changes_nothing(state, given_input):
    kick = MAKERS[state]()
    with pytest.raises(ImpossibleError, match=given_input):
        step(kick, Event(given_input, at(10)))
    assert kick.state is state


@pytest.mark.parametrize("given_input", [one for one in Input if one not in (Input.TURN, Input.CROWDED)])
def test_after_the_end_nothing_happens_any_more(given_input):
    """5.4: late and repeated replies and notices are harmless."""
    kick = done()
    assert step(kick, Event(given_input, at(500_000))) == []
    assert kick.state is State.DONE


def test_a_turn_sends_the_first_attribute_set_and_sets_the_timer_of_rfc_5080():
    """5.1."""
    kick = queued()
    assert step(kick, Event(Input.TURN, at(3), identifier=7)) == [Send(Request(SETS[0]), again=False), Timer(at(2_003).mono_ms)]
    assert kick.state is State.SENT


def test_unanswered_it_is_sent_at_0_2_6_14_s_with_the_same_octets_and_given_up_at_30_s():
    """5.1 and 5.3: silence is `unanswered`, never nothing."""
    kick = sent()
    for ms in (2_000, 6_000, 14_000):
        assert kick.timer_ms == at(ms).mono_ms
        assert step(kick, Event(Input.TIMER, at(ms)))[0] == Send(Request(SETS[0]), again=True)
    result = only_result(step(kick, Event(Input.TIMER, at(30_000))))
    assert (result.outcome, result.final, result.error_cause) == ("unanswered", True, None)
    (attempt,) = result.attempts
    assert [one - WALL_MS for one in attempt.sent_ms] == [0, 2_000, 6_000, 14_000]
    assert (attempt.identifier, attempt.port, attempt.answer) == (7, 3799, None)
    assert attempt.attributes == ["Acct-Session-Id", "User-Name"]


def test_a_timer_that_comes_early_is_set_again_and_does_nothing():
    for make in (queued, sent, backing_off, acknowledged):
        kick = make()
        before = kick.state, kick.timer_ms
        assert step(kick, Event(Input.TIMER, at(10))) == [Timer(kick.timer_ms)]
        assert (kick.state, kick.timer_ms) == before


def test_an_ack_is_reported_at_once_and_is_not_final():
    """5.4: an ACK is a promise."""
    kick = sent()
    report, timer = step(kick, Event(Input.ACK, at(5)))
    assert (report.result.outcome, report.result.final) == ("acknowledged", False)
    assert report.result.attempts[0].answer == "Disconnect-ACK"
    assert report.result.attempts[0].round_trip_ms == 5
    assert timer == Timer(at(90_000).mono_ms)


def test_the_stop_after_the_ack_is_the_proof():
    """5.4."""
    result = only_result(step(acknowledged(), Event(Input.ENDED, at(9), word="nas-stop")))
    assert (result.outcome, result.final) == ("confirmed", True)
    assert "nas-stop" in result.detail


def test_a_stop_before_the_ack_is_the_proof_too_and_the_ack_is_harmless():
    """5.4: both orders end the session once."""
    kick = sent()
    assert only_result(step(kick, Event(Input.ENDED, at(4)))).outcome == "confirmed"
    assert step(kick, Event(Input.ACK, at(5))) == []


def test_a_session_that_goes_on_reporting_after_the_ack_is_tried_the_next_way():
    """5.4: a promise that is not kept counts as a refusal; the second ACK is not reported again, the Stop proves it."""
    kick = acknowledged()
    assert step(kick, Event(Input.ALIVE, at(20_000))) == [Wait(), Timer(at(60_000).mono_ms)]
    assert step(kick, Event(Input.ALIVE, at(20_001))) == []
    assert step(kick, Event(Input.TURN, at(20_002), identifier=8))[0] == Send(Request(SETS[1]), again=False)
    assert step(kick, Event(Input.ACK, at(20_005))) == [Timer(at(90_000).mono_ms)]
    result = only_result(step(kick, Event(Input.ENDED, at(20_009))))
    assert result.outcome == "confirmed"
    assert [one.answer for one in result.attempts] == ["Disconnect-ACK", "Disconnect-ACK"]


def test_a_session_that_outlives_every_promise_is_unconfirmed():
    """5.4."""
    result = only_result(step(acknowledged(sets=SETS[:1]), Event(Input.ALIVE, at(20_000))))
    assert (result.outcome, result.final, result.error_cause) == ("unconfirmed", True, None)
    assert result.detail == "The NAS promised to end the session, and the session went on reporting."


@pytest.mark.parametrize(
    ("ending", "outcome", "says"),
    [
        ([Event(Input.NAK, at(20_010), error_cause=404)], "unconfirmed", "The NAS finds the request malformed."),
        ([Event(Input.NAK, at(20_010), error_cause=503)], "gone", "The NAS knows no such session."),
        ([Event(Input.TIMER, at(ms)) for ms in (22_002, 26_002, 34_002, 50_002)], "unconfirmed", "without an answer"),
        ([Event(Input.ENDED, at(20_010))], "confirmed", "has ended"),
    ],
)
def test_a_promise_that_was_broken_is_told_whatever_comes_of_the_next_way(ending, outcome, says):
    """5.4: not `refused` and not `unanswered`, since the NAS had said yes."""
    kick = acknowledged()
    step(kick, Event(Input.ALIVE, at(20_000)))
    step(kick, Event(Input.TURN, at(20_002), identifier=8))
    outputs = [output for event in ending for output in step(kick, event) if isinstance(output, Report)]
    result = only_result(outputs)
    assert result.outcome == outcome
    assert says in result.detail
    assert ("went on reporting" in result.detail) == (outcome == "unconfirmed")


def test_a_broken_promise_whose_next_turn_does_not_come_in_time_is_unconfirmed():
    """5.4."""
    kick = acknowledged()
    step(kick, Event(Input.ALIVE, at(20_000)))
    assert only_result(step(kick, Event(Input.TIMER, at(60_000)))).outcome == "unconfirmed"


def test_the_end_of_a_session_between_a_broken_promise_and_the_next_turn_is_the_proof():
    """5.4."""
    kick = acknowledged()
    step(kick, Event(Input.ALIVE, at(20_000)))
    assert only_result(step(kick, Event(Input.ENDED, at(20_001)))).outcome == "confirmed"


def test_an_interim_before_the_ack_says_nothing():
    """5.4: it may have left before the request came."""
    kick = sent()
    assert step(kick, Event(Input.ALIVE, at(1))) == []
    assert kick.state is State.SENT


def test_an_ack_without_a_stop_is_unconfirmed_when_the_time_is_over():
    """5.4: one final outcome within confirm_within_s."""
    kick = acknowledged(confirm_within_s=40)
    assert only_result(step(kick, Event(Input.TIMER, at(40_000)))).outcome == "unconfirmed"


def test_after_the_ack_a_nak_of_a_retransmission_is_harmless():
    """5.4: 503 is what it gets once the session is gone."""
    kick = acknowledged()
    assert step(kick, Event(Input.NAK, at(6), error_cause=503)) == []
    assert step(kick, Event(Input.ACK, at(7))) == []
    assert kick.state is State.ACKNOWLEDGED


def test_503_means_that_the_session_is_gone():
    """5.3."""
    result = only_result(step(sent(), Event(Input.NAK, at(5), error_cause=503)))
    assert (result.outcome, result.final, result.error_cause_name) == ("gone", True, "Session-Context-Not-Found")


@pytest.mark.parametrize("answer", [Input.ACK, Input.NAK])
@pytest.mark.parametrize("cause", [201, 503])
def test_residual_context_and_no_context_mean_gone_in_an_ack_and_in_a_nak(answer, cause):
    """5.3: a Catalyst 4500 answers a repeated request by an ACK with 503; no Stop will follow either."""
    result = only_result(step(sent(), Event(answer, at(5), error_cause=cause)))
    assert (result.outcome, result.final, result.error_cause) == ("gone", True, cause)
    assert result.detail == ERROR_CAUSES[cause].sentence


@pytest.mark.parametrize("cause", [None, 202, 404, 504, 4711])
def test_any_other_error_cause_in_an_ack_leaves_it_a_promise(cause):
    """5.3: the code says yes; what makes no sense beside it is on record."""
    report, _ = step(sent(), Event(Input.ACK, at(5), error_cause=cause))
    assert (report.result.outcome, report.result.error_cause) == ("acknowledged", cause)


def test_the_table_says_of_every_error_cause_what_follows():
    """5.3: the rows, as they stand in RFC 5176 section 3.5, RFC 5580 and RFC 7930."""
    assert {cause: row.follows for cause, row in ERROR_CAUSES.items()} == {
        **dict.fromkeys([201, 503], "gone"),
        **dict.fromkeys([401, 402, 407], "next-set"),
        403: "without-nas",
        508: "alone",
        **dict.fromkeys([504, 505, 506], "later"),
        **dict.fromkeys([202, 404, 405, 406, 501, 502, 507, 509, 601], "give-up"),
    }


@pytest.mark.parametrize("cause", [202, 404, 405, 406, 501, 502, 507, 509, 601])
def test_a_refusal_that_nothing_helps_against_is_named_and_final_at_once(cause):
    """5.3 and 5.7: 404, 405, 501 and their like give up and say so, with sets left."""
    result = only_result(step(sent(), Event(Input.NAK, at(5), error_cause=cause)))
    assert (result.outcome, result.error_cause, result.error_cause_name) == ("refused", cause, ERROR_CAUSES[cause].name)
    assert result.detail == ERROR_CAUSES[cause].sentence


@pytest.mark.parametrize("cause", [504, 505, 506])
def test_a_nas_that_cannot_do_it_now_is_left_alone_and_asked_the_same_again_three_times(cause):
    """5.3: after 4, 8 and 16 s; then the refusal stands, and no other set is tried for it."""
    kick = sent()
    ms = 5
    for pause_ms in (4_000, 8_000, 16_000):
        assert step(kick, Event(Input.NAK, at(ms), error_cause=cause)) == [Timer(at(ms + pause_ms).mono_ms)]
        assert kick.state is State.BACKING_OFF
        ms += pause_ms
        assert step(kick, Event(Input.TIMER, at(ms))) == [Wait(), Timer(at(60_000).mono_ms)]
        assert step(kick, Event(Input.TURN, at(ms), identifier=9))[0] == Send(Request(SETS[0]), again=False)
    result = only_result(step(kick, Event(Input.NAK, at(ms), error_cause=cause)))
    assert (result.outcome, result.error_cause, len(result.attempts)) == ("refused", cause, 4)


def test_the_pause_has_the_jitter_of_rfc_5080():
    """5.3: so that what was refused together does not come back together."""
    kick = sent()
    assert step(kick, Event(Input.NAK, at(0), jitter=-1.0, error_cause=506)) == [Timer(at(3_600).mono_ms)]


@pytest.mark.parametrize("changes", [{"confirm_within_s": 4}, {"expires_ms": WALL_MS + 4_000}])
def test_nobody_is_left_alone_longer_than_there_is_time(changes):
    """5.3 and 5.4: the final result comes at once instead."""
    result = only_result(step(sent(**changes), Event(Input.NAK, at(5), error_cause=506)))
    assert (result.outcome, result.error_cause) == ("refused", 506)


def test_a_session_that_ends_while_the_nas_is_left_alone_is_gone():
    """5.3."""
    result = only_result(step(backing_off(), Event(Input.ENDED, at(10), word="nas-stop")))
    assert (result.outcome, result.error_cause) == ("gone", None)
    assert "nas-stop" in result.detail


def told(kick, *causes):
    """The sets that are sent when these refusals come one after the other, and the outputs of the last one."""
    sets, outputs = [kick.current.attributes], []
    for number, cause in enumerate(causes):
        outputs = step(kick, Event(Input.NAK, at(10 + number), error_cause=cause))
        if outputs[0] == Wait():
            (send, _) = step(kick, Event(Input.TURN, at(10 + number), identifier=number))
            sets.append(send.request.attributes)
    return sets, outputs


def test_a_nas_that_is_told_another_nas_s_name_is_asked_without_one():
    """5.3: 403 takes the NAS attributes out of every set that is left; one that has none of them and was sent is not sent again."""
    sets = ((SESSION, DEVICE, ADDRESS), (SESSION, ADDRESS), (DEVICE, ADDRESS))
    tried, outputs = told(sent(sets=sets), 403, 401, 401, 401)
    assert tried == [sets[0], (SESSION, DEVICE), (SESSION,), (DEVICE,)]
    assert only_result(outputs).error_cause == 401


def test_a_second_403_goes_on_to_the_next_set():
    """5.3."""
    tried, outputs = told(sent(sets=((SESSION, ADDRESS), (SESSION, NAME))), 403, 403, 403)
    assert tried == [(SESSION, ADDRESS), (SESSION,), (SESSION, NAME)]
    assert (only_result(outputs).outcome, only_result(outputs).error_cause) == ("refused", 403)


def test_a_set_that_only_named_the_nas_is_not_sent_empty():
    """5.3 and 5.7."""
    tried, outputs = told(sent(sets=((ADDRESS,),)), 403)
    assert tried == [(ADDRESS,)]
    assert only_result(outputs).error_cause == 403


def test_a_nas_that_finds_several_sessions_is_asked_by_session_id_alone_and_once():
    """5.3: 508."""
    tried, outputs = told(sent(sets=((DEVICE, NAME), (DEVICE,))), 508, 508)
    assert tried == [(DEVICE, NAME), (SESSION,)]
    assert (only_result(outputs).outcome, only_result(outputs).error_cause) == ("refused", 508)


def test_a_session_id_alone_that_matches_several_sessions_is_refused():
    """5.3: 508 to what was sent alone already."""
    tried, outputs = told(sent(sets=((SESSION,), (DEVICE,))), 508)
    assert tried == [(SESSION,)]
    assert only_result(outputs).error_cause == 508


def test_a_refusal_with_an_unknown_number_keeps_the_number():
    """5.3."""
    result = only_result(step(sent(), Event(Input.NAK, at(5), error_cause=4711)))
    assert (result.outcome, result.error_cause, result.error_cause_name) == ("refused", 4711, None)


def test_a_refusal_without_error_cause_is_a_refusal():
    """5.3: strongSwan and CoovaChilli send none."""
    result = only_result(step(sent(), Event(Input.NAK, at(5))))
    assert (result.outcome, result.error_cause, result.error_cause_name) == ("refused", None, None)


@pytest.mark.parametrize("cause", [401, 402, 407])
def test_a_refusal_of_the_attributes_leads_to_the_next_set_once_each(cause):
    """5.3: with a new turn, and so a new Identifier."""
    kick = sent()
    wait, _ = step(kick, Event(Input.NAK, at(5), error_cause=cause))
    assert wait == Wait()
    send, timer = step(kick, Event(Input.TURN, at(6), identifier=8))
    assert send == Send(Request(SETS[1]), again=False)
    assert timer == Timer(at(2_006).mono_ms)
    result = only_result(step(kick, Event(Input.NAK, at(9), error_cause=cause)))
    assert (result.outcome, result.error_cause) == ("refused", cause)
    assert [(one.identifier, one.error_cause, one.attributes) for one in result.attempts] == [
        (7, cause, ["Acct-Session-Id", "User-Name"]),
        (8, cause, ["Acct-Session-Id"]),
    ]


def test_a_late_reply_to_the_refused_set_is_harmless_while_the_next_one_waits():
    kick = sent()
    step(kick, Event(Input.NAK, at(5), error_cause=401))
    assert step(kick, Event(Input.ACK, at(6))) == []
    assert step(kick, Event(Input.NAK, at(6), error_cause=503)) == []
    assert kick.state is State.QUEUED


def test_a_next_set_whose_turn_does_not_come_in_time_leaves_the_refusal():
    kick = sent()
    step(kick, Event(Input.NAK, at(5), error_cause=401))
    assert only_result(step(kick, Event(Input.TIMER, at(60_000)))).error_cause == 401


def test_a_way_without_a_request_is_the_callers_defect():
    with pytest.raises(ImpossibleError, match="without a request"):
        begin(order(), Way((), 3799), at(0))


def test_a_command_read_after_its_time_is_expired_and_nothing_is_sent():
    """5.7."""
    kick, outputs = begin(order(), WAY, at(60_000))
    assert (only_result(outputs).outcome, kick.state) == ("expired", State.DONE)


def test_a_command_whose_turn_does_not_come_in_time_is_expired():
    """5.7: a dead NAS kicks nobody for old news."""
    kick = queued()
    assert kick.timer_ms == at(60_000).mono_ms
    result = only_result(step(kick, Event(Input.TIMER, at(60_000))))
    assert (result.outcome, result.attempts) == ("expired", [])


def test_a_turn_that_comes_after_its_time_sends_nothing():
    kick = queued()
    assert only_result(step(kick, Event(Input.TURN, at(60_001), identifier=1))).outcome == "expired"


def test_in_the_queue_confirm_within_s_is_an_end_as_well():
    """5.4."""
    kick = queued(confirm_within_s=10)
    assert only_result(step(kick, Event(Input.TIMER, at(10_000)))).outcome == "expired"


@pytest.mark.parametrize("outcome", ["unknown-nas", "no-secret", "unsupported"])
def test_a_command_that_cannot_be_carried_out_is_a_named_result_at_once(outcome):
    """5.7."""
    kick, outputs = begin(order(), NoWay(outcome, "Because."), at(0))
    result = only_result(outputs)
    assert (result.outcome, result.final, result.detail, kick.state) == (outcome, True, "Because.", State.DONE)
    assert (result.command_id, result.nas, result.identity, result.acct_session_id) == ("0-1-0-bob", "campus", "bob", "A")


def test_a_session_that_ends_before_anything_is_sent_is_gone():
    assert only_result(step(queued(), Event(Input.ENDED, at(1), word="nas-stop"))).outcome == "gone"


@pytest.mark.parametrize("make", [queued, sent, backing_off, acknowledged])
def test_a_newer_command_for_the_same_session_takes_the_place(make):
    """5.5: at most one disconnect in flight per session."""
    result = only_result(step(make(), Event(Input.REPLACED, at(9), word="0-2-0-bob")))
    assert (result.outcome, result.final) == ("superseded", True)
    assert "0-2-0-bob" in result.detail


def test_a_command_acknowledged_before_a_restart_is_awaited_and_not_sent_again():
    """5.4."""
    before = sent()
    report, _ = step(before, Event(Input.ACK, at(5)))
    kick, outputs = resume(order(), report.result, at(1_000))
    assert outputs == [Timer(at(91_000).mono_ms)]
    result = only_result(step(kick, Event(Input.ENDED, at(2_000))))
    assert result.outcome == "confirmed"
    assert result.attempts == report.result.attempts


def test_a_session_id_of_foreign_octets_comes_back_as_it_was():
    kick, outputs = begin(order(session={"acct_session_id": {"base64": "/wA="}}), NoWay("unsupported", ""), at(0))
    assert only_result(outputs).acct_session_id.base64 == "/wA="
    assert kick.state is State.DONE


def test_a_result_reported_earlier_does_not_change_when_the_kick_goes_on():
    kick = sent()
    report, _ = step(kick, Event(Input.ACK, at(5)))
    kick.attempts[-1].sent_ms.append(1)
    assert len(report.result.attempts[0].sent_ms) == 1


def by_another_way(**changes):
    kick, _ = begin(order(**changes), Way((Request(via="routeros"),), 0), at(0))
    return kick


def asked(**changes):
    kick = by_another_way(**changes)
    assert step(kick, Event(Input.TURN, at(0))) == [AskWay("routeros"), Timer(at(12_000).mono_ms)]
    return kick


def answered(answer, detail="", kick=None):
    return step(kick or asked(), Event(Input.WAY_ANSWER, at(40), answer=WayAnswer(answer, detail, 38.5)))


def test_another_way_that_accepts_has_promised_as_an_ack_does():
    """5.6 and 5.4: the Stop is still the proof."""
    kick = asked()
    report, timer = answered("accepted", "hotspot active *1A removed", kick)
    assert (report.result.outcome, report.result.final, timer) == ("acknowledged", False, Timer(at(90_000).mono_ms))
    assert report.result.detail.endswith("hotspot active *1A removed")
    (attempt,) = report.result.attempts
    assert (attempt.request, attempt.answer, attempt.round_trip_ms, attempt.port, attempt.attributes) == (
        "routeros",
        "accepted",
        38.5,
        0,
        [],
    )
    assert only_result(step(kick, Event(Input.ENDED, at(50)))).outcome == "confirmed"


@pytest.mark.parametrize(
    ("answer", "outcome"), [("gone", "gone"), ("refused", "refused"), ("unanswered", "unanswered"), ("unsupported", "unsupported")]
)
def test_whatever_else_another_way_says_is_final_and_keeps_its_words(answer, outcome):
    """5.6 and 5.7: the same results as by RADIUS."""
    result = only_result(answered(answer, "login failed"))
    assert (result.outcome, result.final, result.detail, result.attempts[0].answer) == (outcome, True, "login failed", answer)


def test_another_way_that_promises_for_nothing_is_unconfirmed():
    """5.6 and 5.4."""
    kick = asked()
    answered("accepted", kick=kick)
    assert only_result(step(kick, Event(Input.ALIVE, at(20_000)))).outcome == "unconfirmed"


def test_another_way_without_an_answer_is_unanswered_in_bounded_time():
    """5.6 and 5.7."""
    kick = asked()
    result = only_result(step(kick, Event(Input.TIMER, at(12_000))))
    assert (result.outcome, len(result.attempts)) == ("unanswered", 1)
    assert "routeros" in result.detail
    assert answered("accepted", kick=kick) == []


def test_an_answer_of_another_way_to_who_did_not_ask_is_harmless():
    """5.6: it was begun anew, by RADIUS."""
    kick = sent()
    assert answered("accepted", kick=kick) == []
    assert kick.state is State.SENT


CHANGE = {"coa": {"Filter-Id": "slow"}, "reason": "quota"}


def test_a_change_is_confirmed_by_its_ack():
    """4.6 and 5.4: the session goes on, so that no Stop can prove it; the result says so."""
    result = only_result(step(sent(**CHANGE), Event(Input.ACK, at(5))))
    assert (result.outcome, result.final) == ("confirmed", True)
    assert "the session goes on" in result.detail


@pytest.mark.parametrize("make", [queued, sent])
def test_a_session_that_ends_before_its_change_is_gone(make):
    """4.6."""
    result = only_result(step(make(**CHANGE), Event(Input.ENDED, at(5), word="nas-stop")))
    assert result.outcome == "gone"
    assert "nas-stop" in result.detail


@pytest.mark.parametrize("answer", [Input.ACK, Input.NAK])
def test_a_change_of_a_session_that_the_nas_does_not_know_is_gone(answer):
    """4.6 and 5.3."""
    assert only_result(step(sent(**CHANGE), Event(answer, at(5), error_cause=503))).outcome == "gone"


def test_a_refused_change_is_tried_with_the_next_set_as_a_disconnect_is():
    """4.6 and 5.3."""
    kick = sent(**CHANGE)
    assert step(kick, Event(Input.NAK, at(5), error_cause=401))[0] == Wait()
    step(kick, Event(Input.TURN, at(6), identifier=8))
    assert only_result(step(kick, Event(Input.NAK, at(7), error_cause=401))).outcome == "refused"


@pytest.mark.parametrize(("is_silent", "outcome"), [(False, "expired"), (True, "unanswered")])
@pytest.mark.parametrize("given_input", [Input.CROWDED, Input.TIMER])
def test_who_has_no_turn_learns_whether_the_nas_is_slow_or_silent(given_input, is_silent, outcome):
    """5.5 and 5.7: `expired` is decided anew, `unanswered` is the NAS's; nothing was sent in either case, and the result says so."""
    result = only_result(step(queued(), Event(given_input, at(60_000), is_silent=is_silent)))
    assert (result.outcome, result.attempts) == (outcome, [])
    assert "othing was sent" in result.detail


@pytest.mark.parametrize("is_silent", [False, True])
def test_who_was_refused_and_is_turned_away_from_the_next_turn_was_refused(is_silent):
    """5.4, 5.7: something was sent, and the result says what came of it."""
    kick = sent(**CHANGE)
    assert step(kick, Event(Input.NAK, at(5), error_cause=401))[0] == Wait()
    result = only_result(step(kick, Event(Input.CROWDED, at(6), is_silent=is_silent)))
    assert (result.outcome, len(result.attempts)) == ("refused", 1)
    assert "othing was sent" not in result.detail


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(Input),
        st.floats(0, 40_000),
        st.sampled_from([None, 201, 401, 402, 403, 404, 407, 503, 504, 506, 508, 999]),
        st.floats(-1, 1),
    ),
    max_size=60,
)


@given(HAPPENINGS, st.integers(-1, 200), st.integers(1, 120))
def test_whatever_happens_in_whatever_order_there_is_exactly_one_final_result_by_the_deadline(happenings, lives_s, confirm_within_s):
    """5.4: the timers asked for are kept; everything else comes as it likes."""
    command = order(expires_ms=WALL_MS + lives_s * 1000, confirm_within_s=confirm_within_s)
    sets = ((DEVICE, ADDRESS), (SESSION, NAME, ADDRESS), (SESSION, NAME))
    kick, outputs = begin(command, WAY._replace(requests=tuple(map(Request, sets))), at(0))
    finals, acknowledgements, sends = [], 0, 0
    ms = 0.0

    def note(outputs):
        nonlocal acknowledgements, sends
        for output in outputs:
            if isinstance(output, Report):
                acknowledgements += not output.result.final
                finals.extend([ms] if output.result.final else [])
            sends += isinstance(output, Send)

    def keep_timers(until):
        nonlocal ms
        while kick.state is not State.DONE and kick.timer_ms - 1_000 <= until:
            ms = max(ms, kick.timer_ms - 1_000)
            note(step(kick, Event(Input.TIMER, at(ms))))

    note(outputs)
    for what, later, cause, jitter in happenings:
        then = ms + later
        keep_timers(then)
        ms = then
        impossible = what in (Input.TURN, Input.CROWDED) and kick.state is not State.QUEUED
        try:
            note(step(kick, Event(what, at(ms), jitter=jitter, identifier=1, error_cause=cause)))
            assert not impossible
        except ImpossibleError:
            assert impossible
    keep_timers(1e9)
    assert len(finals) == 1
    assert finals[0] <= confirm_within_s * 1000
    assert acknowledgements <= 1
    assert sends <= 5 * (2 * len(sets) + 1 + 3)
    assert len(kick.attempts) <= 2 * len(sets) + 1 + 3
