"""Ticks tell which NASes talk."""

from schemas.journal import Tick
from streams.talking import FULL_EVERY_TICKS, Talking


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
    assert made.tick(1000, 6000).began == [("campus", 60_000)]
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
    assert (again.began, again.ceased) == ([("campus", 60_000)], [])


def test_a_configured_interval_gives_the_window_with_a_tenth_and_at_least_five_seconds():
    made = talking()
    made.configure({"slow": 600, "quick": 1})
    for nas in ("slow", "quick", "unknown"):
        made.heard(nas, 0)
    tick = made.tick(1000, 0)
    assert tick.full
    assert tick.began == [("quick", 5000), ("slow", 660_000), ("unknown", 60_000)]
    assert [nas for nas, _ in made.tick(5001, 0).ceased] == ["quick"]


def test_every_thirtieth_tick_is_full_and_names_all_that_talk():
    made = talking()
    made.heard("b", 0)
    made.heard("a", 0)
    ticks = [made.tick(1000 * n, 0) for n in range(1, FULL_EVERY_TICKS + 1)]
    assert [tick.full for tick in ticks] == [False] * (FULL_EVERY_TICKS - 1) + [True]
    assert ticks[0].began == ticks[-1].began == [("a", 60_000), ("b", 60_000)]
    assert not any(tick.began for tick in ticks[1:-1])


def test_after_a_lost_tick_the_next_is_full():
    made = talking()
    made.heard("campus", 0)
    made.tick(1000, 0)
    made.repeat()
    after = made.tick(2000, 0)
    assert (after.full, after.began) == (True, [("campus", 60_000)])
    assert not made.tick(3000, 0).full


def test_a_bare_tick_tells_the_time_and_changes_nothing():
    made = talking()
    made.heard("campus", 10)
    assert made.bare_tick(20, 30) == Tick(ingest="i-1", wall_ms=30, mono_ms=20, period_ms=1000)
    assert made.tick(1000, 0).began == [("campus", 60_000)]
