"""docs/benchmarks.md and its plots, from what the parts wrote: `python -m bench.document [DIRECTORY]` writes them from var/bench/*.json.

What each part measured last is kept beside the plots (docs/benchmarks/*.json), so that parts can be measured in several sittings, also on
other machines; a short round never takes the place of a full one.

Theory of operation: `compose` is pure (data in, files' texts out); what a part measured stands in its own table, what was to be reached in
one table at the top, and what was not measured is said there and in the part's place.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plots import chart, cumulative
from bench.rig import ROOT
from bench.targets import outcomes
from schemas.codec import dumps, loads

DOCUMENT: Path = ROOT / "docs/benchmarks.md"
PLOTS = "benchmarks"
INTRODUCTION = """# Benchmarks

Written by `make bench`; every figure is from a run on the machine and the code named below, and every peer ran in the same run, in turn
with us. `make bench QUICK=1` prints the same tables in some five minutes. `python -m bench --only PART` measures one part,
`python -m bench.document` writes this file anew from what was measured last, which docs/benchmarks/*.json hold.
"""
SIZES = ("tiny", "quick", "full")

Part = Mapping[str, Any]


def read(directory: Path) -> dict[str, Part]:
    """What the parts wrote, by their names."""
    return {file.stem: loads(file.read_bytes()) for file in sorted(directory.glob("*.json"))}


def compose(parts: Mapping[str, Part], names: Sequence[str]) -> dict[str, str]:
    """The files, by their paths below docs/.

    Args:
        parts: what was measured, by part. names: all parts in their order.
    """
    plots = {name: text for name, text in _plots(parts).items() if text}
    lines = [INTRODUCTION]
    lines += _machines(parts)
    lines += ["## What was to be reached", ""]
    lines += table(("figure", "to reach", "reached", ""), outcomes(parts))
    for name in names:
        part = parts.get(name, {})
        if "table" not in part:
            why = part.get("failed")
            lines += [f"## {name}", "", f"Not measured: {why}" if why else "Not measured.", ""]
            continue
        told = part["table"]
        lines += [f"## {told['title']}", "", f"`python -m bench --only {name}`", "", *table(told["columns"], told["rows"])]
        lines += [f"* {str(note).strip()}" for note in told["notes"]] + [""]
        lines += [line for file in plots if file.startswith(f"{name}-") for line in (f"![{file}]({PLOTS}/{file})", "")]
    return {"benchmarks.md": "\n".join(lines).rstrip() + "\n"} | {f"{PLOTS}/{file}": text for file, text in plots.items()}


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table in Markdown, and an empty line."""
    right = ["---", *("---:" for _ in columns[1:])]
    return [_row(columns), _row(right), *map(_row, rows), ""]


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_indented(str(cell)).replace("|", "\\|") for cell in cells) + " |"


def _indented(cell: str) -> str:
    """What is part of the row above begins with spaces, which Markdown would eat."""
    return cell.replace("  ", "&nbsp;&nbsp;", 1) if cell.startswith("  ") else cell


def _machines(parts: Mapping[str, Part]) -> list[str]:
    """What it ran on: once, and again for each part that was measured elsewhere, on other code or in another run."""
    runs: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for name, part in parts.items():
        machine = part.get("machine", {})
        runs.setdefault(repr(sorted(machine.items(), key=str)), (machine, []))[1].append(name)
    lines = ["## The machine", ""]
    for machine, names in runs.values():
        said = [(name.replace("_", " "), value) for name, value in machine.items()]
        lines += table(("", ", ".join(names) if len(runs) > 1 else ""), said)
    if any(part.get("machine", {}).get("size", "full") != "full" for part in parts.values()):
        lines += ["**Not a full run** of everything: of size `quick` is one short round, and of size `tiny` nothing that measures.", ""]
    return lines


def _plots(parts: Mapping[str, Part]) -> dict[str, str]:
    """Each chart by its file's name, which begins with its part's; an empty text where there is nothing to draw."""
    ingest, latency, away = (parts.get(name, {}) for name in ("ingest", "latency", "away"))
    answers = {
        ingest["titles"][name]: cumulative(windows[str(ingest["best"][name]["window"])][-1]["histogram"])
        for name, windows in ingest.get("windows", {}).items()
    }
    requests = {
        f"{what}, {rate}/s": figure["curves"][kind]
        for rate, figure in latency.get("rates", {}).items()
        for kind, what in (("user", "user's limit"), ("group", "group's limit"), ("round_trip", "bare Kafka"))
        if "curves" in figure
    }
    live = {
        f"{one['sessions'] if name == 'full' else 0:,} sessions": one["curves"][name]
        for one in parts.get("scale_live", {}).get("sizes", [])
        for name in ("empty", "full")
    }
    sizes = parts.get("scale", {}).get("sizes", [])
    starts = [(one["sessions"], one["records_per_s"]) for one in sizes]
    octets = [(one["sessions"], one["bytes_per_session"] * one["sessions"] / 2**20) for one in sizes]
    held = [(float(second), size / 2**20) for second, size in enumerate(away.get("octets", []))]
    share = "answers, % within"
    return {
        "ingest-latency.svg": chart("Accounting answered, each at its best window", ("ms", share), answers, log_x=True),
        "latency-distribution.svg": chart("Packet in -> Disconnect-Request", ("ms", "requests, % within"), requests, log_x=True),
        "scale_live-latency.svg": chart("Packet in -> Disconnect-Request, by sessions", ("ms", "requests, % within"), live, log_x=True),
        "scale-throughput.svg": chart("Throughput against sessions", ("open sessions", "Starts/s of CPU time"), {"Starts": starts}),
        "scale-memory.svg": chart("Memory against sessions", ("open sessions", "MiB"), {"worker's state": octets}),
        "away-memory.svg": chart("The ingest while Kafka is away", ("s", "MiB"), {"ingest": held}),
    }


def write(parts: Mapping[str, Part], names: Sequence[str], document: Path = DOCUMENT) -> list[Path]:
    """Write the document, its plots, and what is kept of each part; the files. Plots that nothing is drawn for any more are removed."""
    kept = read(document.parent / PLOTS)
    for old in (document.parent / PLOTS).glob("*.svg"):
        old.unlink()
    parts = kept | {name: part for name, part in parts.items() if _size(part) >= _size(kept.get(name, {}))}
    written = []
    for name, text in (compose(parts, names) | {f"{PLOTS}/{name}.json": dumps(part) + "\n" for name, part in parts.items()}).items():
        file = document if name == "benchmarks.md" else document.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        written.append(file)
    return written


def _size(part: Part) -> int:
    """What it may take the place of: of nothing larger; one that failed, of nothing."""
    return SIZES.index(part["machine"]["size"]) if "table" in part else -1


if __name__ == "__main__":
    from bench.__main__ import PARTS  # the parts import what measures, which reading does not need

    for path in write(read(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "var/bench"), list(PARTS)):
        print(f"wrote {path}")
