"""The ingest with Kafka away: records keep coming at a rate, none can be answered, and its memory has to stay where it is.

Kafka is a second one of this part's own, stopped in earnest and started again on its data.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from agents.broker import EmbeddedBroker, pick_free_port
from bench.freeradius import FreeRadius
from bench.report import Report, megabytes
from bench.rig import Child, FailedError, Rig

WINDOW = 16_384
BACK_WITHIN_S = 120.0
SAMPLE_EVERY_S = 1.0
BESIDE_S_MAX = 5.0
"""How long it is loaded before and after, at most."""
SETTLED_SHARE = 0.2
"""After this share of the time all queues have been full for long."""
FLAT = 1.05


async def measure(rig: Rig) -> Report:
    """Load, Kafka away for a while under load, Kafka back."""
    broker = EmbeddedBroker(rig.directory / "kafka-away", port=await asyncio.to_thread(pick_free_port), heap_mib=512)
    sizes, port = rig.sizes, pick_free_port()
    beside_s = min(BESIDE_S_MAX, sizes.away_s / 6)
    async with broker:
        own = rig.beside(broker.bootstrap, broker.pid or 0)
        config, _ = await own.installation("away", port=port)
        ingest = own.part("ingest", config)
        ingest.start()
        try:
            await ingest.ready()
            before = await own.send(port, window=WINDOW, seconds=beside_s, rate=sizes.away_rate)
            settled = ingest.resident_octets()
            await broker.stop()
            away, octets = await while_sampled(ingest, own.send(port, window=WINDOW, seconds=sizes.away_s, rate=sizes.away_rate))
            await broker.start()
            back_s = await _until_answered(own, port)
            after = await own.send(port, window=WINDOW, seconds=beside_s, rate=sizes.away_rate)
        finally:
            await ingest.stop()
    return _report(rig, {"before": before, "away": away, "after": after}, settled, octets, back_s)


async def while_sampled(child: Child | FreeRadius, load: Awaitable[Any]) -> tuple[Any, list[int]]:
    """What the load gives, and the memory that a process held meanwhile, in octets, once a second."""
    loading, octets = asyncio.ensure_future(load), []
    while not loading.done():
        octets.append(child.resident_octets())
        await asyncio.wait({loading}, timeout=SAMPLE_EVERY_S)
    return loading.result(), octets


async def _until_answered(rig: Rig, port: int) -> float:
    """Seconds from Kafka's return to the first answer.

    Raises:
        FailedError: there was none.
    """
    began_s = time.monotonic()
    while time.monotonic() - began_s < BACK_WITHIN_S:
        one = await rig.send(port, window=64, seconds=0.5, rate=100)
        if one["packets"]:
            return time.monotonic() - began_s
    raise FailedError(f"with Kafka back for {BACK_WITHIN_S:.0f} s the ingest answers nothing")


def _report(rig: Rig, loads: dict[str, Any], settled: int, octets: list[int], back_s: float) -> Report:
    later = octets[int(len(octets) * SETTLED_SHARE) :]
    growth = max(later) / later[0]
    rows = []
    for name, one in loads.items():
        p99 = f"{one['p99_ms']:.1f}" if one["packets"] else "-"
        rows.append((name, f"{one['sent'] / one['seconds']:,.0f}", f"{one['packets'] / one['sent']:.1%}", p99))
    said = "flat" if growth <= FLAT else "NOT flat"
    notes = [
        (
            f"memory of the ingest: {megabytes(settled)} before, {megabytes(max(octets))} at most while Kafka was away, of it"
            f" {growth - 1:.1%} after the first fifth of the time: {said}"
        ),
        f"the first answer came {back_s:.1f} s after Kafka was back",
    ]
    data = {"loads": loads, "settled_octets": settled, "octets": octets, "growth": growth, "is_flat": growth <= FLAT, "back_s": back_s}
    title = f"The ingest with Kafka away for {rig.sizes.away_s:g} s at {rig.sizes.away_rate:,}/s"
    return Report(title, ("Kafka", "sent/s", "answered", "p99 ms"), rows, notes, data)
