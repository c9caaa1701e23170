"""The short way of a plain Interim against the long way of every record, over journals of all kinds."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from schemas.codec import Octets, encode
from schemas.group import GroupVerdict
from schemas.policy import Duration, Limit, Liveness, Membership, Quota, Rate
from schemas.topics import session_key
from streams import plain_interim
from streams.key_index import KeyIndex
from streams.timers import Timers
from streams.whereabouts import Whereabouts
from tests.support.journal import (
    T0_MS,
    Journal,
    Record,
    Rule,
    groups,
    interim,
    on,
    operator,
    policy,
    result,
    start,
    stop,
    tick,
    user_limit,
)

RECORDS = 600
NASES = ("ap1", "ap2", "ap3")
NAMES = ("bob", "eve", "joe", "ann", "eli")
SESSIONS = 15
GIB = 2**30
RULES: tuple[Rule, ...] = (
    user_limit(3),
    user_limit(2, action="report"),
    Limit("class", "group", 3, group="g1"),
    Limit("guests", "guest-type", 1, group="day"),
    Quota("day", "user", "day", octets=8 * GIB, warn_at=(50, 80)),
    Quota("hour", "user-in-group", "hour", time_s=900, group="g1", action="report"),
    Quota("all", "group", "day", octets=GIB, group="g2"),
    Rate("often", "user", 3, 60),
    Duration("short", "user", 7200),
    Membership("User-Name", "^(?P<group>e)"),
    Membership("Class", "(?P<group>g[0-9])"),
    Liveness("handshake", period_s=300, nas="ap2"),
    Liveness("offline-detect", length_s=900, nas="ap3"),
    Liveness("interim", times=2),
)

taken = plain_interim.taken


def _policy(luck: Random, version: int) -> Record:
    share = luck.choice((0.1, 0.2, 0.4))
    return policy(*(rule for rule in RULES if luck.random() < share), version=version, late_after_s=luck.choice((60, 600)))


def _told(luck: Random, at_s: float) -> dict[str, Any]:
    """What an Interim says of usage, and now and then something odd."""
    moved = luck.choice((0, 1_000, 1_000_000)) * round(at_s)
    told: dict[str, Any] = {"input_octets": moved, "output_octets": moved // 3, "gigawords": luck.random() < 0.5}
    odd: list[tuple[str, Callable[[], Any]]] = [
        ("session_time_s", lambda: luck.choice((None, round(at_s) + luck.choice((0, 30, 400, 100_000))))),
        ("framed_ip_address", lambda: f"10.0.0.{luck.randrange(4)}"),
        ("input_packets", lambda: round(at_s)),
        ("interim_interval_s", lambda: luck.choice((60, 300))),
        ("class_", lambda: luck.choice(("g1", "g2", Octets("//8=")))),
        ("session_timeout_s", lambda: luck.choice((3600, 7200, 0))),
        ("idle_timeout_s", lambda: luck.choice((None, None, None, None, 100))),
        ("termination_action", lambda: 1),
        ("disbelieved", lambda: ["Event-Timestamp"]),
        ("event_source", lambda: luck.choice(("arrival", "acct-delay-time"))),
        ("acct_delay_s", lambda: luck.randrange(100)),
        ("late_s", lambda: luck.choice((1, 30, 90, 700))),
        ("at_s", lambda: max(0, at_s - luck.choice((1, 100, 1000)))),
    ]
    return told | {name: value() for name, value in odd if luck.random() < 0.03}


def _verdict(luck: Random, at_s: float) -> Record:
    """The group agent says something of a session; at times it even fits."""
    number, name = luck.randrange(SESSIONS), luck.choice(NAMES)
    said = GroupVerdict(
        id=f"g{at_s}",
        op="answer" if luck.random() < 0.9 else "evict",
        group=luck.choice(("g1", "g2")),
        identity=name,
        session=session_key(NASES[number % 3], f"s{number}"),
        granted=luck.random() < 0.7,
        limit="class",
        current=3,
        max=3,
        time_ms=T0_MS,
        expires_ms=T0_MS + 86_400_000,
    )
    return Record("verdict", name.encode(), encode(said))


def _next(luck: Random, at_s: float) -> Record:
    number, nas = luck.randrange(SESSIONS), luck.choice(NASES)
    who = luck.choice(NAMES) if luck.random() < 0.02 else NAMES[number % 5]
    where: dict[str, Any] = {"nas": NASES[number % 3], "at_s": at_s}
    makers: list[tuple[float, Callable[[], Record]]] = [
        (0.70, lambda: interim(f"s{number}", who, **{**where, **_told(luck, at_s)})),
        (0.06, lambda: start(f"s{number}", who, **where)),
        (0.01, lambda: stop(f"s{number}", who, **where)),
        (0.10, lambda: tick(at_s, heard=[(nas, 0)], ingest=luck.choice("aab"))),
        (0.02, lambda: tick(at_s, began=[(nas, 60_000)])),
        (0.01, lambda: tick(at_s, ceased=[(nas, 1_000)])),
        (0.005, lambda: on(nas, at_s=at_s)),
        (0.01, lambda: groups(who, *luck.sample(("g1", "g2", "guest:day"), luck.randrange(3)), at_s=at_s)),
        (0.003, lambda: operator(f"s{number}", who, nas=where["nas"], at_s=at_s, order=f"o{at_s}")),
        (0.05, lambda: _verdict(luck, at_s)),
    ]
    (maker,) = luck.choices([maker for _, maker in makers], [weight for weight, _ in makers])
    return maker()


def _play(seed: int) -> Journal:
    """A journal of its own for each seed; the core is restored from its rows now and then."""
    luck, at_s = Random(seed), 0.0
    journal = Journal(partitions=luck.choice((1, 4)))
    journal.feed(_policy(luck, 1), tick(0, began=[(nas, 60_000) for nas in NASES]))
    for version in range(2, RECORDS):
        at_s = round(at_s + luck.choice((0.2, 1, 5, 20)), 1)
        journal.feed(_next(luck, at_s))
        for command in journal.commands():
            journal.feed(result(command, luck.choice(("acknowledged", "refused", "confirmed")), at_s=at_s))
        if luck.random() < 0.01:
            journal.feed(_policy(luck, version))
        if luck.random() < 0.01:
            journal.restart()
    return journal


def _indexes(journal: Journal) -> dict[str, Any]:
    return {name: _inside(value) for name, value in vars(journal.core.table).items() if not callable(value)}


def _inside(value: Any) -> Any:
    """As what can be compared."""
    if isinstance(value, Whereabouts):
        return {name: _inside(each) for name, each in vars(value).items()}
    if isinstance(value, Timers | KeyIndex):
        return {name: getattr(value, name) for name in value.__slots__}
    return {name: _inside(each) for name, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.python_core
@pytest.mark.parametrize("seed", range(16))
def test_a_plain_interim_leads_to_what_the_long_way_leads_to(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.2, 7.3: the same outputs with the same ids, the same rows in the same order, the same indexes, whichever way it takes."""
    ways: Counter[bool] = Counter()

    def counted(*given: Any) -> bool:
        way = taken(*given)
        ways[way] += 1
        return way

    monkeypatch.setattr(plain_interim, "taken", counted)
    short = _play(seed)
    monkeypatch.setattr(plain_interim, "taken", lambda *_: False)
    long = _play(seed)
    assert short.outputs == long.outputs
    assert short.state() == long.state()
    assert short.core.event_types == long.core.event_types
    assert _indexes(short) == _indexes(long)
    assert short.core.checkpoint() == long.core.checkpoint()
    assert ways[True]
    assert ways[False]


@pytest.mark.python_core
def test_an_interim_of_a_session_that_only_lives_on_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.2: so that the short way is the one that most of a journal takes."""
    ways: list[bool] = []
    monkeypatch.setattr(plain_interim, "taken", lambda *given: ways.append(taken(*given)) or ways[-1])
    journal = Journal().feed(policy(*RULES), tick(0, began=[("ap1", 60_000)]), start())
    journal.feed(*(interim(at_s=60 * nth, input_octets=nth) for nth in range(1, 6)))
    assert ways == [False, True, True, True, True]  # the first one shows that the NAS sends Interims
    assert journal.types() == ["session.started"] + 5 * ["session.updated"]
    journal.nothing_else()


@pytest.mark.python_core
@pytest.mark.parametrize(
    "out_of_the_ordinary",
    [
        interim(at_s=180, identity="eve", input_octets=5),
        interim(at_s=60, input_octets=2),
        interim(at_s=180, session_time_s=900, input_octets=5),
        interim(at_s=100_000, session_time_s=5),
        interim(at_s=180, disbelieved=["Event-Timestamp"]),
        interim(at_s=180, session_timeout_s=600),
        interim("s3", at_s=180, input_octets=1),
        interim("s9", at_s=180),
    ],
)
def test_what_is_out_of_the_ordinary_takes_the_long_way(out_of_the_ordinary: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.2: another identity, a repeat, a time that cannot be, another session, timeouts, an Idle-Timeout that is over, a new session."""
    journal = Journal().feed(tick(0, began=[("ap1", 60_000)]), start(), start("s2", "eve", at_s=1), start("s3", at_s=2, idle_timeout_s=60))
    journal.feed(*(interim(at_s=at_s, input_octets=nth) for nth, at_s in enumerate((30, 60, 120), 1)))
    ways: list[bool] = []
    monkeypatch.setattr(plain_interim, "taken", lambda *given: ways.append(taken(*given)) or ways[-1])
    journal.feed(out_of_the_ordinary)
    assert ways == [False]
