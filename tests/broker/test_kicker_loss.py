"""The kicker over a network that loses 30 % each way, doubles and reorders (behaviours 5.1, 5.3 and 5.4), against the truth of the NAS."""

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict

import msgspec
import pytest

from schemas.configuration import Disconnect, Kicker, Nas
from streams.radius.simulated import parse_disconnect_request
from streams.retransmission import Schedule
from tests.broker.test_kicker import SECRET, make_bench, reply, running
from tests.support.lossy import LossyRelay

KICKS = 1_000
SCALED = Schedule(irt_ms=200, mrc=5, mrt_ms=1_600, mrd_ms=3_000)
"""RFC 5080's numbers for Disconnect-Requests, ten times as fast."""
GAPS_MS = (200, 400, 800, 1_600)
"""Without jitter MRD is over before the last of them."""
STOP_ON_ITS_WAY_MS = 2_000
WITHIN_S = 240


class HonestNas:
    """It has nine of ten sessions; what it is asked to end it ends, and says so in its Stop; what it has not, it does not know (503)."""

    def __init__(self, bench, seed):
        self.bench = bench
        self.luck = random.Random(seed)
        self.there = set()
        self.commands = {}
        self.asked = Counter()
        self.stops = []
        self.stopped_ms = {}

    def open(self, commands):
        self.commands = {command.session["acct_session_id"]: command for command in commands}
        self.there = {session for number, session in enumerate(self.commands) if number % 10}

    def answers(self, request):
        _, fields = parse_disconnect_request(request, SECRET.encode())
        session = fields["acct_session_id"]
        self.asked[session] += 1
        if session not in self.there:
            return [reply(request, ack=False, error_cause=503)]
        self.there.remove(session)
        self.stops.append(asyncio.create_task(self._stop(self.commands[session])))
        return [reply(request)]

    async def _stop(self, command):
        await asyncio.sleep(0.2 * self.luck.random())
        self.stopped_ms[command.session["acct_session_id"]] = time.time_ns() // 1_000_000
        await self.bench.notify(command)


def check_the_schedule(relay, seen):
    """Every copy of a request comes when RFC 5080 has it sent again, and not before; late is what the machine makes it."""
    times = defaultdict(list)
    for passed in relay.seen:
        if passed.to_peer:
            times[passed.octets].append(passed.at_s)
    assert len(times) == len(seen)
    for at_s in times.values():
        gaps_ms = [1000 * (later - earlier) for earlier, later in itertools.pairwise(at_s)]
        assert len(gaps_ms) <= len(GAPS_MS)
        for gap_ms, (number, nominal_ms) in zip(gaps_ms, enumerate(GAPS_MS, 1), strict=False):
            assert gap_ms > 0.9**number * nominal_ms - 40, (gaps_ms, "sooner than the schedule, less what a send was late before it")


@pytest.mark.slow
async def test_a_thousand_kicks_over_a_lossy_network_end_with_the_true_outcome(kafka, prefix, seed, capsys):
    """5.1, 5.3, 5.4: none is lost, each final outcome is what became of the session, and repeats keep to RFC 5080's schedule."""
    async with make_bench(kafka, prefix) as bench, LossyRelay(("127.0.0.1", bench.nases["campus"].port), seed) as relay:
        nas = HonestNas(bench, seed)
        bench.nases["campus"].answers = nas.answers
        way = Disconnect(address="127.0.0.1", port=relay.port, secret=SECRET)
        configuration = msgspec.structs.replace(
            bench.configuration,
            nas=(Nas(name="campus", addresses=("127.0.0.1/32",), secret="s", disconnect=way),),
            kicker=Kicker(source="127.0.0.1", ports=16, in_flight_per_nas=32),
        )
        long = {"confirm_within_s": 300, "expires_ms": 2**52}
        commands = await asyncio.gather(*(bench.order("campus", identity=f"u{number}", **long) for number in range(KICKS)))
        nas.open(commands)
        was_there = set(nas.there)
        async with running(configuration, SCALED):
            async with asyncio.timeout(WITHIN_S):
                while sum(b'"final":true' in record.value for record in bench.seen["disconnect.results"]) < KICKS:
                    await bench.read()
            await asyncio.gather(*nas.stops)
        finals = defaultdict(list)
        for command in commands:
            finals[command.session["acct_session_id"]] = [one for one in bench.results(command) if one["final"]]
    told, late_stops = Counter(), 0
    for session, results in finals.items():
        (result,) = results
        told[result["outcome"]] += 1
        if session in nas.there:
            assert (result["outcome"], nas.asked[session]) == ("unanswered", 0), result
        elif session in was_there and result["outcome"] == "unanswered":
            # Its last copy alone came through, every answer was lost, and the Stop was still on its way when the time was over
            assert nas.stopped_ms[session] > result["time_ms"] - STOP_ON_ITS_WAY_MS, result
            late_stops += 1
        elif session in was_there:
            assert result["outcome"] in ("confirmed", "gone"), result
        else:
            assert result["outcome"] in ("gone", "unanswered"), result
    assert late_stops < KICKS / 50
    check_the_schedule(relay, seen=finals)
    histogram = Counter(len(attempt["sent_ms"]) for (result,) in finals.values() for attempt in result["attempts"])
    lost = sum(not passed.copies for passed in relay.seen) / len(relay.seen)
    bars = ", ".join(f"{sends} times {number}" for sends, number in sorted(histogram.items()))
    with capsys.disabled():
        print(f"\n  {KICKS} kicks, {len(relay.seen)} datagrams, {lost:.0%} lost, seed {seed}: {dict(told)}; sent {bars}")  # noqa: T201
