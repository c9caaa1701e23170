"""`make sim SEED=first N=how-many`: play seeds on all cores; each that fails prints itself and its shortest story."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import agents  # noqa: F401 - before the core: it lets the compiled one run where there is one
from tests.sim.run import Outcome, play, shortest
from tests.sim.story import story_of

HOUR_MS = 3_600_000
SEEDS_AT_ONCE = 8
"""Handed to a process together."""
SAY_EVERY_S = 60


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def played(seed: int) -> tuple[Outcome, list[str]]:
    """A seed's outcome, and where it failed what it says of that: the shortest story that breaks the same law."""
    outcome = play(story_of(seed))
    return outcome, [] if outcome.broken is None else _failure(seed, outcome.broken.law)


def main(first: int, seeds: int) -> int:
    """Play them; the number of those that failed."""
    began_s, said_s, hours, records, failed = time.monotonic(), time.monotonic(), 0.0, 0, 0
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for number, (outcome, failure) in enumerate(processes.map(played, range(first, first + seeds), chunksize=SEEDS_AT_ONCE), 1):
            hours += outcome.at_ms / HOUR_MS
            records += outcome.records
            counts += outcome.counts
            failed += bool(failure)
            for line in failure:
                _say(line)
            now_s = time.monotonic()
            if number == seeds or now_s - said_s > SAY_EVERY_S:
                said_s = now_s
                _say(f"{number} seeds from {first}: {failed} failed; {hours:.0f} h and {records} records in {now_s - began_s:.0f} s")
    _say(", ".join(f"{name} {number}" for name, number in counts.most_common()))
    return failed


def _failure(seed: int, law: str) -> list[str]:
    """A seed's failure, told by its shortest story."""
    story = shortest(story_of(seed), law)
    setting = str(story._replace(nases=(), events=()))
    return [f"seed {seed}: {play(story).broken}", *(f"  {line}" for line in (setting, *story.nases, *story.events))]


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
