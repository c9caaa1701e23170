"""Time as the journal tells it: a partition's clock and the talking clock of each NAS. Pure functions from row to row.

Durations are sums of tick-to-tick differences of one ingest's monotonic clock, each capped, so that an hour's jump, an outage of
anything or a backlog ages nobody; clocks of two machines are never subtracted. A NAS's clock advances only up to the last packet heard
from it: its sessions wait while it is silent (behaviour 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from schemas.journal import Tick
from schemas.session import IngestClock, NasRow, PartitionRow

CAP_TICKS = 5
"""A difference between two ticks counts for at most so many tick periods."""
TAKEOVER_TICKS = 10
"""An ingest that missed so many ticks is followed no longer."""
INGESTS_MAX = 256
PATIENCE_MS = 900_000
"""A NAS whose interim interval is not known yet is called silent after so long."""


def advanced(row: PartitionRow, tick: Tick) -> tuple[PartitionRow, list[str]]:
    """The partition's row after a tick, and the ingests that fell silent with it (forgotten: whoever followed one changes over)."""
    before = row.ingests.get(tick.ingest)
    delta = 0 if before is None else max(0, min(tick.mono_ms - before.mono_ms, CAP_TICKS * tick.period_ms))
    elapsed = delta if before is None else before.elapsed_ms + delta
    takeover_ms = TAKEOVER_TICKS * tick.period_ms
    leader = row.leader
    if leader not in row.ingests or (before is not None and elapsed - before.leader_ms > takeover_ms):
        leader = tick.ingest
    leads = leader == tick.ingest
    clock_ms = row.clock_ms + delta if leads else row.clock_ms
    ingests = dict(row.ingests)
    ingests[tick.ingest] = IngestClock(tick.mono_ms, elapsed, clock_ms, elapsed if before is None or leads else before.leader_ms)
    if leads:
        ingests = {name: i if i.leader_ms == i.elapsed_ms else replace(i, leader_ms=i.elapsed_ms) for name, i in ingests.items()}
    gone = [name for name, i in ingests.items() if clock_ms - i.ticked_ms > takeover_ms]
    if len(ingests) - len(gone) > INGESTS_MAX:
        others = (n for n in ingests if n not in gone and n not in (leader, tick.ingest))
        gone += sorted(others, key=lambda n: ingests[n].ticked_ms)[:1]
    for name in gone:
        del ingests[name]
    wall_ms = tick.wall_ms if leads else row.wall_ms
    return replace(row, clock_ms=clock_ms, wall_ms=wall_ms, period_ms=tick.period_ms, leader=leader, ingests=ingests), gone


def began(nas: NasRow, ingest: str, elapsed_ms: int, window_ms: int | None = None) -> NasRow:
    """The NAS began to talk through an ingest (or that ingest's full list says so).

    Args:
        nas: its row.
        ingest: which.
        elapsed_ms: on that ingest's clock.
        window_ms: within which it is heard again, 0: not known; None: nothing was said of that.
    """
    window_ms = nas.window_ms if window_ms is None else window_ms
    if ingest not in nas.talks:
        talks = {**nas.talks, ingest: elapsed_ms}
        follows = nas.follows or ingest
        return replace(nas, follows=follows, talks=talks, window_ms=window_ms, unheard_ms=None, silent=False, asked=0, ceased_by="")
    return nas if window_ms == nas.window_ms else replace(nas, window_ms=window_ms)


def heard(nas: NasRow, ingest: str, elapsed_ms: int, silent_ms: int) -> NasRow:
    """The NAS was heard `silent_ms` before that ingest's elapsed time: its clock advances to there if it follows this ingest."""
    if ingest not in nas.talks:
        return began(nas, ingest, elapsed_ms)
    counted_ms, until_ms = nas.talks[ingest], elapsed_ms - silent_ms
    if until_ms <= counted_ms:
        return nas
    clock_ms = nas.clock_ms + until_ms - counted_ms if nas.follows == ingest else nas.clock_ms
    return replace(nas, clock_ms=clock_ms, talks={**nas.talks, ingest: until_ms})


def ceased(nas: NasRow, ingest: str, elapsed_ms: int, silent_ms: int, ingests: Mapping[str, IngestClock]) -> NasRow:
    """The NAS ceased to talk through an ingest; it is measured by another one if that hears it (`ingests`: as for `forgotten`)."""
    if ingest not in nas.talks:
        return nas
    return forgotten(heard(nas, ingest, elapsed_ms, silent_ms), ingest, ingests)


def forgotten(nas: NasRow, ingest: str, ingests: Mapping[str, IngestClock]) -> NasRow:
    """The ingest is gone, or hears the NAS no longer; what it had counted stays counted, and no other one counts it again.

    Args:
        nas: its row.
        ingest: which.
        ingests: their clocks, also of those that are gone with this tick.
    """
    if ingest not in nas.talks and nas.follows != ingest:
        return nas
    talks = {name: counted for name, counted in nas.talks.items() if name != ingest}
    follows = nas.follows if nas.follows != ingest else min(talks, default="")
    if follows in talks and follows != nas.follows and ingest in nas.talks:
        talks[follows] = max(talks[follows], _on_another(ingests, ingest, nas.talks[ingest], follows))
    return replace(nas, follows=follows, talks=talks)


def _on_another(ingests: Mapping[str, IngestClock], ingest: str, elapsed_ms: int, another: str) -> int:
    """Where another ingest's elapsed clock stood when this one's stood there; rather too late than too early, by the last ticks of both."""
    one, other = ingests.get(ingest), ingests.get(another)
    if one is None or other is None:
        return 0
    return other.elapsed_ms - (other.ticked_ms - one.ticked_ms) - (one.elapsed_ms - elapsed_ms)


def unheard(nas: NasRow, since_ms: int) -> NasRow:
    """No ingest hears the NAS, since then on the partition's clock; what is known already stays."""
    return nas if nas.talks or nas.unheard_ms is not None else replace(nas, unheard_ms=since_ms)


def muted(nas: NasRow, before: NasRow | None, ingest: str, row: PartitionRow, silent_ms: int) -> NasRow:
    """Where no ingest hears the NAS any more: which one was the last, and since when on the partition's clock.

    Args:
        nas: its row after the tick of that ingest.
        before: its row before that.
        ingest: whose tick it was.
        row: the partition's after it.
        silent_ms: how long the NAS had not been heard, as that tick says.
    """
    if nas.talks or before is None or ingest not in before.talks:
        return nas
    uncounted_ms = min(silent_ms, row.ingests[ingest].elapsed_ms - before.talks[ingest])
    return replace(nas, ceased_by=ingest, since_ms=row.clock_ms - uncounted_ms, asked=0)


def dated(nas: NasRow, row: PartitionRow) -> NasRow:
    """Something was dated on the clock of a NAS that no ingest hears: time before that may not be added to the clock after it."""
    return replace(nas, since_ms=row.clock_ms)


def asked(nas: NasRow, row: PartitionRow, offset: int) -> NasRow:
    """The NAS is asked whether it talks, at this offset. A question before it that was never answered vouches for no time."""
    since_ms = max(nas.since_ms, nas.asked_ms) if nas.asked > 0 else nas.since_ms
    return replace(nas, asked=offset, asked_ms=row.clock_ms, since_ms=since_ms)


def answered(nas: NasRow) -> NasRow:
    """The NAS answered: it talked until it was asked, as far back as it was heard, or had answered, or was asked in vain."""
    clock_ms = nas.clock_ms + max(0, nas.asked_ms - nas.since_ms)
    unheard_ms = None if nas.unheard_ms is None else max(nas.unheard_ms, nas.asked_ms)
    since_ms = max(nas.since_ms, nas.asked_ms)
    return replace(nas, clock_ms=clock_ms, since_ms=since_ms, unheard_ms=unheard_ms, silent=False, asked=0)


def silent_at_ms(nas: NasRow) -> int | None:
    """When the NAS is to be called silent as a whole, on the partition's clock (behaviour 3.5); None: it talks, or that was told."""
    return None if nas.unheard_ms is None or nas.silent else nas.unheard_ms + (nas.window_ms or PATIENCE_MS)


def heard_now_ms(nas: NasRow | None, row: PartitionRow) -> int:
    """Where a NAS's talking clock will stand at most when the packet that lies between two ticks is counted.

    A session heard now is dated to this, never to the clock's last reading: an estimate too late finds the dead a tick later, one too early
    kicks the living. Whichever ingest hears the NAS may measure it by then: the one that it follows may have died since.
    """
    if nas is None:
        return 2 * row.period_ms
    uncounted_ms, followed_ms = 0, nas.talks.get(nas.follows)
    for name, counted_ms in nas.talks.items():
        ingest = row.ingests.get(name)
        if ingest is None:
            continue
        if name != nas.follows and followed_ms is not None:
            counted_ms = max(counted_ms, _on_another(row.ingests, nas.follows, followed_ms, name))  # noqa: PLW2901 - as `forgotten` does
        uncounted_ms = max(uncounted_ms, ingest.elapsed_ms - counted_ms)
    return nas.clock_ms + uncounted_ms + 2 * row.period_ms
