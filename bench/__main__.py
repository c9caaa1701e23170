"""`python -m bench`: the parts of the bench on an embedded Kafka of its own; each figure with what it was measured against."""

import argparse
import asyncio
import logging
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType

import uvloop

from agents.broker import EmbeddedBroker, pick_free_port
from bench import admission, bulk, groups, ingest, kicks, latency, report, rules, scale, worker
from bench.rig import FULL, ROOT, TINY, FailedError, Rig
from schemas.errors import CurfewError

PARTS: dict[str, ModuleType] = {
    "ingest": ingest,
    "worker": worker,
    "rules": rules,
    "scale": scale,
    "latency": latency,
    "groups": groups,
    "kicks": kicks,
    "bulk": bulk,
    "admission": admission,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--profile", action="store_true", help="run each part once more under a sampler and show where its CPU time goes")
    parser.add_argument("--tiny", action="store_true", help="counts that measure nothing: only to see that it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "var/bench", help="directory for results, logs and the data of Kafka")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # whoever pipes it sees each table when it is there
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of each retry while new topics get their leaders
    try:
        return uvloop.run(_run(given))
    except (FailedError, CurfewError) as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1


async def _run(given: argparse.Namespace) -> int:
    started_s = time.monotonic()
    work = given.out.absolute() / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    machine = report.machine() | {"command": f"python -m bench {' '.join(sys.argv[1:])}".strip(), "time_s": round(time.time())}
    print(", ".join(f"{name}: {value}" for name, value in machine.items()))
    broker = EmbeddedBroker(work / "kafka", port=await asyncio.to_thread(pick_free_port))
    async with broker:
        rig = Rig(work, broker.bootstrap, broker.pid or 0, TINY if given.tiny else FULL, profile=given.profile)
        rig.build_load()
        for name in given.only or PARTS:
            done = await PARTS[name].measure(rig)
            done.show()
            report.write(given.out, name, {"machine": machine, **done.data, "notes": done.notes})
    shutil.rmtree(work / "kafka", ignore_errors=True)
    print(f"\nall of it took {time.monotonic() - started_s:.0f} s; the figures are in {given.out}/*.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
