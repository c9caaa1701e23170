"""`make fuzz SECONDS=n TARGETS=a,b`: each target for so long under libFuzzer (atheris), which looks for octets that reach new lines.

What was found goes on from run to run under var/fuzz; octets that make a target fail are left there, are printed, and belong into
tests/fuzz/corpus once what they found is repaired. Coverage is that of the product's own packages. ARGS=--write adds the runs under
var/fuzz to docs/fuzzing.jsonl, and writes docs/fuzzing.md from all that were ever kept there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
OCTETS_MAX = 4096
RUNS = "runs.jsonl"
_EXECUTED = re.compile(r"number_of_executed_units: (\d+)")
_INTERRUPTED = 72
"""libFuzzer's exit status when it was told to end."""
_BLIND = "instrumented for coverage"
NAMES = ("packet", "reply", "journal", "slots", "topics", "policy", "configuration", "http")


def main() -> int:
    """One process for each target, since libFuzzer ends its own; 1 if any found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--targets", default="", help=f"some of {', '.join(NAMES)}; left out: all")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="run nothing: put the runs that were made into docs/fuzzing.md")
    parser.add_argument("--out", type=Path, default=ROOT / "var/fuzz", help="directory of what was found")
    given = parser.parse_args()
    if given.one:
        _fuzz(given.one, given.seconds, given.out / given.one)
    # Not above, nor before `_fuzz`: it imports what is to be instrumented first
    report = importlib.import_module("tests.fuzz.report")
    if given.write:
        report.write(ROOT / "docs", given.out / RUNS, NAMES)
        return 0
    names = [name for name in given.targets.split(",") if name] or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(given.seconds), "--out", str(given.out)]
    given.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        cpu_s, executed, found = _run([*command, "--one", name])
        report.add(given.out / RUNS, name, cpu_s, executed, found=found)
        failed += [name] if found else []
    found = f"FOUND by {', '.join(failed)}; see {given.out}" if failed else "nothing found"
    sys.stdout.write(f"{len(names)} targets, {given.seconds} s each: {found}\n")
    return int(bool(failed))


def _run(command: list[str]) -> tuple[float, int, bool]:
    """Run a target in a process of its own.

    Returns:
        Seconds of CPU time (not what went by: where others have the processors, nothing is looked for), inputs, whether it found something.
    """
    executed = 0
    environment = os.environ | {"CURFEW_COMPILED": "0"}  # machine code tells nobody which lines it went through
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            if told := _EXECUTED.search(line):
                executed = int(told[1])
            if _BLIND in line:
                process.kill()
                raise SystemExit("the target sees no lines of the product: something imported that before it was instrumented")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, executed, process.returncode not in (0, _INTERRUPTED)


def _fuzz(name: str, seconds: int, out: Path) -> None:
    """Does not return."""
    import atheris  # it is there for this alone, and must come before what it instruments

    with atheris.instrument_imports(include=["streams", "schemas", "agents.http_api"]):
        from tests.fuzz.targets import TARGETS

    out.mkdir(parents=True, exist_ok=True)
    (out / "kept").mkdir(exist_ok=True)
    seeds = CORPUS / name
    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={OCTETS_MAX}",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={out}{os.sep}",
    ]
    atheris.Setup([name, *arguments, str(out / "kept"), str(seeds)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
