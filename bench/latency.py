"""From an accounting packet to the Disconnect-Request at the NAS's port, with the whole product running as in production.

Measured against the bare Kafka round trip, which the way contains twice: packet -> journal -> worker -> commands -> kicker -> request.
And the same breaches by a group's limit, which is two hops more: worker -> group.slots -> group agent -> journal -> worker.
"""

import gc
import subprocess
from typing import Any

from bench import round_trip
from bench.network import Breach, Network
from bench.report import Report, quantiles, show_profile, verdict
from bench.rig import ROOT, FailedError, Rig, free_port, own_environment

SKETCH_MS = 5
PARTS = ("ingest", "worker", "kicker")
GROUP_ADDS_MS = 10
POLICIES = {
    "user": '[[limit]]\nname = "one-device"\napplies_to = "user"\nmax_sessions = 1\nvictim = "newest"\n',
    "group": '[[limit]]\nname = "one-in-group"\napplies_to = "group"\nmax_sessions = 1\nvictim = "newest"\n'
    '[[membership]]\nattribute = "User-Name"\npattern = "(?P<group>.+)"\n',
}
"""The same people breach at the same moments; by the second each is a group of his own."""
STAGES = {
    "requested": "packet in -> Disconnect-Request",
    "answered": "  of it: -> durable and answered",
    "decided": "  of it: answered -> request",
}


async def measure(rig: Rig) -> Report:
    """Each rate: the bare round trip, then the product."""
    port = free_port()
    network = Network(port)
    figures: dict[int, dict[str, Any]] = {}
    children = []
    sizes = rig.sizes
    try:
        config, configuration = await rig.installation("latency", port=port, nas="\n".join(nas.toml() for nas in network.nases))
        children = [rig.part(name, config, sampled=rig.profile) for name in PARTS]
        for child in children:
            child.start()
        for child in children:
            await child.ready()
        gc.collect()
        gc.freeze()
        gc.disable()
        for rate in sizes.rates:
            bare = await round_trip.measure(configuration, rate, sizes.warm_s / 2, sizes.measured_s / 2)
            _publish(rig, str(config), POLICIES["user"])
            figures[rate] = _figures(await network.run(rate, sizes.warm_s, sizes.measured_s), bare)
            _publish(rig, str(config), POLICIES["group"])
            figures[rate]["by_group"] = _figures(await network.run(rate, sizes.warm_s, sizes.measured_s), bare)
        told = {name: getattr(network, name) for name in ("unanswered", "given_up", "not_believed", "false", "repeated")}
    finally:
        gc.enable()
        network.close()
        for child in children:
            await child.stop()
    if told["false"] or told["not_believed"] > told["given_up"]:
        raise FailedError(f"somebody was disconnected who had not to be, or an answer was not to be believed: {told}")
    profile = {name: show_profile(f"profile of the {name} (all rates)", rig.samples(f"latency-{name}")) for name in PARTS if rig.profile}
    return _report(rig, figures, told, profile)


def _publish(rig: Rig, config: str, policy: str) -> None:
    file = rig.directory / "latency-policy.toml"
    file.write_text(policy)
    command = rig.command("policy", "agents.cli", "policy", "apply", str(file), "--config", config)
    done = subprocess.run(command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise FailedError(f"the policy was not taken: {done.stdout}{done.stderr}")


def _figures(breaches: list[Breach], bare: list[float]) -> dict[str, Any]:
    answered = [breach for breach in breaches if breach.answered_ns]
    done = [breach for breach in answered if breach.requested_ns]
    return {
        "breaches": len(breaches),
        "without_request": len(breaches) - sum(breach.requested_ns > 0 for breach in breaches),
        "requested": quantiles([(breach.requested_ns - breach.sent_ns) / 1e6 for breach in done]),
        "answered": quantiles([(breach.answered_ns - breach.sent_ns) / 1e6 for breach in answered]),
        "decided": quantiles([(breach.requested_ns - breach.answered_ns) / 1e6 for breach in done]),
        "round_trip": quantiles(bare),
    }


def _report(rig: Rig, figures: dict[int, dict[str, Any]], told: dict[str, int], profile: dict[str, list[str]]) -> Report:
    rows, notes = [], []
    for rate, figure in figures.items():
        bare = figure["round_trip"]
        by_group = figure["by_group"]
        titles = {**STAGES, "by_group": "the same, by a group's limit", "round_trip": "bare Kafka round trip, same rate"}
        for name, title in titles.items():
            some = by_group["requested"] if name == "by_group" else figure[name]
            if not some:  # the product fell behind for good at this rate
                rows.append((title, f"{rate:,}", *"-----"))
                continue
            ratio = f"{some['p50'] / bare['p50']:.1f} / {some['p99'] / bare['p99']:.1f}"
            rows.append((title, f"{rate:,}", *(f"{some[key]:.1f}" for key in ("p50", "p90", "p99", "max")), ratio))
        if figure["requested"]:
            notes.append(verdict(f"{rate:,} records/s, p50", figure["requested"]["p50"], SKETCH_MS, "ms", more_is_better=False))
        if figure["requested"] and by_group["requested"]:
            adds_ms = by_group["requested"]["p50"] - figure["requested"]["p50"]
            said = "within" if adds_ms <= GROUP_ADDS_MS else "NOT within"
            notes.append(f"{rate:,} records/s, p50: a group's limit adds {adds_ms:.1f} ms, {said} the {GROUP_ADDS_MS} ms that it may")
        for kind, some in (("user", figure), ("group", by_group)):
            missing = some["without_request"]
            notes.append(f"{rate:,} records/s, {kind} limit: {some['breaches']} breaches, {missing} of them without a Disconnect-Request")
    notes.append("the way holds two round trips (journal, commands); each request was answered with ACK and, beyond the rate, a Stop")
    notes.append(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in told.items()))
    columns = ("latency in milliseconds", "records/s", "p50", "p90", "p99", "max", "x round trip p50/p99")
    seconds = f"{rig.sizes.warm_s:g} s warm-up, {rig.sizes.measured_s:g} s measured"
    title = f"3. Packet in -> Disconnect-Request at the NAS's port (10 % breach; {seconds})"
    return Report(
        title, columns, rows, notes, {"rates": {str(rate): figure for rate, figure in figures.items()}, **told, "profile": profile}
    )
