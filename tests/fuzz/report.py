"""Runs of `make fuzz`: a line for each in docs/fuzzing.jsonl, and docs/fuzzing.md with what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import machine
from schemas.codec import dumps, loads
from tests.fuzz.targets import TARGETS

SECONDS_WANTED = 20_000


def add(runs: Path, target: str, cpu_s: float, executed: int, *, found: bool) -> None:
    """Keep a run: seconds of CPU time, inputs that were tried, whether one of them made the target fail."""
    of = machine()
    kept = {"target": target, "cpu_s": round(cpu_s, 1), "executed": executed, "found": found, "commit": of["commit"]}
    with runs.open("a") as file:
        file.write(dumps(kept) + "\n")


def write(docs: Path, runs: Path, names: Sequence[str]) -> None:
    """The document, from all runs that were ever kept: those of `runs` that it lacks are added to docs/fuzzing.jsonl."""
    kept = docs / "fuzzing.jsonl"
    lines = dict.fromkeys(line for file in (kept, runs) if file.exists() for line in file.read_text().splitlines())
    kept.write_text("".join(f"{line}\n" for line in lines))
    all_runs = [loads(line) for line in lines]
    rows = []
    for name in names:
        of = [run for run in all_runs if run["target"] == name]
        seconds, executed = sum(run["cpu_s"] for run in of), sum(run["executed"] for run in of)
        what = (TARGETS[name].__doc__ or "").partition("\n")[0]
        rows.append(f"| `{name}` | {what} | {len(of)} | {seconds:,.0f} | {executed:,} | {sum(run['found'] for run in of)} |")
    commits = ", ".join(sorted({run["commit"] for run in all_runs}))
    (docs / "fuzzing.md").write_text(_HEAD + "\n".join(rows) + _TAIL.format(commits=commits, wanted=SECONDS_WANTED))


_HEAD = """# Fuzzing

Written by `make fuzz ARGS=--write` from docs/fuzzing.jsonl, which has a line for each run of `make fuzz SECONDS=n`. Each target is a reader
of what strangers may have written, run in a process of its own under libFuzzer (atheris), which keeps the inputs that reach new lines and
changes those further. `tests/fuzz/targets.py` says what must hold for each; `make test` runs every input of `tests/fuzz/corpus`.

| target | what | runs | seconds of CPU | inputs | runs that found something |
| --- | --- | ---: | ---: | ---: | ---: |
"""
_TAIL = """

Commits: {commits}. Wanted: {wanted:,} seconds for each target. Runs from before lines were kept (some ten minutes each) are not in it.
What was found then is repaired and stands in the corpus.
"""
