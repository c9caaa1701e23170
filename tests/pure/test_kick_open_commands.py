"""What is remembered of a partition of commands: offsets, marks, finished and early ones (behaviours 5.4, 5.7; DESIGN "The kicker")."""

import pytest

from schemas.disconnect import DisconnectResult, SessionNotice
from streams import open_commands
from streams.open_commands import CommitPoint, OpenCommands, read_from


def result(command_id, outcome="confirmed"):
    return DisconnectResult(
        command_id=command_id,
        time_ms=1,
        nas="campus",
        identity="bob",
        acct_session_id="S",
        final=outcome != "acknowledged",
        outcome=outcome,
    )


def notice(command_id):
    return SessionNotice(command_id=command_id, nas="campus", identity="bob", acct_session_id="S", time_ms=1)


def read(part, offset, command_id):
    part.hold(offset)
    return part.take(offset, command_id)


def test_the_commit_point_is_the_oldest_command_without_a_final_result():
    part = OpenCommands(0, 10)
    for offset, command_id in ((10, "a"), (11, "b"), (12, "c")):
        assert read(part, offset, command_id)
    part.take_result(result("b"), 0)
    assert part.commit_point.offset == 10
    part.take_result(result("a", "acknowledged"), 1)
    assert part.commit_point.offset == 10
    part.take_result(result("a"), 2)
    assert part.commit_point.offset == 12
    part.take_result(result("c"), 3)
    assert part.commit_point == CommitPoint(13, 4)


def test_a_command_that_was_finished_while_results_were_read_back_is_not_begun_again():
    """5.4: a rebalance gave the partition to the same process again; its last result stood behind the end that was read to."""
    before, fresh = OpenCommands(0, 10), OpenCommands(0, 10, commands_end=11, results_end=5)
    read(before, 10, "a")
    before.take_result(result("a", "unanswered"), 5)
    fresh.learn(before)
    assert not read(fresh, 10, "a")
    assert (fresh.open_count, fresh.results_end, fresh.commit_point.offset) == (0, 6, 11)
    assert fresh.doubtful("a") is None


def test_the_mark_is_the_end_of_the_results_when_the_oldest_open_one_was_read():
    part = OpenCommands(0, 0, results_end=100)
    read(part, 0, "a")
    part.take_result(result("x"), 150)
    read(part, 1, "b")
    assert part.commit_point == CommitPoint(0, 100)
    part.take_result(result("a"), 160)
    assert part.commit_point == CommitPoint(1, 151)


def test_what_is_read_again_after_a_restart_keeps_the_old_mark():
    """Or a second restart would miss the results of the first run, and send again."""
    part = OpenCommands(0, 5, commands_end=7, mark=40, results_end=90)
    assert part.commit_point == CommitPoint(5, 40)
    read(part, 5, "a")
    read(part, 6, "b")
    read(part, 7, "c")
    part.take_result(result("a"), 90)
    assert part.commit_point == CommitPoint(6, 40)
    part.take_result(result("b"), 91)
    assert part.commit_point == CommitPoint(7, 90)


def test_a_command_whose_final_result_was_read_back_is_skipped():
    part = OpenCommands(0, 0)
    part.read_back(result("a", "acknowledged"), 0)
    part.read_back(result("a"), 1)
    part.resumed()
    assert not read(part, 0, "a")
    assert part.commit_point.offset == 1
    assert part.to_resume("a") is None


def test_a_final_result_from_the_mark_on_may_not_be_in_the_journal_yet():
    """5.7: a kicker that was killed between the two writes; what lies before the mark was done with."""
    part = OpenCommands(0, 0, mark=90)
    part.read_back(result("before"), 89)
    part.read_back(result("promised", "acknowledged"), 90)
    part.read_back(result("after"), 91)
    assert part.doubtful("before") is None
    assert part.doubtful("promised") is None
    assert part.doubtful("after") == result("after")
    assert part.doubtful("after") is None


def test_what_is_doubtful_has_a_bound(monkeypatch):
    monkeypatch.setattr(open_commands, "FINISHED_MAX", 2)
    part = OpenCommands(0, 0)
    for offset, command_id in enumerate("abc"):
        part.read_back(result(command_id), offset)
    assert [part.doubtful(command_id) is None for command_id in "abc"] == [True, False, False]


def test_a_command_whose_acknowledgement_was_read_back_is_resumed_once():
    part = OpenCommands(0, 0)
    part.read_back(result("a", "acknowledged"), 0)
    part.resumed()
    assert read(part, 0, "a")
    assert part.to_resume("a").outcome == "acknowledged"
    assert part.to_resume("a") is None
    assert part.commit_point.offset == 0


def test_a_repeat_of_an_open_or_finished_command_is_done_with_at_once():
    part = OpenCommands(0, 0)
    read(part, 0, "a")
    assert not read(part, 1, "a")
    part.take_result(result("a"), 0)
    assert not read(part, 2, "a")
    assert part.commit_point.offset == 3
    assert part.commands == {}


def test_commands_that_somebody_else_has_finished_are_known_by_result_or_by_offset():
    fresh = OpenCommands(0, 11)
    fresh.read_back(result("b"), 0)
    assert fresh.finished_of({"a": 10, "b": 11, "c": 12}) == ["a", "b"]


def test_an_early_notice_is_kept_for_its_command_and_only_so_many(monkeypatch):
    monkeypatch.setattr(open_commands, "EARLY_MAX", 2)
    part = OpenCommands(0, 0)
    for command_id in ("a", "b", "c"):
        part.keep_early(notice(command_id))
    assert part.take_early("a") is None
    assert part.take_early("c").command_id == "c"
    assert part.take_early("c") is None
    part.read_back(result("d"), 0)
    part.keep_early(notice("d"))
    assert part.take_early("d") is None


def test_commands_without_an_answer_fill_it_and_acknowledged_ones_do_not(monkeypatch):
    monkeypatch.setattr(open_commands, "BUSY_MAX", 2)
    part = OpenCommands(0, 0)
    read(part, 0, "a")
    assert not part.is_full
    read(part, 1, "b")
    assert part.is_full
    part.take_result(result("a", "acknowledged"), 0)
    assert not part.is_full
    assert part.commit_point.offset == 0


def test_too_many_records_beyond_the_oldest_open_one_fill_it(monkeypatch):
    monkeypatch.setattr(open_commands, "WINDOW_MAX", 3)
    part = OpenCommands(0, 0)
    read(part, 0, "a")
    for offset in (1, 2):
        part.hold(offset)
        part.let_go(offset)
    assert part.is_full
    part.take_result(result("a"), 0)
    assert not part.is_full


def test_finished_ones_are_forgotten_beyond_a_bound(monkeypatch):
    monkeypatch.setattr(open_commands, "FINISHED_MAX", 2)
    part = OpenCommands(0, 0)
    for command_id in "abc":
        part.finish(command_id)
    assert part.finished_of(dict.fromkeys("abc", 9)) == ["b", "c"]


@pytest.mark.parametrize(("mark", "begin", "start"), [(0, 0, 0), (50_000, 0, 40_000), (50_000, 45_000, 45_000), (5, 9, 9)])
def test_the_results_are_read_from_somewhat_before_the_mark(mark, begin, start):
    assert read_from(mark, begin) == start
