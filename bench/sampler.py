"""Runs a module as a program and writes where its CPU time went: `python -m bench.sampler OUT MODULE ARGUMENTS...`.

A timer of CPU time (ITIMER_PROF) interrupts the main thread, and the stack is counted as it stands: so few samples cost about a hundredth,
where cProfile doubles the cost of small functions. The kernel's own tick may be longer than what is asked for. Time spent in C counts for
the line that called it. Imports are left out.
"""

import runpy
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from schemas.codec import dumps

PERIOD_S = 0.002
WRITTEN_MAX = 60
IMPORT = ("<frozen importlib._bootstrap>", "_find_and_load")


class Sampler:
    """Counts stacks."""

    def __init__(self) -> None:
        self._own: Counter[tuple[str, str]] = Counter()
        self._with_callees: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[tuple[str, int]] = Counter()
        self._samples = self._imports = 0

    def take(self, _number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        if frame is None:
            return
        code = frame.f_code
        place, line = (code.co_filename, code.co_qualname), (code.co_filename, frame.f_lineno)
        stack = set()
        while frame is not None:
            stack.add((frame.f_code.co_filename, frame.f_code.co_qualname))
            frame = frame.f_back
        if IMPORT in stack:
            self._imports += 1
            return
        self._samples += 1
        self._own[place] += 1
        self._lines[line] += 1
        self._with_callees.update(stack)

    def write(self, file: Path) -> None:
        """All counts, most first."""
        tables: dict[str, Counter[Any]] = {"own": self._own, "with_callees": self._with_callees, "lines": self._lines}
        shown = {name: [(_shown(place), count) for place, count in table.most_common(WRITTEN_MAX)] for name, table in tables.items()}
        period_ms = time.process_time() * 1000 / max(1, self._samples + self._imports)
        file.write_text(dumps({"samples": self._samples, "period_ms": period_ms, **shown}))


def _shown(place: tuple[str, str | int]) -> str:
    file = place[0].replace(str(Path.cwd()) + "/", "").rsplit("site-packages/")[-1]
    return f"{file}:{place[1]}"


def main() -> None:
    out, module = Path(sys.argv[1]), sys.argv[2]
    sys.argv[:] = sys.argv[2:]
    sampler = Sampler()
    signal.signal(signal.SIGPROF, sampler.take)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sampler.write(out)


if __name__ == "__main__":
    main()
