"""What was seen of NASes: the fold of rows and results (behaviours 5.3 and 5.7)."""

from schemas.disconnect import Attempt, DisconnectResult
from schemas.session import Boot, NasRow, SessionRow
from streams.nas_seen import NasesSeen


def session(name, state="open", *, nas="campus", seen_ms=5):
    return SessionRow(nas, name, "bob", state, last_seen_ms=seen_ms)


def result(outcome, *, final=True, nas="campus", time_ms=1, answer=None, error_cause=None):
    attempt = Attempt(attributes=["Acct-Session-Id"], port=3799, identifier=1, sent_ms=[1], answer=answer, error_cause=error_cause)
    return DisconnectResult(
        command_id="c", time_ms=time_ms, nas=nas, identity="bob", acct_session_id="s", final=final, outcome=outcome, attempts=[attempt]
    )


def test_open_sessions_are_counted_as_rows_change_and_go():
    """A row that is written again is one session, one that ended or is gone is none."""
    seen = NasesSeen()
    for key, row in [(b"s:1", session("1")), (b"s:2", session("2", seen_ms=9)), (b"s:1", session("1")), (b"s:3", session("3"))]:
        seen.session((0, key), row)
    seen.session((1, b"s:1"), session("1"))  # the same key in another partition is another row
    assert seen.all()["campus"].open_sessions == 4
    seen.session((0, b"s:1"), session("1", "ended"))
    seen.session((0, b"s:2"), None)
    seen.session((0, b"s:9"), None)
    (campus,) = seen.all().values()
    assert (campus.open_sessions, campus.last_record_ms, campus.talks, campus.last_disconnect) == (2, 9, None, None)


def test_a_nas_talks_or_not_and_has_booted():
    """Its own row says so."""
    seen = NasesSeen()
    seen.nas(NasRow("campus", follows="i1", boot=Boot("Accounting-On", 77, believed=True)))
    seen.nas(NasRow("hut"))
    assert [(one.nas, one.talks, one.booted_ms, one.booted_by) for one in seen.all().values()] == [
        ("campus", True, 77, "Accounting-On"),
        ("hut", False, None, None),
    ]


def test_what_each_partition_learned_of_a_nas_stands_in_its_line():
    """2.11: also where the NAS's home partition has heard of no session of it."""
    seen = NasesSeen()
    seen.nas(NasRow("campus", follows="i1"))
    seen.learned(3, NasRow("campus", mute_sessions=3))
    seen.learned(1, NasRow("hut", interims=True))
    assert [(one.nas, list(one.habits)) for one in seen.all().values()] == [("campus", ["no-interims"]), ("hut", [])]
    seen.learned(0, NasRow("campus", interims=True))
    assert seen.all()["campus"].habits == {}


def test_the_last_final_outcome_stands_and_what_was_accepted_is_remembered():
    """5.3: what a NAS was seen to accept; 5.7: each outcome has a name."""
    seen = NasesSeen()
    seen.result(result("acknowledged", final=False, answer="Disconnect-ACK"))
    seen.result(result("confirmed", time_ms=2, answer="Disconnect-ACK"))
    seen.result(result("unanswered", time_ms=3))
    seen.result(result("acknowledged", final=False, time_ms=4, nas="hut"))
    campus, hut = (seen.all()[name] for name in ("campus", "hut"))
    assert campus.last_disconnect is not None
    assert (campus.last_disconnect.outcome, campus.last_disconnect.time_ms) == ("unanswered", 3)
    assert campus.outcomes == {"confirmed": 1, "unanswered": 1}
    assert campus.accepted is not None
    assert campus.accepted.attributes == ("Acct-Session-Id",)
    assert (hut.last_disconnect, hut.accepted, hut.outcomes) == (None, None, {})
