"""Twice what a server can take: it answers for what it takes, in bounded memory and time, and is as before when the flood ends.

The capacity is found first, in a closed loop at the best window; FreeRADIUS with its flat file gets twice its own, in the same run.
"""

from typing import Any

from agents.broker import pick_free_port
from bench.away import while_sampled
from bench.freeradius import FreeRadius
from bench.report import Report, megabytes
from bench.rig import Child, Rig

OPEN_WINDOW = 32_768
AFTER_S = 10.0
AFTER_SHARE = 0.5
RECOVERED_SHARE = 0.95
COLUMNS = ("server", "can/s", "offered/s", "answered/s", "x can", "p50 ms", "p99 ms", "MiB before", "MiB at most", "recovered after")


async def measure(rig: Rig) -> Report:
    """Each server in turn."""
    port, peer = pick_free_port(), FreeRadius(rig)
    config, _ = await rig.installation("overload", port=port)
    ingest = rig.part("ingest", config)
    found = {}
    try:
        ingest.start()
        await ingest.ready()
        found["curfew"] = await _flooded(rig, port, ingest)
        await peer.start()
        if not peer.why_not:
            found["freeradius"] = await _flooded(rig, peer.port, peer)
    finally:
        await ingest.stop()
        await peer.stop()
    titles = {"curfew": "curfew ingest, Kafka acks=all", "freeradius": peer.title}
    rows = [_row(titles[name], one) for name, one in found.items()]
    notes = [
        f"offered: twice of what it can take; what has no answer when {OPEN_WINDOW:,} others have been sent is given up",
        f"recovered: from that second on at least {RECOVERED_SHARE:.0%} of {AFTER_SHARE:.0%} of the capacity are answered",
        *([f"not measured: {peer.why_not}"] if peer.why_not else []),
    ]
    title = f"Load at twice the capacity ({rig.sizes.overload_s:g} s, open loop)"
    return Report(title, COLUMNS, rows, notes, {"servers": found, "titles": titles})


async def _flooded(rig: Rig, port: int, server: Child | FreeRadius) -> dict[str, Any]:
    can_s = max([(await rig.send(port, window=window, seconds=rig.sizes.ingest_s))["packets_s"] for window in rig.sizes.windows])
    before = server.resident_octets()
    flood = rig.send(port, window=OPEN_WINDOW, seconds=rig.sizes.overload_s, rate=2 * can_s)
    flooded, octets = await while_sampled(server, flood)
    rate = AFTER_SHARE * can_s
    after = await rig.send(port, window=OPEN_WINDOW, seconds=min(AFTER_S, rig.sizes.overload_s), rate=rate)
    return {
        "can_s": can_s,
        "offered_s": flooded["sent"] / flooded["seconds"],
        "flooded": flooded,
        "before_octets": before,
        "octets": octets,
        "after": after,
        "recovered_s": recovered_after_s(after["each_second"], rate),
    }


def recovered_after_s(each_second: list[int], rate: float) -> int | None:
    """After how many seconds all further ones have what arrives in them answered; the last is not over and does not count."""
    whole = each_second[:-1]
    late = [second for second, answered in enumerate(whole) if answered < RECOVERED_SHARE * rate]
    after_s = late[-1] + 1 if late else 0
    return after_s if after_s < len(whole) else None


def _row(title: str, one: dict[str, Any]) -> list[str]:
    flooded = one["flooded"]
    recovered = "-" if one["recovered_s"] is None else f"{one['recovered_s']} s"
    rates = [f"{rate:,.0f}" for rate in (one["can_s"], one["offered_s"], flooded["packets_s"])]
    rates.append(f"{flooded['packets_s'] / one['can_s']:.2f}")
    latency = [f"{flooded['p50_ms']:.1f}", f"{flooded['p99_ms']:.1f}"]
    return [title, *rates, *latency, megabytes(one["before_octets"]), megabytes(max(one["octets"])), recovered]
