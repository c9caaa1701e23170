"""A partition's clock and the talking clocks of NASes, row to row (DESIGN "Time", behaviour 3.5)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Tick
from schemas.session import NasRow, PartitionRow
from streams import clock


def run(row: PartitionRow, *ticks: tuple[str, int], period_ms: int = 1000) -> PartitionRow:
    for ingest, mono_ms in ticks:
        row, _ = clock.advanced(row, Tick(ingest=ingest, wall_ms=mono_ms + 7, mono_ms=mono_ms, period_ms=period_ms))
    return row


def test_the_clock_is_the_sum_of_one_ingests_differences() -> None:
    """Its first tick only says where its clock stands."""
    row = run(PartitionRow(0), ("a", 500_000), ("a", 501_000), ("a", 502_500))
    assert (row.clock_ms, row.wall_ms, row.leader) == (2500, 502_507, "a")


def test_a_difference_counts_for_five_ticks_at_most() -> None:
    """3.5: an outage of anything ages nobody."""
    assert run(PartitionRow(0), ("a", 0), ("a", 3_600_000)).clock_ms == 5000
    assert run(PartitionRow(0), ("a", 0), ("a", 3_600_000), period_ms=100).clock_ms == 500


def test_a_clock_that_goes_back_counts_nothing() -> None:
    """A tick read twice, or out of order."""
    assert run(PartitionRow(0), ("a", 5000), ("a", 4000), ("a", 5000)).clock_ms == 1000


def test_a_second_ingest_is_not_added() -> None:
    """DESIGN "Time": one ingest's clock at a time."""
    row = run(PartitionRow(0), *[(ingest, 1000 * n) for n in range(60) for ingest in ("a", "b")])
    assert (row.clock_ms, row.leader, set(row.ingests)) == (59_000, "a", {"a", "b"})


def test_another_ingest_takes_over_when_the_leader_missed_ten_ticks() -> None:
    """DESIGN "Time": and what was not counted meanwhile is not made up for."""
    row = run(PartitionRow(0), ("b", 0), ("a", 0), ("b", 1000), ("a", 1000))
    assert row.leader == "b"
    row = run(row, *[("a", 1000 * n) for n in range(2, 11)])
    assert (row.leader, row.clock_ms) == ("b", 1000)
    row = run(row, ("a", 11_000), ("a", 12_000))
    assert (row.leader, row.clock_ms) == ("a", 3000)


def test_an_ingest_that_fell_silent_is_forgotten() -> None:
    """Limits on everything that grows: an ingest has a new id at each start."""
    row = run(PartitionRow(0), ("a", 0), ("b", 0), *[("a", 1000 * n) for n in range(1, 11)])
    assert set(row.ingests) == {"a", "b"}
    row, gone = clock.advanced(row, Tick(ingest="a", wall_ms=0, mono_ms=11_000))
    assert (gone, set(row.ingests)) == (["b"], {"a"})


def test_there_are_so_many_ingests_at_most_and_the_one_that_ticks_is_among_them() -> None:
    """Limits on everything that grows."""
    row = run(PartitionRow(0), *[(f"i{n}", 0) for n in range(clock.INGESTS_MAX + 40)])
    assert len(row.ingests) == clock.INGESTS_MAX
    assert {"i0", f"i{clock.INGESTS_MAX + 39}"} <= set(row.ingests)


TICKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2_000, 30_000)), max_size=40)


@given(steps=TICKS)
def test_the_clock_never_goes_back_nor_faster_than_the_cap(steps: list[tuple[str, int]]) -> None:
    """3.5: whatever the ingests' clocks say."""
    row, mono_ms = PartitionRow(0), dict.fromkeys("abc", 0)
    for ingest, step_ms in steps:
        mono_ms[ingest] += step_ms
        after, _ = clock.advanced(row, Tick(ingest=ingest, wall_ms=0, mono_ms=mono_ms[ingest]))
        assert row.clock_ms <= after.clock_ms <= row.clock_ms + clock.CAP_TICKS * 1000
        assert after.leader in after.ingests
        assert ingest in after.ingests
        row = after


# -- talking ----------------------------------------------------------------------------------------------------------------------------


def test_a_nas_s_clock_advances_up_to_the_last_packet_heard() -> None:
    """3.5."""
    nas = clock.began(NasRow("ap1"), "a", 10_000)
    assert (nas.clock_ms, nas.follows, nas.talks) == (0, "a", {"a": 10_000})
    nas = clock.heard(nas, "a", 15_000, 2_000)
    assert (nas.clock_ms, nas.talks) == (3000, {"a": 13_000})
    assert clock.heard(nas, "a", 15_500, 2_600) is nas
    assert clock.began(nas, "a", 99_000) is nas


def test_it_follows_one_ingest_at_a_time() -> None:
    """DESIGN "Time": heard through two, it does not age twice."""
    nas = clock.began(clock.began(NasRow("ap1"), "a", 0), "b", 0)
    nas = clock.heard(clock.heard(nas, "b", 5000, 0), "a", 5000, 0)
    assert (nas.clock_ms, nas.follows) == (5000, "a")
    nas = clock.ceased(nas, "a", 9000, 1000, {})
    assert (nas.clock_ms, nas.follows, nas.talks) == (8000, "b", {"b": 5000})
    assert clock.heard(nas, "b", 7000, 0).clock_ms == 10_000


def test_what_one_ingest_has_counted_the_one_that_measures_after_it_does_not_count_again() -> None:
    """3.5: the other one had heard the NAS last a minute ago; else its sessions would age by that minute twice."""
    row = run(PartitionRow(0), ("a", 0), ("b", 500_000))
    nas = clock.began(clock.began(NasRow("ap1"), "a", 0), "b", 0)
    row = run(row, *[tick for n in range(1, 61) for tick in (("a", 1000 * n), ("b", 500_000 + 1000 * n))])
    nas = clock.heard(nas, "a", row.ingests["a"].elapsed_ms, 0)
    assert (nas.clock_ms, nas.talks) == (60_000, {"a": 60_000, "b": 0})
    nas = clock.forgotten(nas, "a", row.ingests)
    row = run(row, ("b", 561_000))
    assert clock.heard(nas, "b", row.ingests["b"].elapsed_ms, 0).clock_ms == 61_000


def test_a_silence_is_not_counted_when_it_talks_again() -> None:
    """3.5."""
    nas = clock.heard(clock.began(NasRow("ap1"), "a", 0), "a", 5000, 0)
    nas = clock.ceased(nas, "a", 65_000, 60_000, {})
    assert (nas.clock_ms, nas.follows, nas.talks) == (5000, "", {})
    nas = clock.heard(nas, "a", 900_000, 0)
    assert (nas.clock_ms, nas.follows, nas.talks) == (5000, "a", {"a": 900_000})


def test_what_is_said_of_an_unknown_ingest_changes_nothing() -> None:
    """Agents ignore what they have seen."""
    nas = clock.began(NasRow("ap1"), "a", 0)
    assert clock.ceased(nas, "b", 9, 1, {}) is nas
    assert clock.forgotten(nas, "b", {}) is nas


@given(steps=st.lists(st.tuples(st.integers(0, 9_000), st.booleans()), min_size=1, max_size=30))
def test_a_session_heard_between_two_ticks_is_never_dated_before_the_clock(steps: list[tuple[int, bool]]) -> None:
    """3.5: an estimate too early would kick the living: when the packet is counted, the clock stands at or before it."""
    row, mono_ms = run(PartitionRow(0), ("a", 0)), 0
    nas = clock.began(NasRow("ap1"), "a", 0)
    for step_ms, told in steps:
        dated_ms = clock.heard_now_ms(nas, row)
        mono_ms += step_ms
        row = run(row, ("a", mono_ms))
        elapsed_ms = row.ingests["a"].elapsed_ms
        if told:
            silent_ms = max(0, step_ms - 1000)  # it was heard within a tick of the dating
            nas = clock.heard(nas, "a", elapsed_ms, silent_ms)
            assert nas.clock_ms <= dated_ms
    assert clock.heard_now_ms(None, row) == 2000


def test_a_session_heard_through_another_ingest_than_the_dead_one_is_dated_by_that() -> None:
    """3.5: what is added to the NAS's clock when the other one takes over, and lay before the session was heard, does not age it."""
    row = run(PartitionRow(0), *[(ingest, 1000 * n) for n in range(11) for ingest in ("leader", "a", "b")])
    nas = NasRow("nas", follows="a", talks={"a": 9000, "b": 2000})
    row = run(row, *[(ingest, 1000 * n) for n in range(11, 19) for ingest in ("leader", "b")])  # a is dead, and nobody follows b yet
    dated_ms = clock.heard_now_ms(nas, row)
    taken_over = clock.forgotten(nas, "a", row.ingests)
    assert taken_over.follows == "b"
    counted = clock.heard(taken_over, "b", row.ingests["b"].elapsed_ms, 0)
    assert counted.clock_ms == 9000
    assert counted.clock_ms <= dated_ms <= counted.clock_ms + 2000
