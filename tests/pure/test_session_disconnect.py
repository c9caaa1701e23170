"""Disconnects in the journal: results, proofs, orders of people, commands that came too late (behaviours 5.3, 5.4, 5.5, 5.7, 5.8)."""

import pytest

from schemas.disconnect import DisconnectCommand, Outcome
from schemas.policy import Liveness, Quota
from tests.support.journal import T0_MS, Journal, interim, on, operator, play, policy, quota_order, result, start, stop, tick, user_limit


def kicked(victim: str = "newest") -> tuple[Journal, DisconnectCommand]:
    """Bob may have one session; s2 came second, a disconnect was ordered, and what came out is taken."""
    journal = play(tick(0), policy(user_limit(1, victim=victim)), start("s1"), start("s2", at_s=1))
    assert journal.types() == ["session.started", "session.started", "limit.breached", "disconnect.requested"]
    command = journal.command()
    journal.nothing_else()
    return journal, command


@pytest.mark.parametrize(
    ("outcome", "event_type", "state"),
    [
        ("acknowledged", "disconnect.acknowledged", "acknowledged"),
        ("confirmed", "disconnect.confirmed", "confirmed"),
        ("refused", "disconnect.refused", "refused"),
        ("unanswered", "disconnect.unanswered", "unanswered"),
        ("unconfirmed", "disconnect.unconfirmed", "unconfirmed"),
        ("unknown-nas", "disconnect.refused", "refused"),
        ("no-secret", "disconnect.refused", "refused"),
        ("unsupported", "disconnect.refused", "refused"),
        ("superseded", "disconnect.refused", "refused"),
    ],
)
def test_each_outcome_is_an_event_and_a_state(outcome: Outcome, event_type: str, state: str) -> None:
    """5.7: a named result, never silence."""
    journal, command = kicked()
    journal.feed(result(command, outcome, detail="so it was", at_s=2))
    (event,) = journal.events()
    assert (event.type, event.command_id, event.cause, event.text) == (event_type, command.id, outcome, "so it was")
    assert event.time_ms == T0_MS + 2000
    assert journal.open_row("s2").kick_state == state
    journal.nothing_else()


def test_gone_closes_the_session() -> None:
    """5.3: 503 = gone, close it."""
    journal, command = kicked()
    journal.feed(result(command, "gone", error_cause=503, error_cause_name="Session-Context-Not-Found"))
    ended, confirmed = journal.events()
    assert (ended.type, ended.said_by, ended.cause) == ("session.ended", "kicked", "Session-Context-Not-Found")
    assert (confirmed.type, confirmed.cause) == ("disconnect.confirmed", "Session-Context-Not-Found")
    journal.nothing_else()


def test_a_session_that_was_gone_and_reports_again_is_reopened() -> None:
    """2.6, 2.7: our conclusion was wrong."""
    journal, command = kicked()
    journal.feed(result(command, "gone"), interim("s2", at_s=30, session_time_s=29))
    assert journal.types() == ["session.ended", "disconnect.confirmed", "session.reopened"]
    journal.nothing_else()


def test_the_stop_is_the_proof_and_ack_first_ends_the_session_once() -> None:
    """5.4: ACK, Stop, confirmed."""
    journal, command = kicked()
    journal.feed(result(command, "acknowledged"), stop("s2", at_s=3))
    assert journal.types() == ["disconnect.acknowledged", "session.ended"]
    (notice,) = journal.notices()
    assert (notice.command_id, notice.alive, notice.said_by) == (command.id, False, "nas-stop")
    journal.feed(result(command, "confirmed"))
    assert journal.types() == ["disconnect.confirmed"]
    journal.nothing_else()


def test_the_stop_may_come_before_the_ack() -> None:
    """5.4: both orders end the session once."""
    journal, command = kicked()
    journal.feed(stop("s2", at_s=3), result(command, "confirmed"))
    assert journal.types() == ["session.ended", "disconnect.confirmed"]
    assert [notice.alive for notice in journal.notices()] == [False]
    journal.feed(result(command, "acknowledged"))
    journal.nothing_else()


def test_a_reboot_proves_the_end_too() -> None:
    """2.4, 5.4."""
    journal, _ = kicked()
    journal.feed(on(at_s=9))
    assert journal.types() == ["session.ended", "session.ended", "nas.up"]
    assert [notice.said_by for notice in journal.notices()] == ["nas-reboot"]
    journal.nothing_else()


@pytest.mark.parametrize("outcome", ["confirmed", "refused", "unanswered", "unconfirmed", "gone"])
def test_a_result_delivered_again_changes_nothing(outcome: Outcome) -> None:
    """1.4: results come at least once, also an acknowledgement after the final one."""
    journal, command = kicked()
    journal.feed(result(command, "acknowledged"), result(command, "acknowledged"), result(command, outcome))
    journal.events()
    before = journal.state()
    journal.feed(result(command, outcome), result(command, "acknowledged"))
    assert journal.state() == before
    journal.nothing_else()


def test_a_result_of_a_session_that_is_not_in_the_table_is_passed_over() -> None:
    """It was of long ago."""
    journal, command = kicked()
    other = play(tick(0)).feed(result(command, "confirmed"))
    other.nothing_else()
    journal.nothing_else()


def test_a_result_of_an_earlier_command_is_passed_over() -> None:
    """5.5: one disconnect in flight; the one before has had its result."""
    journal, first = kicked()
    journal.feed(result(first, "refused"), operator("s2"))
    second = journal.command()
    journal.events()
    journal.feed(result(first, "unanswered"))
    assert journal.open_row("s2").kick_id == second.id != first.id
    journal.nothing_else()


# -- 5.4: alive ---------------------------------------------------------------------------------------------------------------------------


def test_an_interim_well_after_the_ack_tells_the_kicker_that_the_session_lives() -> None:
    """5.4: a promise was broken."""
    journal, command = kicked()
    journal.feed(result(command, "acknowledged")).pass_time(6)
    journal.feed(interim("s2", at_s=7))
    assert journal.types() == ["disconnect.acknowledged", "session.updated"]
    assert [(notice.command_id, notice.alive) for notice in journal.notices()] == [(command.id, True)]
    journal.nothing_else()


@pytest.mark.parametrize(
    ("passed_s", "record"),
    [
        (5, interim("s2", at_s=5)),  # it may have been sent before the session ended
        (30, interim("s2", at_s=0.5, input_octets=1)),  # older than what is known
        (300, interim("s2", at_s=200, late_s=100)),  # old news
    ],
)
def test_an_interim_that_may_have_been_on_its_way_proves_no_life(passed_s: int, record: tuple[str, bytes, bytes]) -> None:
    """5.4."""
    journal, command = kicked()
    journal.feed(result(command, "acknowledged")).pass_time(passed_s)
    journal.feed(record)  # type: ignore[arg-type]
    assert journal.types() == ["disconnect.acknowledged", "session.updated"]
    journal.nothing_else()


def test_before_the_ack_an_interim_proves_nothing() -> None:
    """5.4: nothing was promised yet."""
    journal, _ = kicked()
    journal.pass_time(30).feed(interim("s2", at_s=31))
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


def test_that_we_call_it_stale_is_no_proof_to_the_kicker() -> None:
    """2.7, 5.4: made-up ends are never mixed with a NAS's own word."""
    journal = play(tick(0), policy(Liveness(rule="interim", times=1)), start(interim_interval_s=10), operator())
    command = journal.command()
    journal.feed(result(command, "acknowledged")).pass_time(20, "ap1")
    assert journal.types()[-2:] == ["session.stale", "session.ended"]
    journal.nothing_else()
    journal.feed(stop(at_s=21))
    assert journal.types() == ["session.updated"]
    assert [notice.said_by for notice in journal.notices()] == ["nas-stop"]
    journal.nothing_else()


# -- expired: decided anew ----------------------------------------------------------------------------------------------------------------


def test_a_command_that_came_too_late_is_decided_anew_with_the_next_attempt() -> None:
    """DESIGN "The kicker": the limit is still breached."""
    journal, first = kicked()
    journal.feed(result(first, "expired", at_s=500))
    second = journal.command()
    assert (second.attempt, second.session["acct_session_id"], second.rule, second.reason) == (2, "s2", "max-1", "limit")
    assert second.id != first.id
    assert second.expires_ms == T0_MS + 590_000
    assert journal.types() == ["disconnect.requested"]
    journal.nothing_else()


@pytest.mark.parametrize("victim", ["newest", "oldest"])
def test_what_is_no_longer_over_the_limit_is_left_alone(victim: str) -> None:
    """DESIGN "The kicker": nobody is kicked for old news."""
    journal, first = kicked(victim)
    other = "s1" if victim == "newest" else "s2"
    journal.feed(stop(other, at_s=10))
    journal.events()
    journal.feed(result(first, "expired", at_s=500))
    (event,) = journal.events()
    assert (event.type, event.cause) == ("disconnect.refused", "expired")
    journal.nothing_else()


def test_a_rule_that_is_gone_decides_nothing_anew() -> None:
    """4.9: the policy in force decides."""
    journal, first = kicked()
    journal.feed(policy(version=2), result(first, "expired"))
    assert journal.types() == ["disconnect.refused"]
    journal.nothing_else()


def test_after_three_attempts_it_is_over() -> None:
    """Limits on every retry."""
    journal, command = kicked()
    for attempt in (2, 3):
        journal.feed(result(command, "expired"))
        command = journal.command()
        assert command.attempt == attempt
    journal.feed(result(command, "expired"))
    assert journal.types() == ["disconnect.requested", "disconnect.requested", "disconnect.refused"]
    journal.nothing_else()


def test_a_session_that_ended_meanwhile_needs_no_second_command() -> None:
    """DESIGN "The kicker"."""
    journal, first = kicked()
    journal.feed(stop("s2", at_s=10), result(first, "expired"))
    assert journal.types() == ["session.ended", "disconnect.refused"]
    assert [notice.alive for notice in journal.notices()] == [False]
    journal.nothing_else()


@pytest.mark.parametrize("reopened", [False, True])
def test_a_dead_session_is_kicked_anew_unless_it_was_heard_since(reopened: bool) -> None:
    """2.6, 3.7."""
    journal = play(tick(0), policy(Liveness(rule="interim", times=1)), start(interim_interval_s=10)).pass_time(20, "ap1")
    first = journal.command()
    if reopened:
        journal.feed(interim(at_s=21))
    journal.events()
    journal.feed(result(first, "expired"))
    assert journal.types() == ["disconnect.refused" if reopened else "disconnect.requested"]
    assert [command.attempt for command in journal.commands()] == ([] if reopened else [2])
    journal.nothing_else()


@pytest.mark.parametrize("meanwhile", ["nothing", "ended", "added to"])
def test_a_session_over_its_quota_is_kicked_anew_while_it_runs_and_nothing_was_added(meanwhile: str) -> None:
    """4.6, DESIGN "The kicker": what ended meanwhile, or may go on by now, is let be."""
    journal = play(tick(0), policy(Quota("daily", "user", "day", octets=1000)), start(), interim(at_s=60, input_octets=2000))
    first = journal.command()
    if meanwhile == "ended":
        journal.feed(stop(at_s=70, input_octets=2000))
    if meanwhile == "added to":
        journal.feed(quota_order("topup", "daily", amount=5000))
    journal.events()
    journal.notices()
    journal.feed(result(first, "expired"))
    is_right = meanwhile == "nothing"
    assert journal.types() == ["disconnect.requested" if is_right else "disconnect.refused"]
    assert [(command.attempt, command.reason) for command in journal.commands()] == ([(2, "quota")] if is_right else [])
    journal.nothing_else()


def test_a_dead_session_whose_stop_came_meanwhile_needs_no_second_command() -> None:
    """3.7, 2.7: the NAS's own word is that it has gone."""
    journal = play(tick(0), policy(Liveness(rule="interim", times=1)), start(interim_interval_s=10)).pass_time(20, "ap1")
    first = journal.command()
    journal.feed(stop(at_s=21))
    journal.events()
    journal.notices()
    journal.feed(result(first, "expired"))
    assert journal.types() == ["disconnect.refused"]
    journal.nothing_else()


# -- 5.8: orders of people ----------------------------------------------------------------------------------------------------------------


def test_an_operators_order_disconnects_and_says_who_and_why() -> None:
    """5.8."""
    journal = play(tick(0), start(), operator(who="ann", text="lost phone"))
    assert journal.types() == ["session.started", "disconnect.requested"]
    command = journal.command()
    assert (command.reason, command.who, command.text, command.rule) == ("operator", "ann", "lost phone", None)
    journal.nothing_else()


def test_the_same_order_twice_is_carried_out_once() -> None:
    """5.8: also after its result."""
    journal = play(tick(0), start(), operator())
    command = journal.command()
    journal.feed(operator(), result(command, "refused"), operator())
    assert journal.types() == ["session.started", "disconnect.requested", "disconnect.refused"]
    journal.nothing_else()


def test_an_order_read_too_late_is_refused_by_name() -> None:
    """5.8: a backlog kicks nobody."""
    journal = play(tick(100), start(), operator(order="o7", expires_s=60))
    (event,) = journal.events()[1:]
    assert (event.type, event.cause, event.text) == ("disconnect.refused", "expired", "order o7 by ann: expired")
    journal.nothing_else()


def test_an_order_about_no_open_session_is_refused_by_name_and_leaves_nothing_behind() -> None:
    """5.8."""
    journal = play(tick(0), operator("nope", "nobody", who=""))
    (event,) = journal.events()
    assert (event.type, event.cause, event.text) == ("disconnect.refused", "no open session", "order o1 by unknown: no open session")
    assert (journal.row("nope"), journal.identity_row("nobody")) == (None, None)
    journal.nothing_else()


def test_an_order_about_a_session_that_ended_leaves_its_row_as_it_was_told() -> None:
    """5.8: and its identity's sequence goes on."""
    journal = play(tick(0), start(), stop(at_s=5), operator())
    assert [(event.type, event.seq) for event in journal.events()] == [
        ("session.started", 1),
        ("session.ended", 2),
        ("disconnect.refused", 3),
    ]
    assert journal.ended_row().said_by == "nas-stop"
    journal.nothing_else()


def test_an_order_while_a_disconnect_is_under_way_says_so() -> None:
    """5.5, 5.8: at most one in flight, and no silence."""
    journal, _ = kicked()
    journal.feed(operator("s2"), operator("s2"))
    (event,) = journal.events()
    assert (event.type, event.cause) == ("disconnect.refused", "a disconnect is under way")
    journal.nothing_else()


def test_a_person_expired_command_is_not_decided_anew() -> None:
    """5.8: people decide again themselves."""
    journal = play(tick(0), start(), operator())
    journal.feed(result(journal.command(), "expired"))
    assert journal.types() == ["session.started", "disconnect.requested", "disconnect.refused"]
    journal.nothing_else()


def test_self_service_has_its_own_reason() -> None:
    """5.9 comes through the same door."""
    journal = play(tick(0), start(), operator(reason="self-service"))
    assert journal.command().reason == "self-service"
    assert journal.types() == ["session.started", "disconnect.requested"]
    journal.nothing_else()


def test_a_logout_ends_the_session_at_once_and_disconnects_nobody() -> None:
    """2.7, 5.6: the NAS's portal says that the user has logged out; told twice it ends once."""
    journal = play(tick(0), start(), operator(op="logout", at_s=5), operator(op="logout", at_s=5))
    started, ended = journal.events()
    assert (started.type, ended.type, ended.said_by, ended.cause) == ("session.started", "session.ended", "user-logout", "User-Request")
    journal.feed(operator(op="logout", order="o2", at_s=6), stop(at_s=7))
    (corrected,) = journal.events()
    assert (corrected.type, corrected.said_by) == ("session.updated", "nas-stop")
    journal.nothing_else()


def test_a_logout_while_a_disconnect_is_under_way_is_what_the_kicker_waits_for() -> None:
    """5.4, 5.6: the session is gone, and the kicker is told."""
    journal, _ = kicked()
    journal.feed(operator("s2", op="logout", at_s=5))
    assert journal.types() == ["session.ended"]
    (notice,) = journal.notices()
    assert (notice.alive, notice.said_by) == (False, "user-logout")
    journal.nothing_else()


def test_a_logout_of_nobody_is_no_news() -> None:
    """5.6: whoever is gone already is not refused anything."""
    play(tick(0), operator("nope", "nobody", op="logout")).nothing_else()
