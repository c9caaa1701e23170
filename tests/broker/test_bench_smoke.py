"""The bench runs: with counts that measure nothing, so that it cannot rot. How fast anything is, is not tested.

Each part runs alone, so that its time is bounded and its failure names it. A peer that is not installed is left out there as here.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import PARTS
from schemas.codec import loads

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="the bench's load generator needs a C compiler"),
]

Data = dict[str, Any]


def has_ingest(data: Data) -> bool:
    servers = set(data["windows"])
    told = servers <= {"curfew", "curfew-one", "freeradius", "freeradius-postgresql"} and len(servers) + len(data["lacking"]) == 4
    return told and all(one["bad"] == one["unanswered"] == 0 for one in data["windows"]["curfew"]["64"])


def has_worker(data: Data) -> bool:
    ours = {"worker": 1, "step": 1, "faust": 1, "decode": 1}
    counts = {name: len(rates) for name, rates in data["rates"].items()}
    peers = counts.keys() - ours
    return counts.items() >= ours.items() and peers <= {"streams", "quix"} and {one["rejected"] for one in data["rounds"]["worker"]} == {""}


def has_latency(data: Data) -> bool:
    at = data["rates"]["500"]
    return at["breaches"] > 0 and at["by_group"]["without_request"] == 0 and (data["false"], data["not_believed"]) == (0, 0)


def has_through(data: Data) -> bool:
    return data["rounds"][0]["packets"] > 0 and data["level"]["bad"] == 0


def has_away(data: Data) -> bool:
    answered = {name: one["packets"] for name, one in data["loads"].items()}
    return answered["before"] > 0 and answered["away"] == 0 and len(data["octets"]) >= 2


def has_overload(data: Data) -> bool:
    return data["servers"]["curfew"]["flooded"]["packets"] > 0


def has_scale_live(data: Data) -> bool:
    size, reached = data["sizes"][0], data["reached"]
    asked = all(one["without_request"] == 0 and one["breaches"] > 0 for one in size["latency"].values())
    told = all(reached[name].keys() == {"400"} for name in ("p99_growth", "octets")) and reached["restore_s"].keys() == {
        "400",
        "per_million",
    }
    shared = all(min(shares) > 0 for one in data["two"]["two workers"] for shares in one["shares"].values())
    return asked and told and shared and reached["two_against_one"].keys() == {"workers", "ingests"} and not data["skipped"]


LOOKS: dict[str, Callable[[Data], bool]] = {
    "ingest": has_ingest,
    "worker": has_worker,
    "latency": has_latency,
    "through": has_through,
    "away": has_away,
    "overload": has_overload,
    "scale_live": has_scale_live,
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_bench_measures_and_tells_what_it_found(part: str, tmp_path: Path):
    """Issue E: `make bench` runs on any machine, with what is installed there."""
    command = [sys.executable, "-m", "bench", "--tiny", "--only", part, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    data = loads((tmp_path / f"{part}.json").read_bytes())
    assert data["table"]["title"] in done.stdout
    assert data["table"]["rows"]
    assert LOOKS.get(part, bool)(data), data
    assert "docs/benchmarks.md stays as it is" in done.stdout
    assert [file.name for file in tmp_path.glob("*.json")] == [f"{part}.json"]
