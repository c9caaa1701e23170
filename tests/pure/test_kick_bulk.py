"""A bulk of disconnects in virtual time (behaviour 5.5), through the kicker's own dispatcher and bookkeeping; see `bench.bulk`."""

from collections import Counter

import pytest

from bench.bulk import PARTITIONS, Story, bulk, tell
from streams import dispatcher, open_commands
from streams.partitioner import partition_of


def ended(told, names):
    return [(outcome, ms) for nas, outcome, ms in told.ends.values() if nas in names]


def check_a_bulk(story):
    told = tell(story)
    living = ended(told, set(story.nases) - story.dead)
    dead = ended(told, story.dead)
    assert len(living) + len(dead) == story.kicks == len(told.ends)
    assert {outcome for outcome, _ in living} == {"confirmed"}
    assert {outcome for outcome, _ in dead} == {"unanswered"}
    read_ms = 1000 * 2.2 * story.kicks / story.reads_s  # commands, and the notices of their ends behind them
    assert max(ms for _, ms in living) < read_ms + 5_000
    assert max(ms for _, ms in dead) <= 90_000 + read_ms
    assert told.peaks["open in one partition"] <= open_commands.BUSY_MAX + 100
    assert told.peaks["waiting for one NAS"] <= 256 * story.ports
    assert told.peaks["timers"] <= 2 * told.peaks["open commands"] + 2 * len(story.nases) + dispatcher.STALE_TIMERS_MAX
    assert told.peaks["silent NASes"] == len(story.dead)


def test_a_bulk_is_done_at_the_living_nases_speed_and_ends_as_unanswered_at_the_dead_ones_in_their_time():
    """5.5: one of ten NASes is dead, and holds up nobody; queues are bounded."""
    check_a_bulk(bulk(2_000, 50))


@pytest.mark.slow
def test_a_hundred_thousand_sessions_over_five_hundred_nases_with_one_of_ten_dead():
    """5.5: the same, at the size of a town."""
    check_a_bulk(bulk(100_000, 500))


def in_one_partition(prefix, number):
    names = (f"{prefix}-{n}" for n in range(PARTITIONS * 20 * number))
    return [name for name in names if partition_of(name, PARTITIONS) == 0][:number]


def test_a_partition_full_of_commands_for_dead_nases_does_not_keep_the_living_ones_behind_them_waiting(monkeypatch):
    """5.5: after RFC 5080's 30 s the dead ones are known, their queues are cut, and reading goes on."""
    monkeypatch.setattr(open_commands, "BUSY_MAX", 2_000)
    monkeypatch.setattr(dispatcher, "SILENT_WAITING_ALL", 1_000)
    dead, living = in_one_partition("dead", 20), in_one_partition("alive", 5)
    told = tell(Story([*dead * 150, *living * 20], frozenset(dead), 3_100, reads_s=80_000))
    assert {outcome for outcome, _ in ended(told, set(living))} == {"confirmed"}
    assert max(ms for _, ms in ended(told, set(living))) < 40_000
    assert Counter(outcome for outcome, _ in ended(told, set(dead))) == {"unanswered": 3_000}
    assert told.peaks["open in one partition"] <= 2_000 + 100


def test_a_nas_with_more_kicks_than_its_identifiers_allow_ends_the_rest_at_once_and_the_others_go_on():
    """5.5: RFC 5176 section 6.3: 256 in 300 s for each source port; `expired`, so that a limit decides anew."""
    names = in_one_partition("nas", 2)
    told = tell(Story([names[0]] * 3_000 + [names[1]] * 100, frozenset(), 3_100, ports=2, reads_s=80_000))
    many = Counter(outcome for outcome, _ in ended(told, {names[0]}))
    assert many == {"confirmed": 512, "expired": 3_000 - 512}
    assert [outcome for outcome, _ in ended(told, {names[1]})] == ["confirmed"] * 100
    assert max(ms for _, ms in ended(told, {names[1]})) < 5_000
