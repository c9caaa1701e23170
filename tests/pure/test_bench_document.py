"""The bench's document, from canned figures: what it says of a target that is met, missed or not measured, and what it leaves out."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.document import compose, table, write
from bench.overload import recovered_after_s
from bench.plots import POINTS_MAX, chart, cumulative, short
from bench.targets import TARGETS, outcomes

MACHINE = {"commit": "abc1234", "cores": 2, "size": "full"}
HISTOGRAM = [[1.0, 50], [2.0, 49], [8.0, 1]]


def part(title: str = "A title", **data: Any) -> dict[str, Any]:
    told = {"title": title, "columns": ["what", "value"], "rows": [["a", "1"], ["  of it: b", "2"]], "notes": ["a note"]}
    return {"machine": MACHINE, "table": told, **data}


def ingest(ours: float = 60_000.0, *, with_database: bool = True) -> dict[str, Any]:
    names = {"curfew": ours, "freeradius": 50_000.0} | ({"freeradius-postgresql": 2_000.0} if with_database else {})
    return part(
        "Answered",
        best={name: {"median_s": rate, "window": 512} for name, rate in names.items()},
        windows={name: {"512": [{"histogram": HISTOGRAM}]} for name in names},
        titles={name: f"{name} <&>" for name in names},
    )


def scale() -> dict[str, Any]:
    sizes = [
        {
            "sessions": sessions,
            "bytes_per_session": octets,
            "records_per_s": 40_000.0,
            "deadly_ms": [20.0, 30.0, 25.0],
            "restored": {"restore_s": sessions / 1e6 * 4, "first_record_ms": 0.2},
        }
        for sessions, octets in ((1_000_000, 700.0), (2_000_000, 720.0))
    ]
    return part("Scale", sizes=sizes)


def by_figure(parts: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one.figure: (one.reached, one.verdict) for one in outcomes(parts)}


def test_a_target_is_met_from_its_limit_on_and_missed_below_it():
    told = by_figure({"ingest": ingest(60_000.0), "scale": scale()})
    assert told["accounting answered, each at its best window, against FreeRADIUS detail"] == ("1.20 x", "met")
    assert told["the same against FreeRADIUS with PostgreSQL radacct"] == ("30.00 x", "met")
    assert told["memory for each open session"] == ("720 octets", "met")
    assert told["restore, per million sessions (without Kafka)"] == ("4.00 s", "met")
    told = by_figure({"ingest": ingest(49_000.0)})
    assert told["accounting answered, each at its best window, against FreeRADIUS detail"] == ("0.98 x", "NOT met")
    assert told["the same against FreeRADIUS with PostgreSQL radacct"] == ("24.50 x", "NOT met")
    assert len(told) == len(TARGETS)


def test_a_peer_that_was_not_there_and_a_part_that_did_not_run_are_not_measured():
    told = by_figure({"ingest": ingest(with_database=False)})
    assert told["the same against FreeRADIUS with PostgreSQL radacct"] == ("-", "not measured")
    measured = {figure for figure, (_, verdict) in told.items() if verdict != "not measured"}
    assert measured == {"accounting answered, each at its best window, against FreeRADIUS detail"}
    assert {verdict for _, verdict in by_figure({}).values()} == {"not measured"}


def test_the_worker_is_held_against_the_best_way_of_kafka_streams_and_latency_against_its_own_rate():
    worker = part(rates={"worker": [110.0, 120.0, 130.0], "streams": [40.0], "streams-2-threads": [60.0], "quix": [100.0]})
    by_group = {"requested": {"p50": 13.5}}
    latency = part(rates={"3333": {"requested": {"p50": 4.0, "p99": 20.5, "p999": 60.0}, "by_group": by_group}})
    asked = part(figures={"/v1/admission": {"p99": 10.1}})
    told = by_figure(
        {
            "worker": worker,
            "latency": latency,
            "admission": asked,
            "kicks": part(**{"kickers-1": {"rate_s": 4_900.0}, "kickers-2": {"rate_s": 5_100.0}}),
        }
    )
    assert told["confirmed disconnects a second"] == ("5,100 /s", "met")
    assert told["  by a group's limit, p50 more by at most"] == ("9.50 ms", "met")
    assert told["question before a login, 2,000/s beside 3,333 records/s, p99"] == ("10.10 ms", "NOT met")
    assert told["worker catching up, against Kafka Streams at its best"] == ("2.00 x", "met")
    assert told["worker catching up, against Quix Streams"] == ("1.20 x", "NOT met")
    assert [told[figure][1] for figure in ("packet in -> Disconnect-Request, 3,333/s, p50", "  p99", "  p99.9")] == [
        "met",
        "NOT met",
        "met",
    ]


def test_what_millions_of_sessions_cost_is_held_against_its_size_and_a_size_that_was_skipped_is_not_measured():
    reached = {
        "p99_growth": {"2000000": 1.4},
        "octets": {"2000000": 790.0},
        "restore_s": {"2000000": 5.5, "per_million": 5.5},
        "two_against_one": {"workers": 1.0, "ingests": 0.9},
    }
    size = {"sessions": 2_000_000, "curves": {"empty": [[4.0, 50.0], [9.0, 99.0]], "full": [[4.5, 50.0], [12.0, 99.0]]}}
    live = part("Live", reached=reached, sizes=[size])
    told = by_figure({"scale_live": live})
    assert told["  with 2,000,000 sessions in the table, p99 against few"] == ("1.40 x", "met")
    assert told["restore after kill -9, per million sessions"] == ("5.50 s", "NOT met")
    assert [told[f"two {what}"][1] for what in ("workers against one, through to events", "ingests against one")] == ["met", "NOT met"]
    assert {told[figure][1] for figure in ("  with 7,000,000", "  of the workers, at 7,000,000")} == {"not measured"}
    files = compose({"scale_live": live}, ["scale", "scale_live"])
    assert sorted(files) == ["benchmarks.md", "benchmarks/scale_live-latency.svg"]
    assert files["benchmarks.md"].count("![scale_live-latency.svg]") == 1


def test_the_document_holds_each_parts_table_and_says_what_was_not_measured():
    failed = {"machine": MACHINE, "failed": "no broker"}
    files = compose({"ingest": ingest(), "scale": scale(), "kicks": failed}, ["ingest", "worker", "scale", "kicks"])
    assert sorted(files) == [
        "benchmarks.md",
        "benchmarks/ingest-latency.svg",
        "benchmarks/scale-memory.svg",
        "benchmarks/scale-throughput.svg",
    ]
    text = files["benchmarks.md"]
    assert text.count("| a | 1 |") == 2
    assert "| &nbsp;&nbsp;of it: b | 2 |" in text
    assert "## worker\n\nNot measured.\n" in text
    assert "## kicks\n\nNot measured: no broker\n" in text
    assert "![scale-memory.svg](benchmarks/scale-memory.svg)" in text
    assert text.count("| cores | 2 |") == 1
    assert "Not a full run" not in text
    assert "  \n" not in text
    assert all(len(content) < 100_000 for content in files.values())


def test_parts_are_kept_for_the_next_sitting_and_a_short_round_takes_no_full_ones_place(tmp_path: Path):
    document = tmp_path / "benchmarks.md"
    short = {"machine": MACHINE | {"size": "quick", "commit": "of-the-short-one"}}
    write({"ingest": ingest(), "kicks": {"machine": MACHINE, "failed": "no broker"}}, ["ingest", "scale", "kicks"], document)
    write({"ingest": part("Short") | short, "scale": scale() | short}, ["ingest", "scale", "kicks"], document)
    text = document.read_text()
    assert "## Answered\n" in text
    assert "## Short\n" not in text
    assert "## Scale\n" in text
    assert "## kicks\n\nNot measured: no broker\n" in text
    write({"scale": {"machine": MACHINE, "failed": "no memory"}, "kicks": part("Kicks")}, ["ingest", "scale", "kicks"], document)
    text = document.read_text()
    assert "no memory" not in text
    assert "## Scale\n" in text
    assert "## Kicks\n" in text
    assert sorted(file.stem for file in (tmp_path / "benchmarks").glob("*.json")) == ["ingest", "kicks", "scale"]
    assert len(list((tmp_path / "benchmarks").glob("*.svg"))) == 3


def test_a_run_that_was_not_full_says_so_and_parts_of_several_runs_name_each_machine():
    quick = ingest() | {"machine": MACHINE | {"size": "quick"}}
    text = compose({"ingest": quick, "scale": scale()}, ["ingest", "scale"])["benchmarks.md"]
    assert "Not a full run" in text
    assert text.count("| cores | 2 |") == 2
    assert compose({}, ["ingest"]) == {"benchmarks.md": compose({}, ["ingest"])["benchmarks.md"]}


def test_a_cell_cannot_break_its_table():
    assert table(("a", "b"), [("x|y", 1)]) == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |", ""]


def test_a_chart_is_well_formed_whatever_its_words_and_thins_long_lines_out():
    drawn = chart("a < b & c", ("x", "y"), {"<one>": [(float(x), float(x)) for x in range(1, 10_000)], "none": []}, log_x=True)
    lines = ET.fromstring(drawn).findall("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own text
    assert [len(line.get("points", "").split()) for line in lines] == [POINTS_MAX]
    assert chart("nothing", ("x", "y"), {"none": []}) == ""
    ET.fromstring(chart("one point", ("x", "y"), {"one": [(0.0, 0.0)]}))  # noqa: S314 - likewise


def test_a_histogram_becomes_the_share_that_is_at_most_as_large():
    assert cumulative(HISTOGRAM) == [(1.0, 50.0), (2.0, 99.0), (8.0, 100.0)]
    assert [short(value) for value in (0.0125, 999, 1_500, 2_000_000)] == ["0.0125", "999", "1.5k", "2M"]


@pytest.mark.parametrize(
    ("each_second", "after_s"),
    [([100, 100, 100, 7], 0), ([10, 60, 100, 100, 7], 2), ([100, 40, 100, 7], 2), ([100, 100, 40, 7], None), ([], None)],
)
def test_it_has_recovered_when_no_later_second_falls_behind(each_second: list[int], after_s: int | None):
    """The last second is not over and does not count; a flood that is never over is never recovered from."""
    assert recovered_after_s(each_second, rate=100) == after_s
