"""Figures and how they are told: tables on the terminal, JSON in files, and where time goes."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from agents.compiled import core
from bench.rig import ROOT
from schemas.codec import dumps, loads

SHOWN_MAX = 15
ALWAYS = 0.97
"""What is on the stack that often is the program's frame and tells nothing."""


class Report(NamedTuple):
    """What a part of the bench found out.

    Attributes:
        title: what was measured.
        columns, rows: the table.
        notes: lines below it.
        data: all of it, for the JSON file.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    data: dict[str, Any]

    def show(self) -> None:
        cells = [[str(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        print(f"\n{self.title}")
        for number, row in enumerate(cells):
            print("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))))
            if number == 0:
                print("  " + "  ".join("-" * width for width in widths))
        for note in self.notes:
            print(f"  {note}")


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Lowest to highest."""
    return f"{min(values):{form}} to {max(values):{form}}"


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, p99.9 (`p999`) and max by nearest rank; nothing of no values."""
    if not values:
        return {}
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in at.items()} | {"max": ordered[-1]}


def middle(values: Sequence[float]) -> float:
    """The median."""
    return median(values)


def megabytes(octets: float) -> str:
    """Memory in MiB."""
    return f"{octets / 2**20:,.0f} MiB"


def machine() -> dict[str, Any]:
    """What it was measured on."""
    kafka = re.search(r"<version>(\d+\.\d+\.\d+)</version>", (ROOT / "deploy/kafka/pom.xml").read_text())
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip() or "no checkout",
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor[1] if processor else platform.machine(),
        "memory": megabytes(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        "system": platform.platform(),
        "python": platform.python_version(),
        "core": core(),
        "kafka": f"{kafka[1]} (embedded, one node)" if kafka else "embedded",
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


def show_profile(title: str, file: Path) -> list[str]:
    """Where a program's CPU time went, by function and by line, from what the sampler wrote."""
    samples = loads(file.read_bytes())
    total = samples["samples"] or 1
    lines = [f"{title}: {total} samples of CPU time, one each {samples['period_ms']:.1f} ms"]
    for name, heading in (("own", "own, and what it calls in C"), ("with_callees", "with all it calls"), ("lines", "by line")):
        lines.append(f"  {heading}")
        telling = [(where, count) for where, count in samples[name] if count < ALWAYS * total]
        lines += [f"    {count / total:6.1%}  {where}" for where, count in telling[:SHOWN_MAX]]
    print("\n" + "\n".join(lines))
    return lines


def write(directory: Path, name: str, machine: Mapping[str, Any], done: Report) -> None:
    """The JSON file of a part, which the document is made from."""
    told = {"title": done.title, "columns": done.columns, "rows": done.rows, "notes": done.notes}
    _write(directory, name, {"machine": machine, "table": told, **done.data})


def write_failed(directory: Path, name: str, machine: Mapping[str, Any], why: str) -> None:
    """Likewise, of a part that could not be measured."""
    first, _, rest = why.strip().partition("\n")
    _write(directory, name, {"machine": machine, "failed": " ".join([first, *rest.splitlines()[-1:]])})


def _write(directory: Path, name: str, data: Mapping[str, Any]) -> None:
    (directory / f"{name}.json").write_text(dumps(data, indent=True) + "\n")
