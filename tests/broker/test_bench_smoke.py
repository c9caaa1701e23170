"""The bench runs: with counts that measure nothing, so that it cannot rot. How fast anything is, is not tested."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import PARTS
from schemas.codec import loads

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_the_bench_measures_every_part_against_its_peers_in_one_run(tmp_path: Path):
    """Issue A, 5: each figure with what it was measured against."""
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("the bench's load generator needs a C compiler")
    command = [sys.executable, "-m", "bench", "--tiny", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(file.name for file in tmp_path.glob("*.json")) == sorted(f"{part}.json" for part in PARTS)
    ingest, worker, latency = (loads((tmp_path / f"{name}.json").read_bytes()) for name in ("ingest", "worker", "latency"))
    has_peer = shutil.which("freeradius", path=f"{os.environ['PATH']}:/usr/sbin") is not None
    assert {name for name in ingest if name.endswith("-64")} == {"curfew-64"} | ({"freeradius-64"} if has_peer else set())
    assert all(one["bad"] == one["unanswered"] == 0 for one in ingest["curfew-64"]["rounds"])
    assert {name: len(rates) for name, rates in worker["rates"].items()}.items() >= {"worker": 1, "step": 1, "faust": 1, "decode": 1}.items()
    assert {one["rejected"] for one in worker["rounds"]["worker"]} == {""}
    assert list(latency["rates"]) == ["500"]
    assert latency["rates"]["500"]["breaches"] > 0
    assert latency["rates"]["500"]["by_group"]["without_request"] == 0
    assert (latency["false"], latency["not_believed"]) == (0, 0)
