"""What a NAS was seen to accept, from its results (behaviour 5.3)."""

import pytest

from schemas.disconnect import Attempt, DisconnectResult
from streams import learned as learning
from streams.learned import Accepted, Learned, learn, preferred
from streams.profiles import Request, SentAttribute

SESSION, NAME = SentAttribute("Acct-Session-Id", 44, b"A"), SentAttribute("User-Name", 1, b"bob")
BOTH, ALONE = ("Acct-Session-Id", "User-Name"), ("Acct-Session-Id",)


def attempt(answer, *names, error_cause=None, request="Disconnect-Request"):
    return Attempt(attributes=list(names), port=3799, identifier=0, sent_ms=[1], answer=answer, error_cause=error_cause, request=request)


def result(outcome, *attempts, nas="campus", time_ms=1):
    return DisconnectResult(
        command_id="1",
        time_ms=time_ms,
        nas=nas,
        identity="bob",
        acct_session_id="A",
        final=outcome != "acknowledged",
        outcome=outcome,
        attempts=list(attempts),
    )


NAK = attempt("Disconnect-NAK", *BOTH, error_cause=401)
ACK = attempt("Disconnect-ACK", *ALONE)


def test_the_last_yes_is_what_works_with_the_last_answer_and_the_counts():
    """5.3: as `curfew nas list` shows it."""
    known = learn(
        [
            result("acknowledged", NAK, ACK),
            result("confirmed", NAK, ACK),
            result("gone", attempt("Disconnect-NAK", *ALONE, error_cause=503), time_ms=9),
        ]
    )
    campus = known.by_nas["campus"]
    assert campus.accepted == Accepted("Disconnect-Request", ALONE)
    assert (campus.last_answer, campus.last_error_cause, campus.last_ms) == ("Disconnect-NAK", 503, 9)
    assert campus.outcomes == {"confirmed": 1, "gone": 1}
    assert known.counts == {Accepted("Disconnect-Request", ALONE): 1}


@pytest.mark.parametrize(
    "ended", [result("refused", NAK), result("unanswered", attempt(None, *BOTH)), result("confirmed", attempt(None, *BOTH))]
)
def test_a_no_and_silence_teach_nothing_that_works(ended):
    """5.3: nor does a Stop that came before any answer."""
    known = learn([ended])
    assert known.accepted("campus") is None
    assert known.counts == {}


def test_a_yes_that_the_session_outlived_is_forgotten():
    """5.3 and 5.4: the NAS matched something else, or nothing."""
    known = learn([result("acknowledged", ACK), result("unconfirmed", ACK)])
    assert known.accepted("campus") is None
    assert known.counts == {}


def test_a_later_yes_to_another_request_stays_when_an_older_one_turns_out_wrong():
    """5.3."""
    other = attempt("Disconnect-ACK", *BOTH)
    known = learn([result("acknowledged", ACK), result("acknowledged", other), result("unconfirmed", ACK)])
    assert known.accepted("campus") == Accepted("Disconnect-Request", BOTH)


def test_the_yes_to_a_change_of_authorisation_says_nothing_about_disconnects():
    """5.3 and 4.6; a session ended by a CoA-Request is acknowledged first, and does."""
    change = attempt("CoA-ACK", "Acct-Session-Id", "Filter-Id", request="CoA-Request")
    assert learn([result("acknowledged", ACK), result("confirmed", change)]).accepted("campus") == Accepted("Disconnect-Request", ALONE)
    assert learn([result("acknowledged", change)]).accepted("campus") == Accepted("CoA-Request", ("Acct-Session-Id", "Filter-Id"))


def test_a_name_that_is_nobody_s_is_not_kept():
    """5.7: any name can stand in a command."""
    assert learn([result("unknown-nas", nas="nobody")]).by_nas == {}


def test_the_nas_without_a_result_for_longest_is_forgotten_first(monkeypatch):
    """5.3: bounded."""
    monkeypatch.setattr(learning, "NASES_MAX", 2)
    known = Learned()
    for nas in ("a", "b", "a", "c"):
        known.observe(result("acknowledged", ACK, nas=nas))
    assert list(known.by_nas) == ["a", "c"]
    assert known.counts == {Accepted("Disconnect-Request", ALONE): 2}


def test_what_was_accepted_is_tried_first_and_then_the_others_in_their_order():
    """5.3."""
    requests = (Request((SESSION, NAME)), Request((NAME,)), Request((SESSION,)))
    assert preferred(requests, (), Accepted("Disconnect-Request", ALONE)) == (requests[2], *requests[:2])
    assert preferred(requests[:2], (Request((SESSION,)),), Accepted("Disconnect-Request", ALONE)) == (requests[2], *requests[:2])


@pytest.mark.parametrize("accepted", [None, Accepted("CoA-Request", ALONE), Accepted("Disconnect-Request", ("NAS-Port",))])
def test_what_no_request_says_changes_nothing(accepted):
    """5.3: another profile since, or a session with other attributes."""
    requests = (Request((SESSION, NAME)), Request((SESSION,)))
    assert preferred(requests, (), accepted) == requests
