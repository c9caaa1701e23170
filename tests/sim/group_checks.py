"""What must hold of groups, whatever happens: the group agents' slots are the session agents', and `group.slots` gives the same again."""

from __future__ import annotations

from collections import defaultdict

from schemas.session import SESSION_ROW
from schemas.topics import ACCOUNTING
from streams.step import Output
from tests.sim.checks import Broken
from tests.sim.system import GroupWorker, Stored, System
from tests.support.groups import holdings


class GroupChecks:
    """The laws of one system's groups.

    Attributes:
        latest_ms: the latest time of day that a partition of the journal has shown: ingests' clocks are set back.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self.latest_ms = 0
        self._outputs: dict[int, dict[int, list[Output]]] = defaultdict(dict)

    def applied(self, worker: GroupWorker, offset: int, stored: Stored, out: list[Output]) -> None:
        """A record was applied, perhaps again after a crash: then what follows is the same."""
        if self._outputs[worker.partition].setdefault(offset, list(out)) != out:
            raise Broken("group-again", f"record {offset} of partition {worker.partition} ({stored.value!r}): {out}")
        if any(output.topic != ACCOUNTING.name for output in out):
            raise Broken("nothing-rejected", str(out))

    def at_the_end(self) -> None:
        """All is quiet: nobody waits for an answer, and whoever has a slot has it in both tables."""
        said: set[tuple[str, str, str]] = set()
        for worker in self._system.workers:
            for key, packed in worker.core.table.rows.items():
                row = SESSION_ROW.unpacked(packed)
                said |= {(group, row.identity, key) for group in row.slots}
                if row.asked:
                    raise Broken("asked-for-ever", f"{key} of {row.identity} waits for {row.asked}")
        rows = [
            row for worker in self._system.group_workers for row in map(worker.core.table.row, worker.core.table.rows) if row is not None
        ]
        held = {(row.group, row.identity, row.session) for row in rows}
        if held != said:
            raise Broken("slots-agree", f"only the group agents have {sorted(held - said)}, only the session agents {sorted(said - held)}")
        if drift := [row for worker in self._system.group_workers for row in worker.core.table.groups.values() if row.drift]:
            raise Broken("no-drift", str(drift))
        self._same_spent()

    def _same_spent(self) -> None:
        """What is spent of a group's quota all partitions know, unless one of them has closed the window before: once closed is closed."""
        rows, now_ms = [worker.core.row for worker in self._system.workers], self.latest_ms
        known = [{(each.rule, each.group, each.until_ms, each.used) for each in row.spent if now_ms < each.until_ms} for row in rows]
        if any(each != known[0] for each in known):
            raise Broken("spent-agrees", str(known))
        windows = [window for worker in self._system.group_workers for row in worker.core.table.groups.values() for window in row.windows]
        told = {(each.rule, each.group) for each in rows[0].spent}
        if missing := [w for w in windows if w.reached and now_ms < w.until_ms and (w.rule, w.group) not in told]:
            raise Broken("spent-told", str(missing))

    def same_again(self, partition: int, cuts: list[int]) -> None:
        """A partition of `group.slots` from its first record, cut at these offsets, gives the same outputs and the same rows."""
        replayed = GroupWorker(partition, self._system.partitions)
        for offset, stored in enumerate(self._system.slots[partition]):
            if offset in cuts:
                replayed.checkpoint()
                replayed.restore()
            out: list[Output] = []
            replayed.core.apply(offset, stored.kind, stored.key, stored.value, out)
            self.applied(replayed, offset, stored, out)
        if holdings(replayed.core) != holdings(self._system.group_workers[partition].core):
            raise Broken("same-rows", f"groups, partition {partition}, cut at {cuts}")
