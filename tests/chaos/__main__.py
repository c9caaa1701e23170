"""`make chaos SEED=first ROUNDS=n FAULTS=a,b`: every fault with n seeds, a table on the terminal, and docs/reliability.md with --write."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import time
from pathlib import Path

import uvloop

from tests.chaos import report
from tests.chaos.cluster import one_node
from tests.chaos.faults import FAULTS
from tests.chaos.run import Outcome, run
from tests.chaos.scene import FULL, SHORT, Pace

ROOT = Path(__file__).parents[2]
RESULTS = "results.jsonl"


def main() -> int:
    """Run what the command line says; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--rounds", type=int, default=1, help="seeds for each fault")
    parser.add_argument("--faults", default="", help=f"some of {', '.join(FAULTS)}; a+b breaks both in one run; left out: all")
    parser.add_argument("--full", action="store_true", help="outages as long as in production: Kafka a minute, all workers two hours")
    parser.add_argument("--packets-per-s", type=float, default=0.0, help="another load, such as one whose two hours can be read back")
    parser.add_argument("--write", action="store_true", help="add the results to docs/reliability.jsonl, and write docs/reliability.md")
    parser.add_argument("--out", type=Path, default=ROOT / "var/chaos", help="directory for results, and for what failed")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # whoever pipes it sees each line when it is there
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of each retry, and nothing here goes without
    given.out.mkdir(parents=True, exist_ok=True)
    results = given.out.absolute() / RESULTS
    plan = [(names.split("+"), given.seed + number) for number in range(given.rounds) for names in given.faults.split(",") if names]
    plan = plan or [([name], given.seed + number) for number in range(given.rounds) for name in FAULTS]
    if unknown := {name for names, _ in plan for name in names} - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    pace = FULL if given.full else SHORT
    pace = pace._replace(packets_per_s=given.packets_per_s or pace.packets_per_s)
    outcomes = uvloop.run(_run_all(plan, pace, results, full=given.full))
    if given.write:
        report.write(ROOT / "docs", results)
    return int(not all(outcome.is_whole for outcome in outcomes))


async def _run_all(plan: list[tuple[list[str], int]], pace: Pace, results: Path, *, full: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    began_s = time.monotonic()
    data = results.parent / f"kafka-{time.time_ns()}"
    async with one_node(data) as shared:
        for names, seed in plan:
            outcome = await run(names, seed, pace, results.parent, shared)
            outcomes.append(outcome)
            report.add(results, outcome, full=full)
            sys.stdout.write(report.line(outcome) + "\n")
    await asyncio.to_thread(shutil.rmtree, data)
    whole = sum(outcome.is_whole for outcome in outcomes)
    sys.stdout.write(f"{whole} of {len(outcomes)} runs without a finding, in {time.monotonic() - began_s:.0f} s\n")
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
