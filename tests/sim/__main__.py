"""`make sim SEED=first N=how-many`: play seeds one after the other; the first that fails prints itself and its shortest story."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.sim.run import play, shortest
from tests.sim.story import story_of

HOUR_MS = 3_600_000


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(first: int, seeds: int) -> int:
    """Play them; the number of those that failed."""
    began_s, hours, records, failed = time.monotonic(), 0.0, 0, 0
    counts: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        outcome = play(story_of(seed))
        hours += outcome.at_ms / HOUR_MS
        records += outcome.records
        counts += outcome.counts
        if outcome.broken is not None:
            failed += 1
            tell(seed, outcome.broken.law)
    _say(f"{seeds} seeds from {first}: {failed} failed; {hours:.0f} h and {records} records in {time.monotonic() - began_s:.0f} s")
    _say(", ".join(f"{name} {number}" for name, number in counts.most_common()))
    return failed


def tell(seed: int, law: str) -> None:
    """Print a seed's failure by its shortest story."""
    story = shortest(story_of(seed), law)
    _say(f"seed {seed}: {play(story).broken}")
    _say("  " + str(story._replace(nases=(), events=())))
    for line in (*story.nases, *story.events):
        _say(f"  {line}")


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
