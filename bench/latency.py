"""From an accounting packet to the Disconnect-Request at the NAS's port, with the whole product running as in production.

Measured against the bare Kafka round trip, which the way contains twice: packet -> journal -> worker -> commands -> kicker -> request.
And the same breaches by a group's limit, which is two hops more: worker -> group.slots -> group agent -> journal -> worker.
"""

import subprocess
from typing import Any, NamedTuple

from agents.broker import pick_free_port
from bench import round_trip
from bench.network import Breach, Network, undisturbed
from bench.report import Report, middle, quantiles, show_profile, spread
from bench.rig import ROOT, FailedError, Rig, own_environment

PARTS = ("ingest", "worker", "kicker")
GROUP_ADDS_MS = 10
POLICIES = {
    "user": '[[limit]]\nname = "one-device"\napplies_to = "user"\nmax_sessions = 1\nvictim = "newest"\n',
    "group": '[[limit]]\nname = "one-in-group"\napplies_to = "group"\nmax_sessions = 1\nvictim = "newest"\n'
    '[[membership]]\nattribute = "User-Name"\npattern = "(?P<group>.+)"\n',
}
"""The same people breach at the same moments; by the second each is a group of his own."""
CURVE_POINTS = 100
SHOWN = ("p50", "p90", "p99", "p999", "max")
STAGES = {
    "requested": "packet in -> Disconnect-Request",
    "answered": "  of it: -> durable and answered",
    "decided": "  of it: answered -> request",
}


class Round(NamedTuple):
    """One round at one rate: milliseconds of the bare round trip, the breaches by a user's limit and by a group's."""

    bare: list[float]
    user: list[Breach]
    group: list[Breach]


async def measure(rig: Rig) -> Report:
    """Each rate: the bare round trip, then the product."""
    port = pick_free_port()
    network = Network(rig, port)
    found: dict[int, list[Round]] = {rate: [] for rate in rig.sizes.rates}
    children = []
    sizes = rig.sizes
    try:
        config, configuration = await rig.installation("latency", port=port, nas=network.toml())
        children = [rig.part(name, config, sampled=rig.profile) for name in PARTS]
        for child in children:
            child.start()
        for child in children:
            await child.ready()
        with undisturbed():
            for number in range(sizes.rounds):
                for rate in sizes.rates:
                    topic = f"bench.round-trip.{rate}.{number}"
                    bare = await round_trip.measure(configuration, topic, rate, sizes.warm_s / 2, sizes.measured_s / 2)
                    by = {}
                    for kind, policy in POLICIES.items():
                        _publish(rig, str(config), policy)
                        by[kind] = await network.run(rate, sizes.warm_s, sizes.measured_s)
                    found[rate].append(Round(bare, by["user"], by["group"]))
    finally:
        network.close()
        for child in children:
            await child.stop()
    told = told_by(network)
    profile = {name: show_profile(f"profile of the {name} (all rates)", rig.samples(f"latency-{name}")) for name in PARTS if rig.profile}
    return _report(rig, {rate: _of_rounds(rounds) for rate, rounds in found.items()}, told, profile)


def told_by(network: Network) -> dict[str, int]:
    """What its NASes counted.

    Raises:
        FailedError: somebody was disconnected who had not to be, or an answer was not to be believed.
    """
    told = {name: getattr(network, name) for name in ("unanswered", "given_up", "not_believed", "false", "repeated")}
    if told["false"] or told["not_believed"] > told["given_up"]:
        raise FailedError(f"somebody was disconnected who had not to be, or an answer was not to be believed: {told}")
    return told


def _publish(rig: Rig, config: str, policy: str) -> None:
    file = rig.directory / "latency-policy.toml"
    file.write_text(policy)
    command = rig.command("policy", "agents.cli", "policy", "apply", str(file), "--config", config)
    done = subprocess.run(command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise FailedError(f"the policy was not taken: {done.stdout}{done.stderr}")


def _of_rounds(rounds: list[Round]) -> dict[str, Any]:
    """The medians of all rounds' quantiles, what each round had, and curves of all rounds together."""
    by_user, by_group = [figures_of(one.user) for one in rounds], [figures_of(one.group) for one in rounds]
    requests = {kind: [ms for one in rounds for ms in requested_ms(getattr(one, kind))] for kind in POLICIES}
    return medians_of(by_user) | {
        "round_trip": _median_quantiles([quantiles(one.bare) for one in rounds]),
        "by_group": medians_of(by_group),
        "rounds": by_user,
        "curves": {kind: curve(some) for kind, some in requests.items()} | {"round_trip": curve([ms for one in rounds for ms in one.bare])},
    }


def figures_of(breaches: list[Breach]) -> dict[str, Any]:
    """Of one round: how many, and the quantiles in milliseconds of each stage."""
    answered = [breach for breach in breaches if breach.answered_ns]
    return {
        "breaches": len(breaches),
        "without_request": len(breaches) - sum(breach.requested_ns > 0 for breach in breaches),
        "requested": quantiles(requested_ms(answered)),
        "answered": quantiles([(breach.answered_ns - breach.sent_ns) / 1e6 for breach in answered]),
        "decided": quantiles([(breach.requested_ns - breach.answered_ns) / 1e6 for breach in answered if breach.requested_ns]),
    }


def requested_ms(breaches: list[Breach]) -> list[float]:
    """Milliseconds from the packet to the Disconnect-Request, of those that had one."""
    return [(breach.requested_ns - breach.sent_ns) / 1e6 for breach in breaches if breach.requested_ns]


def medians_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of some rounds (`figures_of`): the counts added up, the median of each quantile."""
    counts = {name: sum(one[name] for one in rounds) for name in ("breaches", "without_request")}
    return counts | {name: _median_quantiles([one[name] for one in rounds]) for name in STAGES}


def _median_quantiles(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Nothing where a round has none: the product fell behind for good."""
    return {name: middle([one[name] for one in rounds]) for name in rounds[0]} if all(rounds) else {}


def curve(values: list[float]) -> list[tuple[float, float]]:
    """For a plot: milliseconds, and the percentage that took at most so long."""
    ordered = sorted(values)
    shares = [number / CURVE_POINTS for number in range(1, CURVE_POINTS)] + [0.995, 0.999, 1.0]
    return [(round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3), 100 * share) for share in shares] if ordered else []


def _report(rig: Rig, figures: dict[int, dict[str, Any]], told: dict[str, int], profile: dict[str, list[str]]) -> Report:
    rows, notes = [], []
    for rate, figure in figures.items():
        bare = figure["round_trip"]
        by_group = figure["by_group"]
        titles = {**STAGES, "by_group": "the same, by a group's limit", "round_trip": "bare Kafka round trip, same rate"}
        for name, title in titles.items():
            some = by_group["requested"] if name == "by_group" else figure[name]
            if not some:  # the product fell behind for good at this rate
                rows.append((title, f"{rate:,}", *"-------"))
                continue
            ratio = f"{some['p50'] / bare['p50']:.1f} / {some['p99'] / bare['p99']:.1f}"
            over_rounds = spread([one["requested"]["p99"] for one in figure["rounds"]], ".1f") if name == "requested" else "-"
            rows.append((title, f"{rate:,}", *(f"{some[key]:.1f}" for key in SHOWN), over_rounds, ratio))
        if figure["requested"] and by_group["requested"]:
            adds_ms = by_group["requested"]["p50"] - figure["requested"]["p50"]
            said = "within" if adds_ms <= GROUP_ADDS_MS else "NOT within"
            notes.append(f"{rate:,} records/s, p50: a group's limit adds {adds_ms:.1f} ms, {said} the {GROUP_ADDS_MS} ms that it may")
        for kind, some in (("user", figure), ("group", by_group)):
            missing = some["without_request"]
            notes.append(f"{rate:,} records/s, {kind} limit: {some['breaches']} breaches, {missing} of them without a Disconnect-Request")
    notes.append("the way holds two round trips (journal, commands); each request was answered with ACK and, beyond the rate, a Stop")
    notes.append(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in told.items()))
    columns = ("latency in milliseconds", "records/s", "p50", "p90", "p99", "p99.9", "max", "p99 of rounds", "x round trip p50/p99")
    seconds = f"{rig.sizes.warm_s:g} s warm-up, {rig.sizes.measured_s:g} s measured"
    title = f"Packet in -> Disconnect-Request at the NAS's port (10 % breach; {rig.sizes.rounds} rounds in turn, {seconds})"
    return Report(
        title, columns, rows, notes, {"rates": {str(rate): figure for rate, figure in figures.items()}, **told, "profile": profile}
    )
