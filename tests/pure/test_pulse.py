"""A process that stood still ends before it writes anything more (behaviour 5.4: one final outcome)."""

from agents.pulse import STOOD_STILL, Pulse


def test_who_looks_often_enough_goes_on_and_who_stood_still_ends_at_the_first_look():
    """5.4: whatever it does first after that, a beat or a write."""
    now_s, ended = 100.0, []
    pulse = Pulse(7, clock=lambda: now_s, end=ended.append)
    for seconds in (0, 0.5, 7.0):
        now_s += seconds
        pulse.look()
    assert ended == []
    now_s += 7.1
    pulse.look()
    assert ended == [STOOD_STILL]
