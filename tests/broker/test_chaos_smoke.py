"""A short `make chaos`: some of its cheap faults, one after the other in one run, and then everything that it checks."""

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.run import run
from tests.chaos.scene import SMOKE
from tests.support.kafka import LocalKafka

CHEAP = ("kill-ingest", "kill-agents", "stop-kicker", "zombie")


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_after_some_faults_the_topics_show_that_nobody_could_tell(
    own_kafka, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
):
    """1.1, 2.8, 3.5, 4.2, 5.4, 7.1: nothing acknowledged is lost, no decision differs, nobody is kicked without reason or ends twice."""
    if not isinstance(own_kafka, LocalKafka):
        pytest.skip("the faults are made with the embedded Kafka")
    outcome = await run(CHEAP, seed, SMOKE, tmp_path, own_kafka)
    with capsys.disabled():
        print("\n  " + report.line(outcome))  # noqa: T201 - whoever repeats it needs it
    assert outcome.is_whole, report.line(outcome)
    assert [one.name for one in outcome.struck] == list(CHEAP)
    assert min(outcome.answered, outcome.events, outcome.commands) > 100


def test_every_fault_says_in_a_sentence_what_it_does():
    """The report is made of it."""
    assert [name for name, fault in FAULTS.items() if not fault.what.endswith(".") or "\n" in fault.what] == []
