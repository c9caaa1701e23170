"""docs/reliability.md adds up the runs of all sittings; a chaos run itself is `tests/broker/test_chaos_smoke.py`."""

from schemas.codec import loads
from tests.chaos import report
from tests.chaos.run import Outcome, Struck


def outcome(seed, **other):
    struck = (Struck("zombie", 10.0, 1.5),)
    return Outcome(seed, ["zombie"], 60.0, struck=struck, answered=100, events=200, commands=3, peaks_mib={"worker-1": 90}, **other)


def row(text, fault):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {fault} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_runs_of_several_sittings_are_added_up_once_each(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    for seed in (70, 71):
        report.add(first, outcome(seed, notes={"a worker was frozen for, s": [8.0 + seed]}), full=False)
    report.add(second, outcome(73, findings={"gaps": ["one"], "lost": []}, failed=f"TimeoutError: in {report.ROOT}/tests"), full=False)
    report.add(second, outcome(74), full=True)
    report.add(second, Outcome(75, ["garbage"], failed="AssertionError: worker-1 ended"), full=False)  # before anything was measured
    for results in (first, second, second):
        report.write(tmp_path, results)
    kept = [loads(line) for line in (tmp_path / "reliability.jsonl").read_text().splitlines()]
    assert [one["seed"] for one in kept] == [70, 71, 73, 74, 75]
    assert str(report.ROOT) not in (tmp_path / "reliability.jsonl").read_text()
    text = (tmp_path / "reliability.md").read_text()
    assert row(text, "zombie") == ["zombie", "3 (1 failed)", "70-71, 73", *"0000100", "10.0 (10.0)", "1.5 (1.5)", "90"]
    assert row(text, "zombie --full")[:3] == ["zombie --full", "1", "74"]
    assert row(text, "a worker was frozen for, s")[1:] == ["2", "78", "78.5", "79"]
    assert row(text, "garbage")[:4] == ["garbage", "1 (1 failed)", "75", "0"]
    assert "5 runs, 400 records answered, 800 events and 12 Disconnect-Requests" in text
    assert "**Not done yet:**" in text


def test_a_fault_that_the_machine_cannot_make_is_told_with_its_reason(tmp_path):
    results = tmp_path / "results.jsonl"
    report.add(results, outcome(70), full=False)
    report.add(results, Outcome(70, ["disk-full"], skipped="no root"), full=False)
    report.write(tmp_path, results)
    assert row((tmp_path / "reliability.md").read_text(), "disk-full")[:2] == ["disk-full", "skipped: no root"]
