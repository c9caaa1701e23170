"""Write the recorded histories anew: `python -m tests.histories.record`, from the root of the checkout."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from schemas.codec import encode
from schemas.configuration import Identity, Nas
from schemas.disconnect import Outcome
from schemas.policy import Limit, Liveness
from streams.ingest_step import IngestStep
from streams.talking import Talking
from tests.histories import Line, play, write
from tests.support.journal import Record, interim, on, operator, policy, read_command, result, start, stop, tick, user_limit

CORPUS = Path(__file__).parents[1] / "corpus"


def corpus(name: str, nas: str, seconds: int, *rules: Limit | Liveness) -> Iterator[Record]:
    """What a rig's corpus holds of its first minutes, as an ingest would have filed it, with a tick each second."""
    packets = [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text("utf-8").splitlines()]
    packets = [packet for packet in packets if packet["code"] == "Accounting-Request"]
    began_ms = round(packets[0]["ts"] * 1000)
    configured = Nas(name=nas, addresses=("127.0.0.1/32",), secret=packets[0]["secret"], interim_interval_s=60)
    step = IngestStep([configured], Identity(), 1, "history")
    talking = Talking("history", 1000, 60_000)
    yield policy(*rules)
    next_tick_ms = began_ms
    for packet in packets:
        at_ms = round(packet["ts"] * 1000)
        while next_tick_ms <= at_ms and next_tick_ms < began_ms + seconds * 1000:
            yield Record("tick", None, encode(talking.tick(next_tick_ms - began_ms, next_tick_ms)))
            next_tick_ms += 1000
        if at_ms >= began_ms + seconds * 1000:
            return
        source = packet["peer"].rpartition(":")[0]
        admitted = step.admit(bytes.fromhex(packet["hex"]), source)
        if isinstance(admitted, tuple):
            filed = step.file(admitted[0], source, at_ms)
            if not isinstance(filed, str):
                talking.heard(filed.nas, at_ms - began_ms)
                yield Record("accounting", filed.key, filed.value)


def hostapd() -> Iterator[Record]:
    """Supplicants on a wired hostapd, and its Accounting-On."""
    return corpus("rigA-hostapd", "hostapd", 180, user_limit(1, "one-device", victim="oldest"), Liveness(rule="interim", times=3))


def freeradius() -> Iterator[Record]:
    """Several NASes behind one proxy, Interims, Gigawords, names with realms, all of it within six minutes."""
    return corpus("rigC-freeradius", "proxy", 400, user_limit(1, "one", victim="newest"), Liveness(rule="interim", times=3))


def crafted() -> Iterator[Line]:
    """One of each: what a session can go through in a journal, with results for the commands as they come."""
    told: list[Record] = []

    def then(*records: Record) -> None:
        told.extend(records)

    def answered(outcome: Outcome, at_s: float) -> None:
        commands = [read_command(o.value) for line in play(told) for o in line.out if o.kind == "command"]
        told.append(result(commands[-1], outcome, at_s=at_s))

    def seconds(begin: int, end: int, *heard: str) -> None:
        then(*[tick(at_s, heard=[(nas, 0) for nas in heard]) for at_s in range(begin, end)])

    then(tick(0, full=True, began=[("ap1", 60_000), ("ap2", 60_000)]), on("ap1"))
    then(policy(user_limit(2, "two", victim="oldest", hold_s=30), Liveness(rule="interim", times=2), grace_s=120))
    then(start("s1", at_s=1), start("s2", at_s=2, nas="ap2"), start("s2", at_s=2, nas="ap2", late_s=2), start("s3", at_s=3))
    answered("acknowledged", 3)
    then(stop("s1", at_s=4, input_octets=5_000_000_000, gigawords=True))
    answered("confirmed", 4)
    then(start("s4", at_s=5, mac="02-0D-58-80-05-00"), interim("s2", at_s=10, nas="ap2", input_octets=4_294_967_000))
    answered("refused", 6)
    then(interim("s2", at_s=20, nas="ap2", input_octets=300), interim("s9", "eve", at_s=20, session_time_s=500))
    then(Record("accounting", b"bob", b"{not json"), Record("sighting", b"bob", b"{}"), policy(version=1))
    seconds(1, 46, "ap1", "ap2")
    answered("expired", 50)
    answered("gone", 51)
    then(interim("s2", at_s=52, nas="ap2", input_octets=400), operator("s9", "eve", at_s=53), operator("s9", "eve", at_s=53))
    answered("unanswered", 84)
    then(start("s3", at_s=90), on("ap2", at_s=95), interim("s9", "eve2", at_s=96), on("ap1", off=True, at_s=97))
    seconds(46, 180, "ap1")
    then(start("s1", "late", at_s=10, late_s=3600), stop("s5", "stopped-only", at_s=180, session_time_s=60))
    return play(told)


HISTORIES: dict[str, tuple[str, Callable[[], Iterator[Line]]]] = {
    "hostapd": ("hostapd 2.10, wired; one device a user, the oldest goes", lambda: play(hostapd())),
    "freeradius": ("FreeRADIUS 3.2.1 as a proxy; one device a user, the newest goes", lambda: play(freeradius())),
    "crafted": ("one of each thing that a session can go through", crafted),
}


def main() -> None:
    """Write all of them."""
    for name, (about, lines) in HISTORIES.items():
        write(name, about, lines())


if __name__ == "__main__":
    main()
