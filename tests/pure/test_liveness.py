"""Rules, deadlines and observed intervals, apart from the journal (behaviour 3.3)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import Liveness, Policy
from schemas.session import SessionRow
from streams.liveness import deadline_ms, observed_interval_s, rule_for, takes_sightings

THREE = Liveness(rule="interim", times=3)
HANDSHAKE = Liveness(rule="handshake", nas="bras?", period_s=20)
OFFLINE = Liveness(rule="offline-detect", length_s=300)


def session(**fields: object) -> SessionRow:
    return SessionRow("ap1", "s1", "bob", "open", **fields)  # type: ignore[arg-type]


def test_the_first_rule_whose_pattern_matches_holds() -> None:
    """3.3: also where it says that nobody is ever dead."""
    off = Liveness(rule="offline-detect", nas="hotel", length_s=0)
    rules = (Liveness(rule="none", nas="ap-*"), HANDSHAKE, off, THREE)
    policy = Policy(liveness=rules)
    assert [rule_for(policy, nas) for nas in ("ap-1", "bras1", "hotel", "bras10", "AP-1")] == [None, HANDSHAKE, None, THREE, THREE]
    assert rule_for(Policy(), "ap-1") is None


def deadlines(rule: Liveness, **fields: object) -> list[int | None]:
    """When it is missed, again and again, and in the end dead."""
    return [deadline_ms(rule, session(probes=probes, **fields)) for probes in range(rule.times)]


def test_the_configured_interval_goes_before_the_observed_one() -> None:
    """3.3: missed a tenth of the interval after each Interim that did not come; dead on time."""
    assert deadlines(THREE, heard_ms=5000, interim_interval_s=10, observed_s=60) == [16_000, 26_000, 35_000]
    assert deadlines(THREE, heard_ms=5000, observed_s=60) == [71_000, 131_000, 185_000]


def test_a_handshake_is_missed_after_each_period_and_the_session_dead_after_the_last() -> None:
    """3.1: N-1 probes, dead at N*T after the last sign of life of the client; that the NAS spoke of it since is none."""
    assert deadlines(HANDSHAKE, alive_ms=5000, heard_ms=24_000) == [25_000, 45_000, 65_000]
    assert deadlines(Liveness(rule="handshake", period_s=20, times=1), alive_ms=5000) == [25_000]


def test_an_offline_detect_length_is_three_periods_anchored_at_the_last_sign_of_life() -> None:
    """3.2: L = 300 s: 100, 200, 300."""
    assert deadlines(OFFLINE, alive_ms=0, heard_ms=90_000) == [100_000, 200_000, 300_000]


def test_a_rule_with_fewer_times_finds_a_session_that_was_missed_more_often_dead() -> None:
    """4.9: the policy changed under way."""
    assert deadline_ms(Liveness(rule="handshake", period_s=20, times=2), session(probes=5)) == 40_000


def test_a_sighting_counts_under_every_rule() -> None:
    """3.3, 3.4."""
    assert deadline_ms(THREE, session(heard_ms=5000, alive_ms=9000, interim_interval_s=10)) == 20_000


def test_sightings_are_looked_for_where_a_rule_takes_them() -> None:
    """3.4: elsewhere they cost nothing."""
    asked = Liveness(rule="interim", probe="arp")
    assert [takes_sightings(rule) for rule in (None, THREE, asked, HANDSHAKE, OFFLINE)] == [False, False, True, True, True]


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
