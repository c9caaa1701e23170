"""Keys come up in the order of their true times, whatever slot they waited in (DESIGN "The table": deadlines in an index)."""

from hypothesis import given
from hypothesis import strategies as st

from streams.timers import Timers

NAMES = [f"s{number}" for number in range(6)]
MOVES = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 400), st.integers(0, 60)), max_size=60)


@given(moves=MOVES, slot_ms=st.sampled_from([1, 7, 100, 1_000]))
def test_keys_come_up_when_their_true_time_is_reached_and_in_its_order(moves: list[tuple[str, int, int]], slot_ms: int) -> None:
    """3.4: a session's time is put off again and again, or ends, without its entry; it comes up at its true time, never before."""
    timers, true_ms, now_ms = Timers(slot_ms), dict[str, int](), 0
    for name, ahead_ms, passes_ms in moves:
        at_ms = now_ms + ahead_ms
        if ahead_ms == 0:
            true_ms.pop(name, None)
        elif at_ms < true_ms.get(name, at_ms + 1):
            timers.add(at_ms, name)  # sooner than it was, or new
            true_ms[name] = at_ms
        else:
            true_ms[name] = at_ms
        now_ms += passes_ms
        due = sorted((at, key) for key, at in true_ms.items() if at <= now_ms)
        taken = []
        while (key := timers.take(now_ms, true_ms.get)) is not None:
            taken.append((true_ms.pop(key), key))
        assert taken == due
    while timers.take(10_000, true_ms.get) is not None:
        pass
    assert len(timers) == 0


def test_a_key_without_a_time_goes_with_its_entry() -> None:
    """3.4: a session that is over costs nothing when its deadline would have come."""
    timers = Timers(1_000)
    for at_ms, key in ((5_500, "gone"), (5_600, "here"), (5_600, "here"), (9_000_000, "later")):
        timers.add(at_ms, key)
    assert len(timers) == 4
    times = {"here": 5_600, "later": 9_000_000}
    assert timers.take(5_599, times.get) is None
    assert timers.take(5_600, times.get) == "here"
    assert timers.take(5_600, times.get) is None
    assert len(timers) == 1
