"""The projection in a real Redis: what it holds, what it says of itself, and that nothing else waits for it (behaviours 4.8, 7.4)."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from agents import metrics
from agents.admission import Admission
from agents.projector import run_projector
from schemas.admission import Question
from schemas.configuration import Configuration, Redis
from schemas.journal import PolicyVersion
from schemas.policy import Limit, Quota, Rate
from schemas.session import IDENTITY_ROW, PARTITION_ROW, SESSION_ROW, Hold, IdentityRow, PartitionRow, Recent, SessionRow, Spent, Window
from streams.live_view import LiveView
from streams.projection import PATTERNS
from tests.support.journal import Rule, policy_of
from tests.support.redis import RedisServer, redis_server

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "agents/lua/admission.lua").read_text()
PHONE, LAPTOP, TABLET = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
WITHIN_S = 40.0
CLOCK_MS = 1_000_000


class Rig:
    """A view without Kafka, fed by hand, and what asks it."""

    def __init__(self, url: str, *rules: Rule, spent: tuple[Spent, ...] = ()) -> None:
        self.configuration = Configuration(redis=Redis(url=url, key_prefix="t[1]:", timeout_s=0.5))
        self.admission = Admission(self.configuration)
        self.view = LiveView(2)
        self._opened = 0
        self._spent = spent
        for number, partition in enumerate(self.view.partitions):
            self._policy(number, 1, rules)
            partition.take_row(f"p:{number}".encode(), self._own_row(number))
            partition.restored()
        self.admission.open(self.view)

    def publish(self, version: int, *rules: Rule) -> None:
        for number in range(2):
            self._policy(number, version, rules)

    def start(self, session: str, device: str | None, user: str = "bob", nas: str = "ap1", **fields: object) -> None:
        self._opened += 1
        now_ms = round(time.time() * 1000)
        row = SessionRow(nas, session, user, "open", user, device, device, order_ms=now_ms, opened_offset=self._opened, **fields)
        row.opened_clock_ms = row.opened_clock_ms or CLOCK_MS
        self._write(user, f"s:{nas}/{session}", SESSION_ROW.named(row))

    def stop(self, session: str, user: str = "bob", nas: str = "ap1") -> None:
        self._write(user, f"s:{nas}/{session}", None)

    def know(self, row: IdentityRow) -> None:
        self._write(row.identity, f"i:{row.identity}", IDENTITY_ROW.named(row))

    def _own_row(self, number: int) -> bytes:
        return PARTITION_ROW.named(PartitionRow(number, clock_ms=CLOCK_MS, wall_ms=round(time.time() * 1000), spent=self._spent))

    def _policy(self, number: int, version: int, rules: tuple[Rule, ...]) -> None:
        value = PolicyVersion(version=version, time_ms=0, policy=policy_of(*rules))
        self.view.partitions[number].take_row(f"p:{number}/policy".encode(), msgspec.json.encode(value))

    def _write(self, user: str, key: str, value: bytes | None) -> None:
        home = self.view.home_of(user)
        number = self.view.partitions.index(home)
        home.take_row(key.encode(), value)
        for moved in home.take_row(f"p:{number}".encode(), self._own_row(number)):
            for listener in self.admission.listeners:
                listener(moved)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def projecting(rig: Rig) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_projector(rig.configuration, rig.admission, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, WITHIN_S)


async def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        with contextlib.suppress(OSError, Exception):
            if await asyncio.to_thread(holds):
                return
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)


def state(server: RedisServer) -> dict[str, str]:
    return server.client.hgetall("t[1]:state")


def held(server: RedisServer) -> dict[str, object]:
    """All of the projection but what it says of itself."""
    found: dict[str, object] = {}
    for key in server.client.scan_iter("t\\[1\\]:*"):
        name = key.removeprefix("t[1]:")
        kind = server.client.type(key)
        if kind == "set":
            found[name] = server.client.smembers(key)
        elif kind == "hash" and name.startswith("u:"):
            found[name] = set(server.client.hgetall(key))
        elif name.startswith("s:"):
            found[name] = json.loads(server.client.get(key))["identity"]
    return found


def ask(server: RedisServer, user: str, *, nas: str = "ap1", mac: str = "", groups: str = "", new_id: str = "r", behind_ms: int = 60_000):
    keys = [f"t[1]:{name}" for name in (f"u:{user}", f"r:{user}", "policy", "state")]
    return json.loads(server.client.eval(SCRIPT, 4, *keys, nas, mac, groups, "", "", new_id, 60_000, 64, behind_ms))


async def complete(server: RedisServer) -> None:
    await until(lambda: state(server)["ready"] == "1" and state(server)["behind_records"] == "0")


async def test_sessions_are_found_by_session_user_mac_and_nas_and_leave_nothing_behind(server: RedisServer) -> None:
    """7.4: also where a session changes its name or device, and what somebody else keeps there is left alone."""
    rig = Rig(server.url)
    rig.start("s1", PHONE)
    server.client.set("other:key", "1")
    server.client.hset("t[1]:u:long-gone", "ap1/x", "{}")
    async with projecting(rig):
        rig.know(IdentityRow("bob", 3, groups=("staff",)))
        rig.start("s2", None, nas="ap2")
        everything = {
            "s:ap1/s1": "bob",
            "s:ap2/s2": "bob",
            "u:bob": {"ap1/s1", "ap2/s2", "identity"},
            f"m:{PHONE}": {"ap1/s1"},
            "n:ap1": {"ap1/s1"},
            "n:ap2": {"ap2/s2"},
        }
        await until(lambda: held(server) == everything)
        await complete(server)
        rig.start("s1", TABLET)
        await until(lambda: held(server) == {**{k: v for k, v in everything.items() if k[0] != "m"}, f"m:{TABLET}": {"ap1/s1"}})
        rig.stop("s1")
        rig.stop("s2", nas="ap2")
        await until(lambda: held(server) == {"u:bob": {"identity"}})
        assert json.loads(server.client.hget("t[1]:u:bob", "identity"))["groups"] == ["staff"]
    assert server.client.get("other:key") == "1"
    assert server.client.get("t[1]:writer") is None


async def test_a_redis_that_comes_back_empty_is_filled_again_from_the_view(server: RedisServer) -> None:
    """7.4: emptied under way, or another process with nothing in it; the product's own answers do not wait."""
    rig = Rig(server.url)
    for number in range(1_200):
        rig.start(f"s{number}", PHONE, user=f"u{number % 100}")
    async with projecting(rig):
        await complete(server)
        before = held(server)
        assert len(before) == 1_200 + 100 + 2
        server.client.flushall()
        await until(lambda: held(server) == before)
        server.stop()
        await until(lambda: metrics.PROJECTION_BEHIND_S._value.get() > 0.5)
        assert (await rig.admission.ask(Question(user="u1", nas="ap9"))).allowed
        rig.stop("s0", user="u0")
        server.start()
        await complete(server)
        await until(lambda: held(server) == {k: v - {"ap1/s0"} if isinstance(v, set) else v for k, v in before.items() if k != "s:ap1/s0"})
        await until(lambda: metrics.PROJECTION_BEHIND_S._value.get() < 0.5)


async def test_while_redis_is_frozen_it_is_behind_and_says_so_and_catches_up(server: RedisServer) -> None:
    """Issue: slow; decisions go on."""
    rig = Rig(server.url, Limit(name="one", applies_to="user", max_sessions=1))
    async with projecting(rig):
        await complete(server)
        server.pause()
        rig.start("s1", PHONE)
        await until(lambda: metrics.PROJECTION_BEHIND_S._value.get() > 1)
        assert metrics.PROJECTION_BEHIND._value.get() >= 1
        assert not (await rig.admission.ask(Question(user="bob", nas="ap9", calling_station_id=LAPTOP))).allowed
        server.resume()
        await until(lambda: "u:bob" in held(server))
        await complete(server)


async def test_a_full_redis_is_behind_until_there_is_room(server: RedisServer) -> None:
    """Issue: full."""
    rig = Rig(server.url)
    async with projecting(rig):
        await complete(server)
        server.client.config_set("maxmemory", "1")
        rig.start("s1", PHONE)
        await until(lambda: metrics.PROJECTION_BEHIND_S._value.get() > 1)
        assert (await rig.admission.ask(Question(user="bob", nas="ap9"))).allowed
        server.client.config_set("maxmemory", "0")
        await until(lambda: "s:ap1/s1" in held(server))
        await complete(server)


async def test_a_foreign_key_under_our_name_stays_and_the_rest_goes_on(server: RedisServer) -> None:
    """Issue: a foreign key under our name; the projection says that it is behind."""
    server.client.rpush("t[1]:u:bob", "somebody's list")
    rig = Rig(server.url)
    rig.start("s1", PHONE)
    async with projecting(rig):
        rig.start("s2", LAPTOP, user="eve")
        await until(lambda: "ap1/s2" in held(server).get("u:eve", set()))
        await until(lambda: metrics.PROJECTION_BEHIND_S._value.get() > 1)
        assert state(server)["behind_records"] != "0"
        assert state(server)["ready"] == "0"
        assert server.client.lrange("t[1]:u:bob", 0, -1) == ["somebody's list"]
        server.client.delete("t[1]:u:bob")
        await complete(server)
        assert held(server)["u:bob"] == {"ap1/s1"}


async def test_one_projector_writes_and_another_takes_over(server: RedisServer) -> None:
    """DESIGN "Beyond one machine": nothing coordinates but a lease."""
    first, second = Rig(server.url), Rig(server.url)
    first.start("s1", PHONE)
    async with projecting(second):
        await complete(server)
        async with projecting(first):
            await asyncio.sleep(0.5)
            assert "s:ap1/s1" not in held(server)
            second.start("s2", PHONE)
            await until(lambda: "s:ap1/s2" in held(server))
    async with projecting(first):
        await until(lambda: "s:ap1/s1" in held(server) and "s:ap1/s2" not in held(server))


async def test_the_script_gives_no_answer_from_a_projection_that_is_not_what_it_should_be(server: RedisServer) -> None:
    """4.8: no answer is better than a wrong one."""
    assert ask(server, "bob") == {"error": "the projection is not complete"}
    rig = Rig(server.url)
    async with projecting(rig):
        await complete(server)
        assert ask(server, "bob")["allowed"]
    server.client.hset("t[1]:state", "at_ms", round(time.time() * 1000) - 10_000)
    assert "ms behind" in ask(server, "bob", behind_ms=5_000)["error"]


async def test_a_reservation_of_the_script_lapses_is_bounded_and_is_consumed_by_the_start(server: RedisServer) -> None:
    """4.8: as over HTTP."""
    rig = Rig(server.url, Limit(name="two", applies_to="user", max_sessions=2))
    keys = [f"t[1]:{name}" for name in ("u:bob", "r:bob", "policy", "state")]
    async with projecting(rig):
        await complete(server)
        first = ask(server, "bob", mac=PHONE, new_id="r1")
        assert (first["allowed"], first["reservation"], first["policy_version"]) == (True, "r1", 1)
        assert ask(server, "bob", mac=PHONE, new_id="r2")["reservation"] == "r1"
        assert ask(server, "bob", mac=LAPTOP, new_id="r3")["allowed"]
        assert ask(server, "bob", mac=TABLET, new_id="r4")["reason"].endswith("; 2 of them reserved a moment ago")
        rig.start("s1", PHONE)
        await until(lambda: held(server).get("u:bob") == {"ap1/s1"})
        assert ask(server, "bob", mac=TABLET, new_id="r5")["reason"].endswith("; 1 of them reserved a moment ago")
        assert set(server.client.hgetall("t[1]:r:bob")) == {"r3"}
        assert 0 < server.client.pttl("t[1]:r:bob") <= 60_000
        rig.publish(2)
        await until(lambda: ask(server, "bob", nas="x")["policy_version"] == 2)
        server.client.delete("t[1]:r:bob")
        for number in range(100):
            server.client.eval(SCRIPT, 4, *keys, "ap1", "", "", "", "", f"n{number}", 60_000, 5, 60_000)
        assert server.client.hlen("t[1]:r:bob") == 5
        server.client.eval(SCRIPT, 4, *keys, "ap1", "", "", "", "", "last", 1, 5, 60_000)
        await until(lambda: not server.client.exists("t[1]:r:bob"))


def some_limits(chance: random.Random) -> list[Limit]:
    return [
        Limit(
            name=f"l{number}",
            applies_to=chance.choice(["user", "user", "user-in-group", "guest-type"]),
            max_sessions=chance.randrange(4),
            group=chance.choice(["*", "staff", "st*f", "hot.spot", "a%b"]),
            count=chance.choice(["devices", "sessions"]),
            victim=chance.choice(["newest", "newest", "oldest", "least-recently-active", "all-others", "none"]),
            action=chance.choice(["disconnect", "disconnect", "report"]),
            counter_time_limit_s=chance.choice([0, 0, 500]),
            exempt=tuple(chance.sample(["guest:*", "staff", "g?"], chance.randrange(2))),
        )
        for number in range(chance.randrange(4))
    ]


async def test_the_script_answers_as_the_product_does(server: RedisServer, seed: int) -> None:
    """4.8: the same answer, the same words, whatever the policy and whoever is on."""
    macs = [PHONE, LAPTOP, TABLET, "02:00:00:00:00:04"]
    groups = ["staff", "stuff", "guest:hot.spot", "guest:hotxspot", "a%b", "g?"]
    for round_ in range(40):
        chance = random.Random(f"{seed}-{round_}")
        rig = Rig(server.url, *some_limits(chance))
        rig.know(
            IdentityRow(
                "bob",
                1,
                holds=tuple(Hold(chance.choice(macs), f"l{chance.randrange(4)}", CLOCK_MS + 500_000) for _ in range(chance.randrange(3))),
                groups=tuple(chance.sample(groups, chance.randrange(3))),
            )
        )
        for number in range(chance.randrange(6)):
            rig.start(
                f"s{number}",
                chance.choice([None, *macs[:3]]),
                nas=chance.choice(["ap1", "ap2"]),
                counts=chance.random() < 0.9,
                kick_state=chance.choice([None, None, "requested", "refused"]),
                acct_multi_session_id=chance.choice([None, None, "m1", "m2"]),
                groups=tuple(chance.sample(groups, chance.randrange(2))),
                breached=(f"l{chance.randrange(4)}",) if chance.random() < 0.3 else (),
                opened_clock_ms=chance.choice([CLOCK_MS, CLOCK_MS - 400_000, CLOCK_MS - 600_000]),
            )
        server.client.flushall()
        async with projecting(rig):
            await complete(server)
            for number in range(8):
                mac, nas = chance.choice(["", *macs]), chance.choice(["ap1", "ap2", "ap3"])
                more = chance.sample(groups, chance.randrange(3))
                question = Question(user="bob", nas=nas, calling_station_id=mac, groups=tuple(more))
                ours = msgspec.to_builtins(await rig.admission.ask(question))
                theirs = ask(server, "bob", nas=nas, mac=mac, groups=",".join(more), new_id=f"r{number}")
                for answer in (ours, theirs):
                    answer["reservation"] = answer["reservation"] is not None
                    answer.pop("redirect", None)
                assert theirs == ours, (seed, round_, number)


def test_what_is_taken_away_before_a_rebuild_is_ours_alone() -> None:
    """Reservations stay: they are the script's."""
    assert {pattern for pattern, _ in PATTERNS} == {"s:*", "u:*", "m:*", "n:*", "g:*"}


GROUPS = ["staff", "stuff", "a%b"]
USERS = ["bob", "eve", "zoe"]
FAR_MS = 4_102_444_800_000


def some_rules(chance: random.Random) -> list[Rule]:
    """Limits of whole groups beside others, quotas and rates; one limit at most takes its victim from the group, and is asked last."""
    limits = [
        Limit(
            name=f"l{number}",
            applies_to=chance.choice(["group", "group", "group", "user", "user-in-group", "guest-type"]),
            max_sessions=chance.randrange(5),
            group=chance.choice(["*", "staff", "st*f"]),
            count=chance.choice(["devices", "sessions"]),
            victim=chance.choice(["newest", "newest", "oldest", "all-others", "none"]),
            action=chance.choice(["disconnect", "disconnect", "report"]),
            counter_time_limit_s=chance.choice([0, 0, 500]),
            exempt=tuple(chance.sample(["guest:*", "a%b"], chance.randrange(2))),
        )
        for number in range(chance.randrange(1, 4))
    ]
    if chance.random() < 0.4:
        scope = {"victim": chance.choice(["newest", "oldest", "least-recently-active", "all-others"]), "victim_scope": "group"}
        limits.append(Limit(name="last", applies_to="group", max_sessions=chance.randrange(1, 4), **scope))
    quotas = [
        Quota(f"q{number}", applies_to, "month", octets=100, action=chance.choice(["disconnect", "disconnect", "report"]))
        for number, applies_to in enumerate(chance.sample(["user", "user-in-group", "guest-type", "group", "group"], chance.randrange(3)))
    ]
    rates = [
        Rate(f"r{number}", applies_to, chance.randrange(1, 4), 500, action=chance.choice(["disconnect", "report"]))
        for number, applies_to in enumerate(chance.sample(["user", "user-in-group", "guest-type", "group"], chance.randrange(3)))
    ]
    return [*limits, *quotas, *rates]


def somebody(chance: random.Random, name: str) -> IdentityRow:
    """An identity with groups, holds, windows and Starts of some of these rules."""
    groups = [*GROUPS, "guest:day"]
    scopes = ["", *GROUPS, "day"]
    return IdentityRow(
        name,
        1,
        groups=tuple(sorted(chance.sample(groups, chance.randrange(4)))),
        holds=tuple(
            Hold(chance.choice([PHONE, LAPTOP]), f"l{chance.randrange(3)}", CLOCK_MS + 500_000) for _ in range(chance.randrange(2))
        ),
        windows=tuple(Window(f"q{n}", chance.choice(scopes), 0, FAR_MS, chance.choice([99, 100])) for n in range(chance.randrange(3))),
        recent=tuple(
            Recent(f"r{n}", chance.choice(scopes), tuple(CLOCK_MS - 1_000 * chance.choice([50, 400, 700]) for _ in range(3)), FAR_MS)
            for n in range(chance.randrange(3))
        ),
    )


def begin(rig: Rig, chance: random.Random, number: int) -> str:
    """Somebody's session begins; whose."""
    user, groups = chance.choice(USERS), chance.sample(GROUPS, chance.randrange(3))
    rig.start(
        f"s{number}",
        chance.choice([None, PHONE, LAPTOP]),
        user,
        chance.choice(["ap1", "ap2"]),
        kick_state=chance.choice([None, None, "refused"]),
        groups=tuple(sorted(chance.sample(groups, chance.randrange(len(groups) + 1)))),
        slots=tuple(groups),
        breached=(f"l{chance.randrange(4)}",) if chance.random() < 0.2 else (),
        opened_clock_ms=chance.choice([CLOCK_MS, CLOCK_MS - 400_000, CLOCK_MS - 600_000]),
    )
    return user


FOUND = ("3438678125-18", "3285981696-38")
"""Where it did not: a device with a session that stays and a reservation; a question that is asked again in other groups."""


async def test_the_script_answers_as_the_product_does_of_groups_quotas_and_rates(server: RedisServer, seed: int) -> None:
    """4.1, 4.6, 4.7, 4.8: groups with everybody's sessions and reservations, what is spent, Starts too many; sessions begin meanwhile."""
    refused = set()
    for story in (*FOUND, *(f"{seed}-{round_}" for round_ in range(40))):
        chance = random.Random(f"{story}-groups")
        spent = tuple(Spent(f"q{chance.randrange(3)}", chance.choice(GROUPS), FAR_MS, 100, 1) for _ in range(chance.randrange(2)))
        rig = Rig(server.url, *some_rules(chance), spent=spent)
        for name in USERS:
            rig.know(somebody(chance, name))
        for number in range(chance.randrange(8)):
            begin(rig, chance, number)
        server.client.flushall()
        async with projecting(rig):
            await complete(server)
            for number in range(10):
                if chance.random() < 0.3:
                    written = metrics.PROJECTED._value.get()
                    begin(rig, chance, 100 + number)
                    await until(lambda written=written: metrics.PROJECTED._value.get() > written)
                user, mac = chance.choice(USERS), chance.choice(["", PHONE, LAPTOP, TABLET])
                nas, more = chance.choice(["ap1", "ap2", "ap3"]), chance.sample([*GROUPS, "guest:day"], chance.randrange(3))
                ours = msgspec.to_builtins(
                    await rig.admission.ask(Question(user=user, nas=nas, calling_station_id=mac, groups=tuple(more)))
                )
                theirs = ask(server, user, nas=nas, mac=mac, groups=",".join(more), new_id=f"r{number}")
                for answer in (ours, theirs):
                    answer["reservation"] = answer["reservation"] is not None
                    answer.pop("redirect", None)
                assert theirs == ours, (story, number)
                refused |= {ours["reason"].split(":")[0].rsplit(" ", 1)[0]} if not ours["allowed"] else set()
    assert {word.split()[0] for word in refused} >= {"group", "user"}
