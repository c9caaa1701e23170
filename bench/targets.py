"""What each figure was to reach, and whether it did: pure, from what the parts wrote (var/bench/*.json).

A target names the part that measures it; where that did not run, or ran without the peer, the figure is not measured, and that is said.
"""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, NamedTuple

LIVE = "scale_live"
"""The part with the running product and millions of sessions: what it reached stands in `reached`, by figure and by what it is of."""
Data = Mapping[str, Any]
THROUGH_WANTED = 0.7
"""Through to events and rows: so much of what FreeRADIUS answers with its flat file."""
STREAMS = ("streams", "streams-2-threads", "streams-rocksdb")


class Target(NamedTuple):
    """One figure.

    Attributes:
        figure: what is measured. part: what measures it.
        read: the value from the part's data; KeyError, IndexError or ValueError where the data does not hold it.
        limit: what it is to reach, at least; at most where `is_most`.
        unit: of both; a form of a number follows `form`.
    """

    figure: str
    part: str
    read: Callable[[Data], float]
    limit: float
    unit: str
    is_most: bool = False
    form: str = ",.2f"


class Outcome(NamedTuple):
    """A row of the table; `verdict` is `met`, `NOT met` or `not measured`."""

    figure: str
    wanted: str
    reached: str
    verdict: str


def _against(peer: str) -> Callable[[Data], float]:
    return lambda data: data["best"]["curfew"]["median_s"] / data["best"][peer]["median_s"]


def _worker_against(*peers: str) -> Callable[[Data], float]:
    """Against the best of a peer's ways."""
    return lambda data: median(data["rates"]["worker"]) / max(median(data["rates"][peer]) for peer in peers if peer in data["rates"])


def _latency(quantile: str) -> Callable[[Data], float]:
    return lambda data: data["rates"]["3333"]["requested"][quantile]


def _group_adds_ms(data: Data) -> float:
    found = data["rates"]["3333"]
    return float(found["by_group"]["requested"]["p50"] - found["requested"]["p50"])


def _asked_ms(data: Data) -> float:
    return float(data["figures"]["/v1/admission"]["p99"])


def _largest(data: Data) -> Data:
    found: Data = max(data["sizes"], key=lambda one: one["sessions"])
    return found


def _through(data: Data) -> float:
    return float(median(one["through_s"] for one in data["rounds"]) / median(one["packets_s"] for one in data["freeradius"]))


def _restore_s_per_million(data: Data) -> float:
    return float(max(one["restored"]["restore_s"] / one["sessions"] * 1e6 for one in data["sizes"]))


def _bend(data: Data) -> float:
    """How far the octets for each session are apart at the sizes, restored: on a straight line they are the same.

    A table that grows has some tens of MB besides, of the checkpoints on the way, which weigh the more the fewer sessions there are.
    """
    octets = [one["restored"]["bytes_per_session"] for one in data["sizes"]]
    return float(max(octets) / min(octets))


def _tick_growth(data: Data) -> float:
    smallest = min(data["sizes"], key=lambda one: one["sessions"])
    return float(median(_largest(data)["deadly_ms"]) / median(smallest["deadly_ms"]))


def _octets(data: Data) -> float:
    return float(_largest(data)["bytes_per_session"])


def _taken(data: Data) -> float:
    ours = data["servers"]["curfew"]
    return float(ours["flooded"]["packets_s"] / ours["can_s"])


def _live(what: str, which: str) -> Callable[[Data], float]:
    return lambda data: data["reached"][what][which]


def _kicks_s(data: Data) -> float:
    return float(max(run["rate_s"] for name, run in data.items() if name.startswith("kickers-")))


def _recovered_s(data: Data) -> float:
    after_s = data["servers"]["curfew"]["recovered_s"]
    return float("inf") if after_s is None else after_s


TARGETS = (
    Target("accounting answered, each at its best window, against FreeRADIUS detail", "ingest", _against("freeradius"), 1.2, "x"),
    Target("the same against FreeRADIUS with PostgreSQL radacct", "ingest", _against("freeradius-postgresql"), 25, "x"),
    Target("through to events and rows, against FreeRADIUS detail", "through", _through, THROUGH_WANTED, "x"),
    Target("  worker behind a steady load, at most", "through", lambda data: data["level"]["lag_max_s"], 1, "s", is_most=True),
    Target("worker catching up, against Kafka Streams at its best", "worker", _worker_against(*STREAMS), 1.5, "x"),
    Target("worker catching up, against Quix Streams", "worker", _worker_against("quix"), 1.5, "x"),
    Target("packet in -> Disconnect-Request, 3,333/s, p50", "latency", _latency("p50"), 5, "ms", is_most=True),
    Target("  p99", "latency", _latency("p99"), 20, "ms", is_most=True),
    Target("  p99.9", "latency", _latency("p999"), 60, "ms", is_most=True),
    Target("  with 2,000,000 sessions in the table, p99 against few", LIVE, _live("p99_growth", "2000000"), 1.5, "x", is_most=True),
    Target("  with 7,000,000", LIVE, _live("p99_growth", "7000000"), 1.5, "x", is_most=True),
    Target("  by a group's limit, p50 more by at most", "latency", _group_adds_ms, 10, "ms", is_most=True),
    Target("question before a login, 2,000/s beside 3,333 records/s, p99", "admission", _asked_ms, 10, "ms", is_most=True),
    Target("memory for each open session", "scale", _octets, 800, "octets", is_most=True, form=",.0f"),
    Target("  of the workers, at 7,000,000", LIVE, _live("octets", "7000000"), 800, "octets", is_most=True, form=",.0f"),
    Target("  largest against smallest, over the sizes, restored", "scale", _bend, 1.15, "x", is_most=True),
    Target("restore, per million sessions (without Kafka)", "scale", _restore_s_per_million, 5, "s", is_most=True),
    Target("a tick with 1,000 deaths, most sessions against fewest", "scale", _tick_growth, 1.5, "x", is_most=True),
    Target("restore after kill -9, per million sessions", LIVE, _live("restore_s", "per_million"), 5, "s", is_most=True),
    Target("two workers against one, through to events", LIVE, _live("two_against_one", "workers"), 1, "x"),
    Target("two ingests against one", LIVE, _live("two_against_one", "ingests"), 1, "x"),
    Target("step under 20 limits, 10 quotas, 5 rates against none", "rules", lambda data: data["share"], 0.7, "x"),
    Target("confirmed disconnects a second", "kicks", _kicks_s, 5_000, "/s", form=",.0f"),
    Target("ingest memory with Kafka away, growth", "away", lambda data: data["growth"], 1.05, "x", is_most=True),
    Target("load at twice the capacity: answered, of the capacity", "overload", _taken, 0.8, "x"),
    Target("  recovered after", "overload", _recovered_s, 5, "s", is_most=True, form=",.0f"),
)
"""The limits are those that were set before anything was measured; 1.15, 1.5 for the tick, 1.05, 0.8 and 5 s put a number to
`straight line`, `the same`, `flat`, `answers for what it takes` and `within seconds`."""


def outcomes(parts: Mapping[str, Data]) -> list[Outcome]:
    """Each target with what was reached; `parts` are the data of those that ran, by their names."""
    return [_outcome(target, parts.get(target.part)) for target in TARGETS]


def _outcome(target: Target, data: Data | None) -> Outcome:
    wanted = f"{'at most' if target.is_most else 'at least'} {target.limit:,g} {target.unit}"
    try:
        value = target.read(data or {})
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        return Outcome(target.figure, wanted, "-", "not measured")
    is_met = value <= target.limit if target.is_most else value >= target.limit
    return Outcome(target.figure, wanted, f"{value:{target.form}} {target.unit}", "met" if is_met else "NOT met")
