"""Outcomes in words: a line for each run on the terminal, and docs/reliability.md from all that were kept in docs/reliability.jsonl."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
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
COUNTED = ("seed", "faults", "answered", "events", "commands")
"""What is kept of a run also where it is nothing."""
SEEDS_WANTED = 20
"""Of each fault, before the table speaks of what happens seldom."""
EARLIER_SEEDS = dict.fromkeys(FAULTS, 20) | {
    **dict.fromkeys(
        (
            "kill-projector",
            "stop-projector",
            "kill-redis",
            "freeze-redis",
            "kill-broker",
            "stop-broker",
            "freeze-broker",
            "broker-away",
            "topic-deleted",
            "garbage",
        ),
        10,
    ),
    "leader-away": 9,
    "disk-full": 9,
}
"""Seeds that ran before runs were kept, none of which has run since: `_EARLIER`."""


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
    notes = [f"    {what}: {', '.join(f'{value:g}' for value in values)}" for what, values in outcome.notes.items()]
    return "\n".join([text, *([f"    failed: {outcome.failed}"] if outcome.failed else []), *wrong, *notes])


def add(results: Path, outcome: Outcome, *, full: bool) -> None:
    """Keep a run, with the commit that it is of, and whether its outages were as long as in production."""
    said = {name: value for name, value in as_json(outcome).items() if value or name in COUNTED}
    of = {"commit": _commit(), "machine": machine(), "full": full}
    with results.open("a") as file:
        file.write(dumps({**said, **of}).replace(str(ROOT), ".") + "\n")


def write(docs: Path, results: Path) -> None:
    """The document, from all runs that were ever kept: those of `results` that it lacks are added to the ones beside it.

    Args:
        docs: reliability.md stands there, and reliability.jsonl with a line for each run.
        results: what `add` wrote.
    """
    kept = docs / "reliability.jsonl"
    lines = dict.fromkeys([*(kept.read_text().splitlines() if kept.exists() else ()), *results.read_text().splitlines()])
    kept.write_text("".join(f"{line}\n" for line in lines))
    (docs / "reliability.md").write_text(document([loads(line) for line in lines]))


def document(runs: list[Any]) -> str:
    """The text of docs/reliability.md."""
    by_fault: dict[str, list[Any]] = defaultdict(list)
    for one in runs:
        for name in one["faults"]:
            struck = [each for each in one.get("struck", ()) if each["name"] == name]
            by_fault[name + (" --full" if one["full"] else "")].append(one | {"struck": struck})
    of = runs[-1]["machine"]
    made = [one for one in runs if "skipped" not in one]
    commits = sorted({one["commit"] for one in runs})
    averages = [one["machine"]["load_average_before"][0] for one in runs]
    measured = (
        f"Measured: {len(made)} runs, {sum(one['answered'] for one in made):,} records answered, {sum(one['events'] for one in made):,} "
        f"events and {sum(one['commands'] for one in made):,} Disconnect-Requests; commit {', '.join(commits)}; {of['cores']} cores, "
        f"{of['system']}, Python {of['python']}, Kafka {of['kafka']}. The machine was shared: other work ran on it at the same time (load "
        f"average {min(averages):.1f} to {max(averages):.1f} after the runs), so times are upper bounds.\n"
    )
    faults = "".join(f"* `{name}`: {fault.what}\n" for name, fault in FAULTS.items())
    words = _WORDS.format(memory=MEMORY_MAX_MIB)
    return "\n".join(
        [_HEAD, measured, _how_many(by_fault), _table(by_fault), _EARLIER, words, _notes(made), "## What each fault does\n", faults, _TAIL]
    )


def _notes(made: list[Any]) -> str:
    """What the faults themselves measured."""
    values: dict[str, list[float]] = defaultdict(list)
    for one in made:
        for what, its in one.get("notes", {}).items():
            values[what].extend(its)
    lines = [f"| {what} | {len(its)} | {min(its):g} | {median(its):g} | {max(its):g} |" for what, its in values.items()]
    return (
        "\n".join(["| measured by the faults | times | least | median | most |", "|---|---|---|---|---|", *lines]) + "\n" if lines else ""
    )


def _how_many(by_fault: dict[str, list[Any]]) -> str:
    """How many seeds ran, as it is."""
    counts = Counter(EARLIER_SEEDS.get(name, 0) + len(_seeds(by_fault.get(name, ()))) for name in FAULTS)
    ran = ", ".join(f"{faults} with {_count(seeds)}" for seeds, faults in sorted(counts.items()))
    if min(counts) >= SEEDS_WANTED:
        return f"Each fault ran with {SEEDS_WANTED} seeds or more, the earlier ones counted that stand below the table.\n"
    return (
        f"**Not done yet:** each fault is to run with {SEEDS_WANTED} seeds, and they did not; of the {len(FAULTS)} faults: {ran}, the "
        f"earlier ones counted that stand below the table. A zero is a zero of so many runs and no more; it says little of what happens "
        f"once in {SEEDS_WANTED} times.\n"
    )


def _count(seeds: int) -> str:
    return "none" if seeds == 0 else "one seed" if seeds == 1 else f"{seeds} seeds"


def _seeds(runs: Collection[Any]) -> list[int]:
    return sorted({one["seed"] for one in runs if "skipped" not in one})


def _ranges(seeds: Sequence[int]) -> str:
    """1, 2, 3, 5 as 1-3, 5."""
    first_of: dict[int, list[int]] = defaultdict(list)
    for place, seed in enumerate(seeds):
        first_of[seed - place].append(seed)
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in first_of.values())


def _table(by_fault: dict[str, list[Any]]) -> str:
    heads = ["fault", "runs", "seeds", *SHOWN.values(), "broken for, s: median (most)", "back after, s: median (most)"]
    heads.append(f"most memory of a part, MiB (of {MEMORY_MAX_MIB})")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in [*(one for one in FAULTS if one in by_fault), *(one for one in by_fault if one not in FAULTS)]:
        made = [one for one in by_fault[name] if "skipped" not in one]
        if not made:
            lines.append(f"| {name} | skipped: {by_fault[name][0]['skipped']} |" + " |" * (len(heads) - 2))
            continue
        failed = sum("failed" in one for one in made)
        counts = [str(sum(len(one.get("findings", {}).get(key, ())) for one in made)) for key in SHOWN]
        took = [struck["took_s"] for one in made for struck in one["struck"]]
        back = [struck["back_s"] for one in made for struck in one["struck"]]
        peak = max((peak for one in made for peak in one.get("peaks_mib", {}).values()), default=0)
        times = [f"{median(each):.1f} ({max(each):.1f})" if each else "" for each in (took, back)]
        runs = f"{len(made)} ({failed} failed)" if failed else str(len(made))
        lines.append("| " + " | ".join([name, runs, _ranges(_seeds(made)), *counts, *times, str(peak)]) + " |")
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
make chaos ARGS=--write                 # adds its runs to docs/reliability.jsonl, and writes this document from all of them
```

A run that failed leaves its topics as JSON lines and the logs of all parts under `var/chaos/`. A fault that a machine cannot make (no root
to mount a small disk, no libfaketime of deploy/chaos-packages.txt, no Redis) is skipped with the reason. `make test` makes every
fault once, most of them one after the other in one run, with half the load (`tests/broker/test_chaos_smoke.py`).
"""

_EARLIER = """Before these, on commits from 120032f to be4c995, there were 58 runs of which only their sums were kept: 832,128 records
answered, 1,768,101 events, 179,396 Disconnect-Requests. The ten faults of projector, Redis, broker, topic and garbage had 10 seeds there,
`leader-away` and `disk-full` 9, all others 20: from 20 to 62, and for each fault other seeds than in the table. Every column was 0 but
for two outcomes that were doubled with seed 56 (a kicker killed between two writes), and one run over projector, Redis and broker did not
come to its end; both were repaired. A zombie was frozen for 8 to 25 s and had its writes to all 4 partitions refused, 20 times of 20.
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
* A worker ended that asked for a coordinator while Kafka told of no broker (an assertion of the client's). Two runs as a scene began, with
  seed 62, on a machine that had no time for them.
* A projector that was told to end went on until it was killed, since the Redis client had swallowed the order: one of some five.
* A projector that started under load left out rows that a checkpoint wrote while it read the table to its end: seen once.
* A command that ended while a rebalance gave its partition to the same kicker again had two final results.
* A worker ended whose restore asked for offsets of a Kafka that was just coming back.
* A stranger's key in `session.table` that is no UTF-8 put every worker into a loop of crashes.
"""
