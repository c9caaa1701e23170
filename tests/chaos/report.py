"""Outcomes in words: a line for each run on the terminal, JSON lines to add up several sittings, and docs/reliability.md."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import Any

from bench.report import machine
from schemas.codec import dumps, loads
from tests.chaos.faults import FAULTS
from tests.chaos.run import MEMORY_MAX_MIB, Outcome, as_json

ROOT = Path(__file__).parents[2]
SHOWN = {
    "lost": "lost",
    "differ": "differ",
    "false_kicks": "false kicks",
    "doubled": "doubled",
    "gaps": "gaps",
    "went_back": "fence",
    "other": "other",
}
"""Findings by the heading of their column."""
SEEDS_WANTED = 20
"""Of each fault, before the table speaks of what happens seldom."""


def line(outcome: Outcome) -> str:
    """A run for the terminal; what does not hold stands below it."""
    name = "+".join(outcome.faults)
    if outcome.skipped:
        return f"{name:15} seed {outcome.seed:<4} skipped: {outcome.skipped}"
    back = ", ".join(f"{one.took_s:.1f} s broken, back after {one.back_s:.1f} s" for one in outcome.struck)
    counts = ", ".join(f"{heading} {len(outcome.findings.get(key, []))}" for key, heading in SHOWN.items())
    peak = max(outcome.peaks_mib.values(), default=0)
    text = (
        f"{name:15} seed {outcome.seed:<4} {back}; {outcome.answered} answered, {outcome.events} events, {outcome.commands} requests; "
        f"{counts}; {peak} MiB; {outcome.seconds:.0f} s"
    )
    wrong = [f"    {heading}: {said}" for key, heading in SHOWN.items() for said in outcome.findings.get(key, [])]
    return "\n".join(
        [text, *([f"    failed: {outcome.failed}"] if outcome.failed else []), *wrong, *(f"    {note}" for note in outcome.notes)]
    )


def add(results: Path, outcome: Outcome, *, full: bool) -> None:
    """Keep a run, with the commit that it is of, and whether its outages were as long as in production."""
    of = {"commit": _commit(), "machine": machine(), "full": full}
    with results.open("a") as file:
        file.write(dumps({**as_json(outcome), **of}) + "\n")


def write(target: Path, results: Path) -> None:
    """The document, from all runs that were kept."""
    target.write_text(document([loads(line) for line in results.read_text().splitlines()]))


def document(runs: list[Any]) -> str:
    """The text of docs/reliability.md."""
    by_fault: dict[str, list[Any]] = defaultdict(list)
    for one in runs:
        for name in one["faults"]:
            struck = [each for each in one["struck"] if each["name"] == name]
            by_fault[name + (" --full" if one["full"] else "")].append(one | {"struck": struck})
    of = runs[-1]["machine"]
    made = [one for one in runs if not one["skipped"]]
    commits = sorted({one["commit"] for one in runs})
    averages = [one["machine"]["load_average_before"][0] for one in made]
    measured = (
        f"Measured: {len(made)} runs, {sum(one['answered'] for one in made):,} records answered, {sum(one['events'] for one in made):,} "
        f"events and {sum(one['commands'] for one in made):,} Disconnect-Requests; commit {', '.join(commits)}; {of['cores']} cores, "
        f"{of['system']}, Python {of['python']}, Kafka {of['kafka']}. The machine was shared: other work ran on it at the same time (load "
        f"average {min(averages):.1f} to {max(averages):.1f} after the runs), so times are upper bounds.\n"
    )
    faults = "".join(f"* `{name}`: {fault.what}\n" for name, fault in FAULTS.items())
    said = "".join(f"* {'+'.join(one['faults'])}, seed {one['seed']}: {note}\n" for one in made for note in one["notes"])
    words = _WORDS.format(memory=MEMORY_MAX_MIB) + (f"\nWhat some of the runs say of themselves:\n\n{said}" if said else "")
    return "\n".join([_HEAD, measured, _how_many(by_fault), _table(by_fault), words, "## What each fault does\n", faults, _TAIL])


def _how_many(by_fault: dict[str, list[Any]]) -> str:
    """How many seeds ran, as it is."""
    counts = Counter(len(_seeds(by_fault[name])) if name in by_fault else 0 for name in FAULTS)
    ran = ", ".join(f"{faults} with {_count(seeds)}" for seeds, faults in sorted(counts.items()))
    none = ", ".join(f"`{name}`" for name in FAULTS if not _seeds(by_fault.get(name, [])))
    if min(counts) >= SEEDS_WANTED:
        return f"Each fault ran with {SEEDS_WANTED} seeds or more.\n"
    return (
        f"**Not done yet:** each fault is to run with {SEEDS_WANTED} seeds, and they did not; of the {len(FAULTS)} faults: {ran}. A "
        f"zero below is a zero of so many runs and no more; it says little of what happens once in {SEEDS_WANTED} times."
        f"{f' Not run at all: {none}.' if none else ''}\n"
    )


def _count(seeds: int) -> str:
    return "none" if seeds == 0 else "one seed" if seeds == 1 else f"{seeds} seeds"


def _seeds(runs: Collection[Any]) -> list[int]:
    return sorted({one["seed"] for one in runs if not one["skipped"]})


def _table(by_fault: dict[str, list[Any]]) -> str:
    heads = ["fault", "runs", "seeds", *SHOWN.values(), "broken for, s: median (most)", "back after, s: median (most)"]
    heads.append(f"most memory of a part, MiB (of {MEMORY_MAX_MIB})")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in [*(one for one in FAULTS if one in by_fault), *(one for one in by_fault if one not in FAULTS)]:
        made = [one for one in by_fault[name] if not one["skipped"]]
        if not made:
            lines.append(f"| {name} | skipped: {by_fault[name][0]['skipped']} |" + " |" * (len(heads) - 2))
            continue
        failed = sum(bool(one["failed"]) for one in made)
        counts = [str(sum(len(one["findings"].get(key, [])) for one in made)) for key in SHOWN]
        took = [struck["took_s"] for one in made for struck in one["struck"]]
        back = [struck["back_s"] for one in made for struck in one["struck"]]
        peak = max((peak for one in made for peak in one["peaks_mib"].values()), default=0)
        times = [f"{median(each):.1f} ({max(each):.1f})" if each else "" for each in (took, back)]
        runs = f"{len(made)} ({failed} failed)" if failed else str(len(made))
        lines.append("| " + " | ".join([name, runs, ", ".join(map(str, _seeds(made))), *counts, *times, str(peak)]) + " |")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    said = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


_HEAD = """# Reliability: what happens when something breaks

`make chaos` runs the real product (ingest, two workers, kicker; a projector and Redis where they are what is broken) on a real Kafka
under load, breaks something, lets it come to rest, and then looks into the topics alone. Users log in and out at three NASes, breach a
limit of one device for each user and one of thirty sessions for each group, fall silent and are found dead; the NASes obey most
Disconnect-Requests, refuse some, forget some sessions, reboot now and then, and send every record again until it is answered.

```
make chaos                              # every fault once, with seed 0
make chaos SEED=20 ROUNDS=5             # every fault with seeds 20 to 24
make chaos FAULTS=zombie,leader-away    # these alone; zombie+kill-kicker breaks both in one run, one after the other
make chaos ARGS="--full"                # outages as long as in production: Kafka a minute, all workers two hours
make chaos ARGS="--keep --write"        # adds to the results kept so far, and writes this document from all of them
```

A run that failed leaves its topics as JSON lines and the logs of all parts under `var/chaos/`. A fault that a machine cannot make (no root
to mount a small disk, no libfaketime of deploy/chaos-packages.txt, no Redis) is skipped with the reason. `make test` makes every
fault once, most of them one after the other in one run, with half the load (`tests/broker/test_chaos_smoke.py`).
"""

_WORDS = """A run that breaks several things one after the other is counted for each of them, with all that was found. The columns,
each of which must be 0:

* **lost**: records that a NAS was answered for and that are not in the journal, or not as they were sent; records there that nobody sent.
* **differ**: rows, events, commands, slots and verdicts that are not exactly those of a model: the same step, fed each journal from its
  first record in one process that nobody kills. And what a second, slow model sees otherwise that shares no code with the product: who had
  more devices than he may, and who was silent for how long while somebody was listening.
* **false kicks**: Disconnect-Requests that arrived at a NAS for a session that had, in truth, no reason to go: its user had no other device
  there, its group was not full, and it was not silent, within the time for which a command is good.
* **doubled**: sessions that ended twice; commands without or with more than one final outcome; outcomes that the journal does not know.
* **gaps**: in the sequence of an identity's events.
* **fence**: places in the tables where the state of a former owner came after that of his successor.
* **other**: parts that ended by themselves, a part with more than {memory} MiB, a Redis that is not the table in the end.

Times are those of probes, users who may not log in at all: each goes from the NAS through ingest, session agent, group agent, session agent
and kicker back to the NAS, one for every partition. "Back after" is from the moment at which the fault was lifted (for a kill: from the
kill, with the process started again by a keeper as `curfew up` does it) until probes sent after that had come back in all partitions.
Workers have a session timeout of 3 s here (10 s by default), which is what a killed one costs its successor. "Broken for" is from the blow
until the fault was lifted; where Kafka itself was ended, its own start is in it, which takes most of it on a machine that others use too.
"""

_TAIL = """## What this does not show

* `workers-down` stands in for two hours: the workers are away for 20 s where a command is good for 8 s and a record is old after 3 s, so
  that all that matters is older than what may still be acted on. `--full` takes the two hours.
* Rows without `--full` in their name have short outages: Kafka is away for 4 s beside the time of its own start, and not for a minute; a
  worker comes or goes every 3 s, four times. The load is 120 records in a second.
* With three nodes Kafka's own topics (groups, transactions) and the controller are on the node that stays; what is killed is the leader
  of partitions of the product's topics.
* `topic-deleted` deletes the topic of the events, on which no decision rests. What was in it is gone, so the sequence is not asked for
  there. A journal that is deleted cannot be made up for: its partitions stand still and say so, as where records that are still needed
  have expired (`tests/broker/test_worker.py`).
* All is on one machine: a network that is cut in two between Kafka's nodes is not among the faults.

## What it has found

Repaired since, each with a test that fails without the repair; a run above that is marked as failed is from before.

* A write to a connection to Kafka in the moment of its reset (uvloop raises there what the Kafka client does not expect): a worker
  waited for metadata for ever and kept partitions that the group had given to another. One of some thirty runs of `disk-full`.
* A kicker that was killed between two writes left a final result in the journal which `disconnect.results` never got; its successor told
  another. Seen once in forty runs, with two commands of a thousand.
* A projector that was told to end went on until it was killed, since the Redis client had swallowed the order: one of some five.
* A projector that started under load left out rows that a checkpoint wrote while it read the table to its end: seen once.
* A command that ended while a rebalance gave its partition to the same kicker again had two final results.
* A worker ended whose restore asked for offsets of a Kafka that was just coming back.
* A stranger's key in `session.table` that is no UTF-8 put every worker into a loop of crashes.
"""
