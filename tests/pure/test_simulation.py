"""The simulated network: deterministic, patient as RFC 5080 says, and answering Disconnect-Requests as real NASes do."""

import random
from ipaddress import IPv4Address

import pytest

from streams.radius.decode import decode_accounting
from streams.radius.disconnect import Reply, build_disconnect, encode_field, read_reply
from streams.radius.respond import accounting_response
from streams.simulation import (
    IDENTIFIERS,
    NEVER,
    QUEUE_MAX,
    Answer,
    NasSettings,
    Network,
    People,
    SimulatedNas,
    device_of,
)

SECRET, DISCONNECT_SECRET = b"testing123", b"testing456"
NOW_S = 1_800_000_000.0
ALICE = device_of("alice", 1, 0)


def nas(answer=Answer.ACK, *, interim_s=60.0, seed=1, name="campus"):
    return SimulatedNas(NasSettings(name, IPv4Address("192.0.2.1"), SECRET, DISCONNECT_SECRET, interim_s, answer), random.Random(seed))


def answered(simulated, now_s):
    """One step whose datagrams are all answered; what they say."""
    decoded = []
    for datagram in simulated.step(now_s):
        decoded.append(decode_accounting(datagram))
        assert simulated.receive_response(accounting_response(datagram, SECRET))
    return decoded


def disconnect(simulated, now_s=NOW_S, *, secret=DISCONNECT_SECRET, identifier=7, **fields):
    request = build_disconnect(
        attributes=[encode_field(name, value) for name, value in fields.items()],
        secret=secret,
        identifier=identifier,
        event_timestamp_s=int(now_s),
    )
    verdict = simulated.receive_disconnect(request, now_s)
    return verdict, None if verdict.reply is None else read_reply(verdict.reply, request, secret)


def play(seed, for_s=120):
    """All datagrams of a network with nobody who answers every second one."""
    chance = random.Random(seed)
    nases = [nas(seed=seed + number, interim_s=10, name=f"nas-{number}") for number in range(3)]
    network = Network(nases, People(["a", "b", "c", "d"], logins_per_s=1.0, session_s=20.0), chance)
    network.begin(NOW_S)
    said = []
    for second in range(for_s):
        for number, datagram in network.step(NOW_S + second):
            said.append((number, datagram))
            if len(said) % 2:
                nases[number].receive_response(accounting_response(datagram, SECRET))
    return said, nases


def test_the_same_seed_gives_the_same_octets(seed):
    first, _ = play(seed)
    again, _ = play(seed)
    other, _ = play(seed + 1)

    assert first == again
    assert first != other


def test_every_octet_of_a_network_is_accounting_that_can_be_decoded(seed):
    said, nases = play(seed)
    statuses = {decode_accounting(datagram).status for _, datagram in said}

    assert statuses == {"Accounting-On", "Start", "Interim-Update", "Stop"}
    assert not [dropped for _, datagram in said for dropped in decode_accounting(datagram).dropped]
    counts = [each.counts for each in nases]
    assert len(said) == sum(each.records.total() + each.repeats for each in counts)
    assert sum(each.records.total() for each in counts) == sum(each.answered + each.unanswered for each in counts) + sum(
        each.unanswered for each in nases
    )


def test_a_session_is_told_from_start_to_stop():
    simulated = nas(interim_s=60)
    simulated.boot(NOW_S)
    session = simulated.log_in(ALICE, NOW_S, lasts_s=150)
    said = {second: answered(simulated, NOW_S + second) for second in (0, 59, 60, 120, 149, 150)}

    assert [each.status for each in said[0]] == ["Accounting-On", "Start"]
    assert [[each.status for each in said[second]] for second in (59, 60, 120, 149, 150)] == [
        [],
        ["Interim-Update"],
        ["Interim-Update"],
        [],
        ["Stop"],
    ]
    stop = said[150][0]
    assert stop.fields["acct_session_id"] == session.session_id
    assert stop.fields["user_name"] == "alice"
    assert stop.fields["calling_station_id"] == "02-00-00-00-01-01"
    assert stop.fields["session_time_s"] == 150
    assert stop.fields["terminate_cause"] == "User-Request"
    assert stop.event_timestamp_s == NOW_S + 150
    assert simulated.due_s == NEVER
    assert simulated.step(NOW_S + 10_000) == []


def test_an_unanswered_record_is_sent_again_as_the_same_octets_and_given_up_after_30_seconds():
    """RFC 5080 section 2.2.1: at about 0, 2, 6 and 14 s; with jitter a fifth may come just before the 30 s are over."""
    simulated = nas()
    simulated.boot(NOW_S)
    (first,) = simulated.step(NOW_S)
    sent_s = []
    while (due_s := simulated.due_s) != NEVER:
        for again in simulated.step(due_s):
            assert again == first
            sent_s.append(due_s - NOW_S)

    assert sent_s[:3] == [pytest.approx(2, rel=0.11), pytest.approx(6, rel=0.15), pytest.approx(14, rel=0.15)]
    assert [late for late in sent_s[3:] if late >= 30] == []
    assert len(sent_s) <= 4
    assert (simulated.counts.repeats, simulated.counts.unanswered, simulated.unanswered) == (len(sent_s), 1, 0)


def test_only_an_authentic_answer_to_a_waiting_request_is_one():
    simulated = nas()
    simulated.boot(NOW_S)
    (request,) = simulated.step(NOW_S)
    right = accounting_response(request, SECRET)

    assert not simulated.receive_response(accounting_response(request, b"other"))
    assert not simulated.receive_response(right[:-1])
    assert not simulated.receive_response(b"")
    assert simulated.receive_response(right)
    assert not simulated.receive_response(right)
    assert (simulated.counts.answered, simulated.counts.refused) == (1, 4)


def test_at_most_256_records_wait_for_answers_and_the_others_wait_their_turn():
    simulated = nas()
    for number in range(IDENTIFIERS + 10):
        simulated.log_in(device_of("u", number, 0), NOW_S)
    first = simulated.step(NOW_S)

    assert len({datagram[1] for datagram in first}) == len(first) == IDENTIFIERS
    assert simulated.step(NOW_S) == []
    assert simulated.receive_response(accounting_response(first[3], SECRET))
    (next_,) = simulated.step(NOW_S)
    assert next_[1] == first[3][1]
    assert simulated.unanswered == IDENTIFIERS + 9


def test_a_full_queue_loses_the_oldest_and_counts_it():
    simulated = nas()
    for number in range(QUEUE_MAX + 5):
        simulated.boot(NOW_S + number)

    assert simulated.counts.lost == 5
    assert simulated.unanswered == QUEUE_MAX


def test_a_disconnect_is_answered_with_ack_and_the_stop_follows():
    simulated = nas()
    session = simulated.log_in(ALICE, NOW_S)
    answered(simulated, NOW_S)
    verdict, reply = disconnect(simulated, acct_session_id=session.session_id, user_name="alice", calling_station_id="02:00:00:00:01:01")

    assert verdict.session is session
    assert reply == Reply(acknowledged=True, error_cause=None, event_timestamp_s=int(NOW_S))
    (stop,) = answered(simulated, NOW_S)
    assert (stop.status, stop.fields["terminate_cause"]) == ("Stop", "Admin-Reset")
    assert simulated.sessions == {}
    assert simulated.counts.disconnects == {"Disconnect-ACK": 1}
    assert simulated.due_s == NEVER
    assert simulated.step(NOW_S + 60) == []


@pytest.mark.parametrize(
    ("answer", "error_cause", "goes_on"),
    [
        (Answer.ACK_NO_STOP, None, False),
        (Answer.ACK_STAYS, None, True),
        (Answer.NAK_503, 503, False),
        (Answer.NAK_404, 404, True),
    ],
)
def test_each_way_to_answer_a_disconnect(answer, error_cause, goes_on):
    simulated = nas(answer)
    session = simulated.log_in(ALICE, NOW_S)
    answered(simulated, NOW_S)
    _, reply = disconnect(simulated, acct_session_id=session.session_id)

    assert reply == Reply(acknowledged=error_cause is None, error_cause=error_cause, event_timestamp_s=int(NOW_S))
    assert [each.status for each in answered(simulated, NOW_S + 60)] == (["Interim-Update"] if goes_on else [])
    assert simulated.has(ALICE) == goes_on


def test_silence_is_no_answer_and_no_end():
    simulated = nas(Answer.SILENCE)
    session = simulated.log_in(ALICE, NOW_S)
    verdict, reply = disconnect(simulated, acct_session_id=session.session_id)

    assert (verdict.session, reply, verdict.said) == (session, None, "silence")
    assert session.session_id in simulated.sessions


def test_a_disconnect_that_comes_again_is_answered_again_and_done_once():
    """RFC 5080 section 2.2.2."""
    simulated = nas()
    session = simulated.log_in(ALICE, NOW_S)
    answered(simulated, NOW_S)
    first, _ = disconnect(simulated, acct_session_id=session.session_id)
    again, _ = disconnect(simulated, acct_session_id=session.session_id)

    assert (again.session, again.reply, again.said) == (None, first.reply, "repeated")
    assert [each.status for each in answered(simulated, NOW_S)] == ["Stop"]
    assert simulated.step(NOW_S) == []


@pytest.mark.parametrize(
    ("fields", "error_cause"),
    [
        ({"acct_session_id": "no-such-session"}, 503),
        ({}, 503),
        ({"nas_identifier": "campus"}, 503),
        ({"user_name": "bob"}, 503),
        ({"user_name": "alice"}, 508),
        ({"user_name": "alice", "calling_station_id": "0200.0000.0102"}, None),
        ({"user_name": "alice", "nas_identifier": "library"}, 403),
        ({"user_name": "alice", "nas_ip_address": "192.0.2.2"}, 403),
        ({"framed_ip_address": "10.0.1.1"}, None),
    ],
)
def test_a_disconnect_has_to_fit_one_session(fields, error_cause):
    simulated = nas()
    simulated.log_in(ALICE, NOW_S)
    simulated.log_in(device_of("alice", 1, 1), NOW_S)
    _, reply = disconnect(simulated, **fields)

    assert reply == Reply(acknowledged=error_cause is None, error_cause=error_cause, event_timestamp_s=int(NOW_S))
    assert len(simulated.sessions) == (1 if error_cause is None else 2)


def test_a_wrong_secret_or_nonsense_on_the_disconnect_port_is_met_with_silence():
    simulated = nas()
    session = simulated.log_in(ALICE, NOW_S)
    verdict, _ = disconnect(simulated, secret=b"wrong", acct_session_id=session.session_id)

    assert verdict == (None, None, "authenticator")
    assert simulated.receive_disconnect(b"\x28\x01", NOW_S) == (None, None, "malformed")
    assert session.session_id in simulated.sessions


def test_a_device_that_is_forgotten_is_heard_of_no_more():
    simulated = nas()
    session = simulated.log_in(ALICE, NOW_S, lasts_s=90)
    answered(simulated, NOW_S)
    simulated.forget(session)

    assert simulated.step(NOW_S + 1000) == []
    _, reply = disconnect(simulated, acct_session_id=session.session_id)
    assert reply.error_cause == 503


def test_a_reboot_ends_all_and_gives_no_session_id_twice():
    simulated = nas()
    before = simulated.log_in(ALICE, NOW_S)
    simulated.boot(NOW_S + 100)
    after = simulated.log_in(ALICE, NOW_S + 100)

    assert set(simulated.sessions) == {after.session_id}
    assert before.session_id != after.session_id


def test_a_network_ends_with_accounting_off_and_a_power_cut_in_silence():
    for is_power_cut, said in ((False, ["Accounting-Off"]), (True, [])):
        simulated = nas()
        network = Network([simulated], People(["a"], logins_per_s=100), random.Random(1))
        network.begin(NOW_S)
        answered(simulated, NOW_S)
        network.end(NOW_S + 1, is_power_cut=is_power_cut)

        assert [each.status for each in answered(simulated, NOW_S + 1)] == said
        assert network.due_s == NEVER


def test_a_device_is_online_once_in_the_whole_network():
    nases = [nas(name="a"), nas(name="b")]
    network = Network(nases, People(["x"], devices=1, logins_per_s=10), random.Random(1))
    network.begin(NOW_S)
    network.step(NOW_S + 60)

    assert sum(len(each.sessions) for each in nases) == 1
