"""The question before a login beside accounting at full rate, as in production: who is asked has the same two cores as all else.

Measured against `/healthz` of the same part at the same rate in the same run: what HTTP itself takes here.
"""

import asyncio
import os
import sys
from typing import Any

from bench.network import Network
from bench.report import Report, show_profile
from bench.rig import ROOT, FailedError, Rig, free_port, run_to_end

PARTS = ("ingest", "worker", "projector")
TOKEN = "bench"
ASKED_SHARE = 0.6
"""Questions for each accounting record: 2,000 beside 3,333."""
P99_MS = 10
POLICY = '[[limit]]\nname = "two-devices"\napplies_to = "user"\nmax_sessions = 2\n'


async def measure(rig: Rig) -> Report:
    """Accounting at the highest rate, and beside it health, then questions."""
    port = free_port()
    network = Network(port)
    rate, sizes = rig.sizes.rates[-1], rig.sizes
    asked = round(rate * ASKED_SHARE)
    children = []
    figures: dict[str, Any] = {}
    try:
        config, _ = await rig.installation("admission", port=port, nas="\n".join(nas.toml() for nas in network.nases))
        with config.open("a") as file:
            file.write(f'[http]\ntoken = "{TOKEN}"\n')
        children = [rig.part(name, config, sampled=rig.profile) for name in PARTS]
        for child in children:
            child.start()
        for child in children:
            await child.ready()
        policy = rig.directory / "admission-policy.toml"
        policy.write_text(POLICY)
        await run_to_end(rig.command("policy", "agents.cli", "policy", "apply", str(policy), "--config", str(config), "--json"))
        for name, words in {"/healthz": ("/healthz",), "/v1/admission": ("/v1/admission", TOKEN)}.items():
            accounting = asyncio.create_task(network.run(rate, sizes.warm_s, sizes.measured_s, straggle_s=1.0))
            await asyncio.sleep(sizes.warm_s)
            cpu_s = children[-1].cpu_s()
            asking = _asking(rig, asked, *words)
            figures[name] = await run_to_end(asking)
            figures[name]["cpu_share"] = (children[-1].cpu_s() - cpu_s) / sizes.measured_s
            await accounting
    finally:
        network.close()
        for child in children:
            await child.stop()
    if any(set(figure["statuses"]) != {"200"} for figure in figures.values()):
        raise FailedError(f"not every question was answered: {figures}")
    if rig.profile:
        show_profile("profile of the projector", rig.samples("admission-projector"))
    return _report(rig, rate, asked, figures)


def _asking(rig: Rig, asked: int, *words: str) -> list[str]:
    socket = os.path.relpath(rig.directory / "admission-projector.sock", ROOT)
    return [sys.executable, "-m", "bench.asking", socket, str(asked), str(rig.sizes.measured_s), *words]


def _report(rig: Rig, rate: int, asked: int, figures: dict[str, Any]) -> Report:
    rows = [
        (
            name,
            f"{figure['per_second']:,.0f}",
            *(f"{figure[key]:.1f}" for key in ("p50", "p90", "p99", "max")),
            f"{figure['cpu_share']:.0%}",
        )
        for name, figure in figures.items()
    ]
    columns = ("latency in milliseconds, from when it was due", "asked/s", "p50", "p90", "p99", "max", "of a core")
    p99_ms = figures["/v1/admission"]["p99"]
    notes = [f"{asked:,} questions/s, p99: {p99_ms:.1f} ms, aimed at {P99_MS}: {'within' if p99_ms <= P99_MS else 'NOT within'}"]
    title = f"5. The question before a login beside {rate:,} records/s ({rig.sizes.measured_s:g} s measured)"
    return Report(title, columns, rows, notes, {"rate": rate, "asked": asked, "figures": figures})
