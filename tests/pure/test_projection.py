"""What is written to Redis: whatever moves and whatever fails on the way, in the end it is the view (behaviour 7.4)."""

import json
import random

import msgspec

from schemas.journal import PolicyVersion
from schemas.policy import Limit, Policy, Quota
from schemas.session import IDENTITY_ROW, PARTITION_ROW, SESSION_ROW, Hold, IdentityRow, PartitionRow, SessionRow, Spent, Window
from streams.live_view import LiveView, Moved
from streams.projection import Command, Projection

NOW_MS = 1_795_199_831_000


class Store:
    """The commands' meaning, in a dict."""

    def __init__(self) -> None:
        self.keys: dict[str, object] = {}

    def do(self, command: Command) -> None:
        name, key, *words = command
        if name == "SET":
            self.keys[key] = words[0]
        elif name == "DEL":
            self.keys.pop(key, None)
        elif name == "HSET":
            self.keys.setdefault(key, {})[words[0]] = words[1]
        elif name == "HDEL":
            self.keys.get(key, {}).pop(words[0], None)
        elif name == "SADD":
            self.keys.setdefault(key, set()).add(words[0])
        else:
            assert name == "SREM"
            self.keys.get(key, set()).discard(words[0])
        if not self.keys.get(key, True):
            del self.keys[key]


class Rig:
    def __init__(self) -> None:
        self.view = LiveView(2)
        self.projection = Projection("p:")
        self.store = Store()

    def put(self, partition: int, key: str, value: bytes | None) -> list[Moved]:
        moved = self.view.partitions[partition].take_row(key.encode(), value)
        for each in moved:
            self.projection.moved(each)
        return moved

    def write(self, *, failing: random.Random | None = None) -> None:
        for piece in self.projection.take(self.view, NOW_MS, 3):
            commands = piece.commands
            if failing is not None and failing.random() < 0.5:
                commands = commands[: failing.randrange(len(commands) + 1)]
                self.projection.again(piece)
            for command in commands:
                self.store.do(command)


def test_whatever_moves_and_fails_in_the_end_it_is_the_view(seed: int) -> None:
    """7.4: a session that changes its user, NAS and device leaves nothing behind; a write that fails half way is written again."""
    for round_ in range(50):
        chance = random.Random(f"{seed}-{round_}")
        rig = Rig()
        for _ in range(60):
            session, partition = f"s{chance.randrange(4)}", chance.randrange(2)
            row = SessionRow(chance.choice(["ap1", "ap2"]), session, chance.choice(["bob", "eve"]), "open")
            row.device = chance.choice([None, "02:00:00:00:00:01", "02:00:00:00:00:02"])
            rig.put(partition, f"s:{row.nas}/{session}", SESSION_ROW.named(row) if chance.random() < 0.7 else None)
            rig.write(failing=chance)
        while rig.projection:
            rig.write()
        anew = Rig()
        anew.view = rig.view
        anew.projection.everything(rig.view)
        while anew.projection:
            anew.write()
        assert rig.store.keys == anew.store.keys, (seed, round_)


def test_who_stands_by_remembers_nothing_and_consumes_no_reservation_when_he_takes_over() -> None:
    """4.8, 7.4: a session of hours ago took the slot that was kept for a login of now; and what had moved was kept for ever."""
    rig = Rig()
    for number in range(100):
        row = SessionRow("ap1", f"s{number}", "bob", "open")
        rig.put(0, f"s:ap1/s{number}", SESSION_ROW.named(row))
        rig.put(0, f"s:ap1/s{number}", None if number else SESSION_ROW.named(row))
        rig.projection.forget()
        assert len(rig.projection) == 0
    rig.projection.everything(rig.view)
    (piece,) = [piece for piece in rig.projection.take(rig.view, NOW_MS, 10) if piece.session]
    assert piece.session == "s:ap1/s0"
    assert not piece.begun
    assert "EVALSHA" not in {command[0] for command in piece.commands}


def test_times_are_on_the_wall_clock_since_a_partitions_clock_means_nothing_to_others() -> None:
    """4.3, 4.4."""
    rig = Rig()
    rig.put(1, "p:1", PARTITION_ROW.named(PartitionRow(1, clock_ms=50_000)))
    number = rig.view.partitions.index(rig.view.home_of("bob"))
    rig.put(number, f"p:{number}", PARTITION_ROW.named(PartitionRow(number, clock_ms=50_000)))
    holds = (Hold("02:00:00:00:00:01", "one", 60_000), Hold("02:00:00:00:00:02", "one", 50_000))
    rig.put(number, "i:bob", IDENTITY_ROW.named(IdentityRow("bob", 1, holds=holds, groups=("staff",))))
    rig.put(number, "s:ap1/s1", SESSION_ROW.named(SessionRow("ap1", "s1", "bob", "open", opened_clock_ms=20_000)))
    rig.projection.touched(["bob"])
    rig.write()
    user = {field: json.loads(value) for field, value in rig.store.keys["p:u:bob"].items()}
    assert user["identity"] == {
        "groups": ["staff"],
        "holds": [{"device": "02:00:00:00:00:01", "rule": "one", "until_ms": NOW_MS + 10_000}],
        "recent": [],
        "spent": [],
    }
    assert user["ap1/s1"]["began_ms"] == NOW_MS - 30_000
    assert set(rig.store.keys) == {"p:s:ap1/s1", "p:u:bob", "p:n:ap1"}


def test_the_policy_is_written_when_it_is_another_and_with_it_what_is_spent() -> None:
    """4.6: a quota that is spent refuses until its window closes."""
    rig = Rig()
    row = IdentityRow("bob", windows=(Window("daily", "", 0, 86_400_000, used=100),))
    number = rig.view.partitions.index(rig.view.home_of("bob"))
    rig.put(number, "i:bob", IDENTITY_ROW.named(row))
    ((_, key, none),) = rig.projection.policy(rig.view, NOW_MS)
    assert (key, json.loads(none)) == ("p:policy", {"version": 0, "limit": [], "rate": [], "spent": []})
    assert rig.projection.policy(rig.view, NOW_MS) == []
    rig.write()
    assert rig.store.keys == {}

    limit = Limit(name="one", applies_to="user", max_sessions=1, victim="none", exempt=("guest:*",))
    policy = Policy(limits=(limit,), quotas=(Quota(name="daily", applies_to="user", per="day", octets=100),))
    version = msgspec.json.encode(PolicyVersion(version=2, time_ms=0, policy=policy))
    for partition in range(2):
        rig.put(partition, f"p:{partition}/policy", version)
    ((*_, value),) = rig.projection.policy(rig.view, NOW_MS)
    assert json.loads(value)["version"] == 2
    (told,) = json.loads(value)["limit"]
    assert (told["name"], told["acts"], told["except"]) == ("one", False, ["guest:*"])
    rig.write()
    (spent,) = json.loads(rig.store.keys["p:u:bob"]["identity"])["spent"]
    assert spent == {"rule": "daily", "group": "", "text": "user quota daily: 100 B of 100 B used this day", "until_ms": 86_400_000}
    assert not rig.projection


def test_a_group_s_figures_follow_its_sessions_and_the_limits_and_go_with_the_last_of_them() -> None:
    """4.1, 4.3, 7.4: counted by the sessions that are written; who is too old for a counter counts no longer with time."""
    limits = (
        Limit(name="devices", applies_to="group", max_sessions=9, victim="oldest", victim_scope="group"),
        Limit(name="aged", applies_to="group", max_sessions=9, count="sessions", counter_time_limit_s=60, exempt=("boss",)),
    )
    rig = Rig()
    version = msgspec.json.encode(PolicyVersion(version=2, time_ms=0, policy=Policy(limits=limits)))
    for partition in range(2):
        rig.put(partition, f"p:{partition}/policy", version)
    rig.projection.policy(rig.view, NOW_MS)
    homes = {name: rig.view.partitions.index(rig.view.home_of(name)) for name in ("bob", "eve")}
    rig.put(homes["eve"], "i:eve", IDENTITY_ROW.named(IdentityRow("eve", groups=("boss",))))
    for user, session, state in (("bob", "s1", None), ("bob", "s2", None), ("eve", "s3", "refused")):
        row = SessionRow("ap1", session, user, "open", device="02:00:00:00:00:01", slots=("staff",), kick_state=state)
        rig.put(homes[user], f"s:ap1/{session}", SESSION_ROW.named(row))

    def figures() -> object:
        while rig.projection:
            rig.write()
        return json.loads(rig.store.keys.get("p:g:staff", "null"))

    assert figures() == {"devices": {"current": 2, "evicts": True}, "aged": {"current": 2, "evicts": False}}
    rig.projection.policy(rig.view, NOW_MS + 60_000)
    assert rig.projection
    (piece,) = rig.projection.take(rig.view, NOW_MS + 60_000, 9)
    rig.projection.again(piece)
    assert json.loads(rig.projection.take(rig.view, NOW_MS + 60_000, 9)[0].commands[0][2])["aged"]["current"] == 0
    rig.put(homes["bob"], "s:ap1/s1", None)
    rig.put(homes["bob"], "s:ap1/s2", None)
    assert figures() == {"devices": {"current": 1, "evicts": False}, "aged": {"current": 0, "evicts": False}}
    rig.put(homes["eve"], "s:ap1/s3", None)
    assert figures() is None
    assert not any(key.startswith("p:g:") for key in rig.store.keys)


def test_the_quotas_of_groups_that_are_spent_stand_with_the_policy() -> None:
    """4.6: as long as their window is open, and the policy means the group and disconnects."""
    quotas = [Quota(name, "group", "day", octets=100, action=action) for name, action in (("daily", "disconnect"), ("told", "report"))]
    version = msgspec.json.encode(PolicyVersion(version=2, time_ms=0, policy=Policy(quotas=tuple(quotas))))
    rig = Rig()
    for partition in range(2):
        rig.put(partition, f"p:{partition}/policy", version)
    rig.projection.policy(rig.view, NOW_MS)
    spent = tuple(Spent(rule, "staff", 9_000, 100, 1) for rule in ("daily", "told", "gone"))
    rig.put(0, "p:0", PARTITION_ROW.named(PartitionRow(0, spent=spent)))
    ((*_, value),) = rig.projection.policy(rig.view, NOW_MS)
    text = "group quota daily in staff: 100 B of 100 B used this day"
    assert json.loads(value)["spent"] == [{"rule": "daily", "group": "staff", "text": text, "until_ms": 9_000}]
    assert rig.projection.policy(rig.view, NOW_MS) == []
    rig.put(0, "p:0", PARTITION_ROW.named(PartitionRow(0, spent=spent, wall_ms=9_000)))
    ((*_, value),) = rig.projection.policy(rig.view, NOW_MS)
    assert json.loads(value)["spent"] == []


def test_a_session_that_begins_takes_its_reservation_by_the_script_once() -> None:
    """4.8: with what is written of it, and again where that failed."""
    rig = Rig()
    rig.projection = Projection("p:", "digest")
    rig.put(0, "s:ap1/s1", SESSION_ROW.named(SessionRow("ap1", "s1", "bob", "open", device="02:00:00:00:00:01")))
    taken = ("EVALSHA", "digest", 4, "p:u:bob", "p:r:bob", "p:policy", "p:state", "ap1", "02:00:00:00:00:01", "", "", "", "", 0, 0, 0)
    for _ in range(2):
        (piece,) = rig.projection.take(rig.view, NOW_MS, 9)
        assert piece.commands[-1] == taken
        rig.projection.again(piece)
    rig.projection.take(rig.view, NOW_MS, 9)
    rig.put(0, "s:ap1/s1", SESSION_ROW.named(SessionRow("ap1", "s1", "bob", "open")))
    (piece,) = rig.projection.take(rig.view, NOW_MS, 9)
    assert "EVALSHA" not in {command[0] for command in piece.commands}
    assert not rig.projection
