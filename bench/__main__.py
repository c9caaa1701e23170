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

from agents.broker import BrokerError, EmbeddedBroker, pick_free_port
from bench import (
    admission,
    away,
    bulk,
    document,
    groups,
    ingest,
    kicks,
    latency,
    overload,
    report,
    rules,
    scale,
    scale_live,
    targets,
    through,
    worker,
)
from bench.rig import FULL, QUICK, ROOT, TINY, FailedError, Rig
from schemas.errors import CurfewError

NAMED: Path = document.DOCUMENT.relative_to(ROOT)

PARTS: dict[str, ModuleType] = {
    "ingest": ingest,
    "through": through,
    "worker": worker,
    "rules": rules,
    "scale": scale,
    "scale_live": scale_live,
    "latency": latency,
    "away": away,
    "overload": overload,
    "groups": groups,
    "kicks": kicks,
    "bulk": bulk,
    "admission": admission,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times")
    parser.add_argument("--profile", action="store_true", help="run each part once more under a sampler and show where its CPU time goes")
    size = parser.add_mutually_exclusive_group()
    for sizes, told in ((QUICK, "the same tables, a short round each"), (TINY, "counts that measure nothing: only to see that it runs")):
        size.add_argument(f"--{sizes.name}", dest="sizes", action="store_const", const=sizes, default=FULL, help=told)
    parser.add_argument("--document", action="store_true", help=f"write {NAMED} also after a run that is not full, or of some parts only")
    parser.add_argument("--out", type=Path, help="directory for results, logs and the data of Kafka; var/bench, and quick or tiny below it")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # whoever pipes it sees each table when it is there
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of each retry while new topics get their leaders
    given.out = (given.out or ROOT / "var/bench" / ("" if given.sizes is FULL else given.sizes.name)).absolute()
    writes = given.document or (given.sizes is FULL and not given.only)
    print(f"bench: the figures go to {given.out}/*.json; {NAMED} {'is written from them' if writes else 'stays as it is (see --document)'}")
    try:
        failed = uvloop.run(_run(given))
    except (FailedError, CurfewError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    parts = document.read(given.out)
    outcomes = targets.outcomes({name: part for name, part in parts.items() if name in (given.only or PARTS)})
    report.Report("What was to be reached", ("figure", "to reach", "reached", ""), outcomes, (), {}).show()
    for file in document.write(parts, list(PARTS)) if writes else ():
        print(f"wrote {file}")
    return 1 if failed else 0


async def _run(given: argparse.Namespace) -> list[str]:
    """Measure; the parts that failed."""
    started_s, failed, took = time.monotonic(), [], []
    work = given.out / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    machine = report.machine() | {"command": _command(given), "size": given.sizes.name, "time": time.strftime("%Y-%m-%d %H:%M %Z")}
    print(", ".join(f"{name}: {value}" for name, value in machine.items()))
    broker = EmbeddedBroker(work / "kafka", port=await asyncio.to_thread(pick_free_port))
    async with broker:
        rig = Rig(work, broker.bootstrap, broker.pid or 0, given.sizes, profile=given.profile)
        rig.build_load()
        for name in given.only or PARTS:
            part_s = time.monotonic()
            try:
                done = await PARTS[name].measure(rig)
            except Exception as error:  # noqa: BLE001 - one part that fails, however, must not cost the others, which take long
                said = str(error) if isinstance(error, FailedError | CurfewError | BrokerError) else f"{type(error).__name__}: {error}"
                print(f"\nbench: {name} could not be measured: {said}", file=sys.stderr)
                report.write_failed(given.out, name, machine, said)
                failed.append(name)
                continue
            done.show()
            report.write(given.out, name, machine, done)
            took.append(f"{name} {time.monotonic() - part_s:.0f} s")
    shutil.rmtree(work / "kafka", ignore_errors=True)
    print(f"\nall of it took {time.monotonic() - started_s:.0f} s ({', '.join(took)})")
    return failed


def _command(given: argparse.Namespace) -> str:
    """What anybody would type for the same figures."""
    sizes = [] if given.sizes is FULL else [f"--{given.sizes.name}"]
    return " ".join(["python -m bench", *sizes, *(f"--only {name}" for name in given.only or ())])


if __name__ == "__main__":
    sys.exit(main())
