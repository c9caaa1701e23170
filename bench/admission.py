"""The question before a login beside accounting at full rate, as in production: who is asked has the same two cores as all else.

Measured against `/healthz` of the same part at the same rate in the same run: what HTTP itself takes here. The load and the questions come
from small programs in C, and where the cores' time went is told, so that what is slow is seen to be the product or not.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.broker import pick_free_port
from bench.report import Report, show_profile
from bench.rig import ROOT, Child, FailedError, Rig, cpu_s_of, run_to_end

PARTS = ("ingest", "worker", "projector")
TOKEN = "bench"
ASKED_SHARE = 0.6
"""Questions for each accounting record: 2,000 beside 3,333."""
P99_MS = 10
POLICY = '[[limit]]\nname = "two-devices"\napplies_to = "user"\nmax_sessions = 2\n'
USERS = 1_000
"""Who log in, report and log out meanwhile: so few that Starts, Interims and Stops are mixed at all times."""
WINDOW = 8192
"""Records of the open loop that may be outstanding: more than two seconds of them."""
MACHINE = "all of the machine"


async def measure(rig: Rig) -> Report:
    """Accounting at the highest rate, and beside it health, then questions."""
    port, rate = pick_free_port(), rig.sizes.rates[-1]
    asked = round(rate * ASKED_SHARE)
    program = rig.compile("asking")
    children: list[Child] = []
    figures: dict[str, Any] = {}
    try:
        config, _ = await rig.installation("admission", port=port)
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
            figures[name] = await _beside(rig, port, children, [str(program), *_socket_and_rate(rig, asked), *words])
    finally:
        for child in children:
            await child.stop()
    if any(set(figure["statuses"]) != {"200"} for figure in figures.values()):
        raise FailedError(f"not every question was answered: {figures}")
    if rig.profile:
        show_profile("profile of the projector", rig.samples("admission-projector"))
    return _report(rig, rate, asked, figures)


def _socket_and_rate(rig: Rig, asked: int) -> list[str]:
    return [os.path.relpath(rig.directory / "admission-projector.sock", ROOT), str(asked), str(rig.sizes.measured_s)]


async def _beside(rig: Rig, port: int, children: Sequence[Child], asking: list[str]) -> dict[str, Any]:
    """Ask beside the accounting; what the asking found, and of each part the share of a core that it took meanwhile."""

    def used() -> dict[str, float]:
        parts = {name: child.cpu_s() for name, child in zip(PARTS, children, strict=True)}
        return parts | {"Kafka": cpu_s_of(rig.broker), MACHINE: _busy_s(), "": time.perf_counter()}

    sizes = rig.sizes
    seconds = sizes.warm_s + sizes.measured_s
    load = asyncio.create_task(rig.send(port, window=WINDOW, seconds=seconds, rate=sizes.rates[-1], users=USERS))
    await asyncio.sleep(sizes.warm_s / 2)
    warm = used()
    await asyncio.sleep(sizes.warm_s / 2)
    began = used()
    figure: dict[str, Any] = await run_to_end(asking)
    ended = used()
    accounted = await load
    shares, unasked = _shares(began, ended), _shares(warm, began)
    took_s = ended[""] - began[""]
    figure["us_each"] = (shares["projector"] - unasked["projector"]) * took_s * 1e6 / sum(figure["statuses"].values())
    whole = shares.pop(MACHINE)
    shares |= {"load": accounted["cpu_s"] / seconds, "asking": figure["cpu_s"] / took_s, MACHINE: whole}
    return figure | {"shares": shares, "unasked": unasked, "unanswered_records": accounted["unanswered"], "records": accounted["sent"]}


def _shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU time by the time that passed."""
    return {name: (after[name] - before[name]) / (after[""] - before[""]) for name in before if name}


def _busy_s() -> float:
    """The time that the machine's cores have not been idle, all together (proc(5), /proc/stat: idle is the fourth, iowait the fifth)."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(ticks) for number, ticks in enumerate(fields) if number not in (3, 4)) / os.sysconf("SC_CLK_TCK")


def _report(rig: Rig, rate: int, asked: int, figures: dict[str, Any]) -> Report:
    rows = [
        (
            name,
            f"{figure['per_second']:,.0f}",
            *(f"{figure[key]:.1f}" for key in ("p50", "p90", "p99", "max")),
            f"{figure['shares']['projector']:.0%}",
            f"{figure['us_each']:.0f}",
        )
        for name, figure in figures.items()
    ]
    columns = ("latency in milliseconds, from when it was due", "asked/s", "p50", "p90", "p99", "max", "of a core", "us each")
    p99_ms = figures["/v1/admission"]["p99"]
    notes = [f"{asked:,} questions/s, p99: {p99_ms:.1f} ms, aimed at {P99_MS}: {'within' if p99_ms <= P99_MS else 'NOT within'}"]
    notes += [f"shares of a core beside {name}: {_told(figure['shares'])}" for name, figure in figures.items()]
    notes.append(f"and with nobody asking: {_told(figures['/v1/admission']['unasked'])}")
    notes.append("us each: the projector's CPU time for a question, less what it takes with nobody asking")
    left = sum(figure["unanswered_records"] for figure in figures.values())
    notes.append(f"of {sum(figure['records'] for figure in figures.values()):,} accounting records {left:,} were not answered")
    title = f"The question before a login beside {rate:,} records/s ({rig.sizes.measured_s:g} s measured)"
    return Report(title, columns, rows, notes, {"rate": rate, "asked": asked, "figures": figures})


def _told(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
