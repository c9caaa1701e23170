"""A short `make chaos`: every fault once, most of them one after the other in a run, and then everything that it checks."""

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.run import run
from tests.chaos.scene import SMOKE
from tests.support.kafka import LocalKafka

RUNS = {
    "parts": (
        *("kill-ingest", "stop-ingest", "kill-worker", "stop-worker", "kill-agents", "stop-agents", "kill-kicker", "stop-kicker"),
        *("zombie", "rebalances", "workers-down", "bad-network", "clock-jumps"),
    ),
    "stores": (
        *("kill-projector", "stop-projector", "kill-redis", "freeze-redis"),
        *("kill-broker", "stop-broker", "freeze-broker", "broker-away", "garbage"),
    ),
    "topic": ("topic-deleted",),
    "nodes": ("leader-away",),
    "disk": ("disk-full",),
}
"""What lies beside each other must agree on the Kafka, and a topic that is gone takes what it says of all others with it."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("faults", RUNS.values(), ids=RUNS)
async def test_after_some_faults_the_topics_show_that_nobody_could_tell(
    faults: tuple[str, ...], own_kafka, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
):
    """1.1, 2.8, 3.5, 4.2, 5.4, 7.1: nothing acknowledged is lost, no decision differs, nobody is kicked without reason or ends twice."""
    if not isinstance(own_kafka, LocalKafka):
        pytest.skip("the faults are made with the embedded Kafka")
    outcome = await run(faults, seed, SMOKE, tmp_path, own_kafka)
    with capsys.disabled():
        print("\n  " + report.line(outcome))  # noqa: T201 - whoever repeats it needs it
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.is_whole, report.line(outcome)
    assert [one.name for one in outcome.struck] == list(faults)
    assert min(outcome.answered, outcome.events, outcome.commands) > 50


def test_every_fault_is_struck_once():
    """A new one has to find its run."""
    assert sorted(name for faults in RUNS.values() for name in faults) == sorted(FAULTS)


def test_every_fault_says_in_a_sentence_what_it_does():
    """The report is made of it."""
    assert [name for name, fault in FAULTS.items() if not fault.what.endswith(".") or "\n" in fault.what] == []
