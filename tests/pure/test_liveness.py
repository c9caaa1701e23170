"""Rules, deadlines and observed intervals, apart from the journal (behaviour 3.3)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import Liveness, Policy
from schemas.session import SessionRow
from streams.liveness import deadline_ms, observed_interval_s, rule_for

THREE = Liveness(rule="interim", times=3)


def session(**fields: object) -> SessionRow:
    return SessionRow("ap1", "s1", "bob", "open", **fields)  # type: ignore[arg-type]


def test_the_first_rule_whose_pattern_matches_holds() -> None:
    """3.3: also where it is one that this version does not enforce."""
    rules = (Liveness(rule="none", nas="ap-*"), Liveness(rule="handshake", nas="bras?", period_s=9), THREE)
    policy = Policy(liveness=rules)
    assert [rule_for(policy, nas) for nas in ("ap-1", "bras1", "bras10", "AP-1")] == [None, None, THREE, THREE]
    assert rule_for(Policy(), "ap-1") is None


def test_the_configured_interval_goes_before_the_observed_one() -> None:
    """3.3."""
    assert deadline_ms(THREE, session(heard_ms=5000, interim_interval_s=10, observed_s=60)) == 35_000
    assert deadline_ms(THREE, session(heard_ms=5000, observed_s=60)) == 185_000


def test_without_interval_rule_or_life_there_is_no_deadline() -> None:
    """3.3: never stale, and shown as unwatched."""
    assert deadline_ms(THREE, session()) is None
    assert deadline_ms(None, session(interim_interval_s=10)) is None
    assert deadline_ms(THREE, SessionRow("ap1", "s1", "bob", "ended", interim_interval_s=10)) is None


def test_the_longest_gap_counts_and_fades() -> None:
    """3.3: a lost Interim doubles one gap; a NAS that was told another interval is followed within some of them."""
    row = session(session_time_s=0)
    seen = []
    for session_time_s in (60, 180, 240, 300, 360, 420):
        row.observed_s = observed_interval_s(row, 0, 0, session_time_s)
        row.session_time_s = session_time_s
        seen.append(row.observed_s)
    assert seen == [60, 120, 90, 68, 60, 60]


def test_the_first_interim_measures_from_the_start_whatever_the_talking_clock_did_meanwhile() -> None:
    """3.3: the NAS was silent, or Kafka away, for most of the time since the Start."""
    assert observed_interval_s(session(heard_ms=1000, start_seen=True), 4000, 0, 300) == 300
    assert observed_interval_s(session(heard_ms=1000), 4000, 0, 300) == 3


def test_without_session_time_the_talking_clock_measures() -> None:
    """3.3."""
    assert observed_interval_s(session(heard_ms=1000), 31_999, 0, None) == 30
    assert observed_interval_s(session(heard_ms=1000, session_time_s=5), 31_999, 0, None) == 30


def test_a_talking_clock_that_stood_still_shortens_no_interval() -> None:
    """3.5: an ingest was away between two Interims that carry no Acct-Session-Time."""
    assert observed_interval_s(session(heard_ms=1000, event_ms=50_000), 2_000, 110_000, None) == 60


@given(known=st.one_of(st.none(), st.integers(1, 9999)), before=st.integers(0, 9999), now=st.integers(0, 9999))
def test_what_is_observed_is_never_shorter_than_the_last_gap(known: int | None, before: int, now: int) -> None:
    """3.3: too short an interval would kick the living; a gap of nothing says nothing."""
    seen = observed_interval_s(session(observed_s=known, session_time_s=before), 0, 0, now)
    if now - before < 1:
        assert seen == known
    else:
        assert seen is not None
        assert now - before <= seen <= max(now - before, known or 0)
