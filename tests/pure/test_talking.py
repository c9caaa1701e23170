"""Ticks tell which NASes talk."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Tick
from streams.talking import FULL_EVERY_TICKS, GAPS_MAX, INTERVAL_MS_MAX, Interim, Pace, Talking


def talking() -> Talking:
    """One that has told its first, full tick."""
    made = Talking("i-1", period_ms=1000, window_ms=60_000)
    assert made.tick(0, 5000) == Tick(ingest="i-1", wall_ms=5000, mono_ms=0, period_ms=1000, full=True)
    return made


def test_a_nas_begins_to_talk_once_and_then_is_not_named_again():
    """3.5: a tick carries changes only."""
    made = talking()
    made.heard("campus", 100)
    made.heard("campus", 200)
    assert made.tick(1000, 6000).began == [("campus", 0)]
    made.heard("campus", 1100)
    second = made.tick(2000, 7000)
    assert (second.full, second.began, second.ceased) == (False, [], [])


def test_a_nas_ceases_with_how_long_it_was_silent_and_may_begin_again():
    """3.5: a silence counts only while the NAS was talking, so the journal is told since when it was not."""
    made = talking()
    made.heard("campus", 500)
    made.tick(1000, 0)
    assert made.tick(60_500, 0).ceased == []
    assert made.tick(60_501, 0).ceased == [("campus", 60_001)]
    assert made.tick(61_000, 0).ceased == []
    made.heard("campus", 61_500)
    again = made.tick(62_000, 0)
    assert (again.began, again.ceased) == ([("campus", 0)], [])


def test_a_configured_interval_gives_the_window_with_a_tenth_and_at_least_five_seconds():
    made = talking()
    made.configure({"slow": 600, "quick": 1})
    for nas in ("slow", "quick", "unknown"):
        made.heard(nas, 0)
    tick = made.tick(1000, 0)
    assert tick.full
    assert tick.began == [("quick", 5000), ("slow", 660_000), ("unknown", 0)]
    assert [nas for nas, _ in made.tick(5001, 0).ceased] == ["quick"]


def test_every_thirtieth_tick_is_full_and_names_all_that_talk():
    made = talking()
    made.heard("b", 0)
    made.heard("a", 0)
    ticks = [made.tick(1000 * n, 0) for n in range(1, FULL_EVERY_TICKS + 1)]
    assert [tick.full for tick in ticks] == [False] * (FULL_EVERY_TICKS - 1) + [True]
    assert ticks[0].began == ticks[-1].began == [("a", 0), ("b", 0)]
    assert not any(tick.began for tick in ticks[1:-1])


def test_after_a_lost_tick_the_next_is_full():
    made = talking()
    made.heard("campus", 0)
    made.tick(1000, 0)
    made.repeat()
    after = made.tick(2000, 0)
    assert (after.full, after.began) == (True, [("campus", 0)])
    assert not made.tick(3000, 0).full


def test_a_bare_tick_tells_the_time_and_changes_nothing():
    made = talking()
    made.heard("campus", 10)
    assert made.bare_tick(20, 30) == Tick(ingest="i-1", wall_ms=30, mono_ms=20, period_ms=1000)
    assert made.tick(1000, 0).began == [("campus", 0)]


def reported(made: Talking, every_s: int, times: int, *, from_s: int = 0) -> None:
    """A session reports each so many seconds, with its Acct-Session-Time."""
    for n in range(times):
        made.heard("sparse", (from_s + n * every_s) * 1000, Interim("s1", n * every_s))


def test_the_window_of_a_nas_is_learned_from_the_interims_of_its_sessions():
    """3.5: a NAS with one session that reports each ten minutes has not ceased between two of them."""
    made = talking()
    reported(made, 600, 3)
    assert made.tick(1_201_000, 0).began == [("sparse", 660_000)]
    assert made.tick(1_800_000, 0).ceased == []
    assert made.tick(1_860_001, 0).ceased == [("sparse", 660_001)]


def test_before_it_is_learned_the_window_is_the_ingests_own_and_is_told_as_not_known():
    """3.5"""
    made = talking()
    reported(made, 600, 2)
    assert made.tick(601_000, 0).began == [("sparse", 0)], "one gap may be a multiple of the interval"
    assert made.tick(660_001, 0).ceased == [("sparse", 60_001)]


def test_a_configured_interval_goes_before_a_learned_one():
    made = talking()
    made.configure({"sparse": 100})
    reported(made, 600, 3)
    assert made.tick(1_201_000, 0).began == [("sparse", 110_000)]


def test_an_outage_is_not_taken_for_the_pace_of_a_nas():
    """3.5: its own Acct-Session-Time says how long an Interim was lost; without that the shortest of the last gaps counts."""
    pace = Pace()
    pace.heard(Interim("s1", 60), 60_000)
    pace.heard(Interim("s1", 120), 7_000_000)
    pace.heard(Interim("s1", 180), 7_060_000)
    assert pace.interval_ms == 60_000
    without = Pace()
    for at_s in (60, 120, 3600, 3660):
        without.heard(Interim("s1", None), at_s * 1000)
    assert without.interval_ms == 60_000


def test_another_pace_is_learned_within_some_interims():
    """A NAS was told another interval: the old one is forgotten."""
    pace = Pace()
    times_s = [60, 120, 180, 240, *(240 + 600 * n for n in range(1, GAPS_MAX + 1))]
    for time_s in times_s:
        pace.heard(Interim("s1", time_s), time_s * 1000)
    assert pace.interval_ms == 600_000


def test_a_sample_whose_session_is_over_makes_room_for_another():
    """Limits on everything that grows: some sessions are enough."""
    pace = Pace()
    for number in range(9):
        pace.heard(Interim(f"gone-{number}", None), 1000 * number)
    assert pace.interval_ms is None
    for at_s in (7200, 7500, 7800):
        pace.heard(Interim("s1", None), at_s * 1000)
    assert pace.interval_ms == 300_000


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 10**6)), st.integers(0, 10**6)), max_size=60))
def test_a_learned_interval_is_bounded(told):
    """3.5: whatever a NAS says."""
    pace, at_ms = Pace(), 0
    for session, time_s, later_ms in told:
        at_ms += later_ms
        pace.heard(Interim(session, time_s), at_ms)
    assert pace.interval_ms is None or 1000 <= pace.interval_ms <= INTERVAL_MS_MAX
