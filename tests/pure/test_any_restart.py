"""The law, against chance: whatever a journal holds, and wherever its owner dies, the same records lead to the same outputs and rows.

Session cores and group cores of one partition or more answer each other; people, rules and outcomes are chosen by chance, rules of every
kind among them. Each journal is then applied once more by cores that die anywhere, in the middle of what is done in pieces too, and are
read back from the last checkpoint.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from schemas.codec import encode
from schemas.disconnect import COMMAND_KIND, DisconnectCommand
from schemas.policy import Duration, Limit, Liveness, Membership, Quota, Rate
from schemas.sighting import Sighting, Sightings
from schemas.topics import ACCOUNTING, COMMANDS, REJECTED, SLOTS
from streams import group_core, group_table, partition_core, session_core, table
from streams.group_core import GroupCore
from streams.partitioner import partition_of
from streams.session_core import SessionCore
from streams.step import Output
from tests.support.journal import (
    T0_MS,
    Record,
    Rule,
    groups,
    interim,
    on,
    operator,
    policy,
    promise,
    quota_order,
    read_command,
    result,
    start,
    stop,
    tick,
)

SEEDS = 60
RECORDS = 200
GROUPS = ("g0", "g1", "*", "g*")
HAPPENS = {"start": 28, "interim": 15, "stop": 7, "tick": 22, "command": 8, "word": 8, "policy": 5, "on": 2, "sighting": 5}
"""What, and how often of a hundred."""
OUTCOMES = ("confirmed", "refused", "unanswered", "gone", "acknowledged", "expired")

Core = SessionCore | GroupCore
Rows = dict[bytes, bytes]


class Applied(NamedTuple):
    """A journal, what each of its records led to, and who applies it."""

    make: Callable[[], Core]
    records: list[Record]
    outputs: list[list[Output]]


class Story:
    """Journals that grow from each other.

    Args:
        chance: chooses all that happens.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now_s = self.version = 0
        self.commands: list[DisconnectCommand] = []
        partitions = chance.choice((1, 3))
        self.sessions = [Applied(partial(SessionCore, number, partitions, ACCOUNTING.name), [], []) for number in range(partitions)]
        self.slots = [Applied(partial(GroupCore, number, partitions, SLOTS.name), [], []) for number in range(partitions)]
        self._cores = {id(applied): applied.make() for applied in (*self.sessions, *self.slots)}
        self._under_way: list[tuple[Applied, Record]] = []

    def tell(self) -> list[Applied]:
        """All of it."""
        self.happen(policy(*self.rules(), version=1), tick(0))
        for _ in range(RECORDS):
            self.happen(*self.something())
            while self._under_way and self.chance.random() < 0.8:
                self.apply(*self._under_way.pop(0))
        return [*self.sessions, *self.slots]

    def happen(self, *records: Record) -> None:
        for record in records:
            if record.key:
                self.apply(self.sessions[partition_of(record.key.decode(), len(self.sessions))], record)
            else:
                for applied in (*self.sessions, *(self.slots if record.kind in {"policy", "tick"} else ())):
                    self.apply(applied, record)

    def apply(self, applied: Applied, record: Record) -> None:
        out: list[Output] = []
        self._cores[id(applied)].apply(len(applied.records), *record, out)
        applied.records.append(record)
        applied.outputs.append(out)
        for output in out:
            assert output.topic != REJECTED.name or record.kind == "quota", output.value  # it may be of a rule that is gone
            if output.topic in {SLOTS.name, ACCOUNTING.name}:
                journals = self.slots if output.topic == SLOTS.name else self.sessions
                self._under_way.append((journals[output.partition], Record(output.kind, output.key, output.value)))
            elif output.topic == COMMANDS.name and output.kind == COMMAND_KIND:
                self.commands.append(read_command(output.value))

    def something(self) -> list[Record]:
        """What happens next."""
        number, chance = self.chance.randrange(12), self.chance
        user, session = f"u{number}", f"s{number}-{chance.randrange(3)}"
        if chance.random() < 0.15:
            user = f"u{chance.randrange(12)}"  # somebody else under that session's id
        nas = f"ap{number % 2}"
        match chance.choices(tuple(HAPPENS), tuple(HAPPENS.values()))[0]:
            case "start":
                more = {"mac": chance.choice(("", f"02-00-00-00-00-{number:02X}")), "framed_ip_address": f"192.0.2.{number}"}
                return [start(session, user, nas=nas, **more, **self.fields())]
            case "interim":
                return [interim(session, user, nas=nas, input_octets=chance.randrange(2000), output_octets=1, **self.fields())]
            case "stop":
                return [stop(session, user, nas=nas, **self.fields())]
            case "tick":
                self.now_s += chance.choice((1, 1, 2, 5))
                return [self.tick()]
            case "command" if self.commands:
                command = self.commands.pop(chance.randrange(len(self.commands)))
                return [result(command, chance.choice(OUTCOMES), at_s=self.now_s)]
            case "word":
                return [self.word(user, session, nas)]
            case "policy":
                self.version += 1
                return [policy(*self.rules(), version=1 + self.version)]
            case "on":
                return [on(nas, at_s=self.now_s)]
            case "sighting":
                by = chance.choice(({"mac": f"02-00-00-00-00-{number:02X}"}, {"address": f"192.0.2.{number}"}))
                seen = Sighting(time_ms=T0_MS + 1000 * self.now_s - chance.choice((0, 0, 4000)), by="switch", **by)
                return [Record("sighting", None, encode(Sightings(seen=[seen])))]
        return []

    def tick(self) -> Record:
        """An ingest's clock, and which NASes it hears."""
        chance = self.chance

        def some(share: float, *silent_ms: int) -> list[tuple[str, int]]:
            return [(name, chance.choice(silent_ms)) for name in ("ap0", "ap1") if chance.random() < share]

        heard, began, ceased = some(0.7, 0, 0, 500), some(0.1, 0, 3000), some(0.05, 4000)
        return tick(
            self.now_s, ingest=chance.choice("aab"), heard=heard, began=began, ceased=ceased, full=bool(began) and chance.random() < 0.3
        )

    def word(self, user: str, session: str, nas: str) -> Record:
        """What an operator says, or a login was promised."""
        chance = self.chance
        order = f"o{chance.randrange(1000)}"
        return chance.choice(
            (
                groups(user, *chance.sample(("g0", "g1", "g2", "guest:day"), chance.randint(0, 2)), at_s=self.now_s),
                quota_order(chance.choice(("topup", "reset")), "q0", user, order_id=order, amount=500),
                promise(chance.choice((5, 30)), user, reservation=order, nas=nas),
                operator(session, user, order=order, at_s=self.now_s, nas=nas),
            )
        )

    def fields(self) -> dict[str, Any]:
        """What a record says besides."""
        chance = self.chance
        said = {
            "class_": (0.4, ("g0", "g1", "g0 g1", "x")),
            "interim_interval_s": (0.5, (3, 10)),
            "session_timeout_s": (0.2, (5, 20, 60)),
            "termination_action": (0.2, (0, 1)),
            "idle_timeout_s": (0.2, (3, 30)),
            "acct_multi_session_id": (0.2, ("m1", "m2")),
            "late_s": (0.1, (4, 60)),
        }
        return {"at_s": self.now_s} | {name: chance.choice(values) for name, (share, values) in said.items() if chance.random() < share}

    def rules(self) -> list[Rule]:
        """A policy."""
        chance = self.chance
        made: list[Rule] = [self.limit(number) for number in range(chance.randint(0, 4))]
        made += [
            Quota(name=f"q{number}", applies_to=chance.choice(("user", "group")), per="hour", octets=chance.choice((500, 1500)), group="g*")
            for number in range(chance.randint(0, 2))
        ]
        others: dict[Rule, float] = {
            Rate(name="r", applies_to=chance.choice(("user", "group")), starts=3, within_s=10): 0.3,
            Duration(name="d", applies_to=chance.choice(("user", "group")), max_s=chance.choice((5, 30)), group=chance.choice(GROUPS)): 0.5,
            Liveness(
                rule=chance.choice(("interim", "none")), times=chance.randint(1, 3), probe=chance.choice(("none", "query", "arp"))
            ): 0.7,
            Liveness(rule="handshake", period_s=chance.choice((3, 9))): 0.4,
            Membership(attribute="Class", pattern=r"(?P<group>g\d)"): 0.6,
        }
        return made + [rule for rule, share in others.items() if chance.random() < share]

    def limit(self, number: int) -> Limit:
        chance = self.chance
        applies_to = chance.choice(("user", "group", "group", "user-in-group", "guest-type"))
        return Limit(
            name=f"l{chance.randint(0, 5)}-{number}",
            applies_to=applies_to,
            max_sessions=chance.choice((0, 1, 1, 2, 3, 8)),
            group=chance.choice(GROUPS),
            count=chance.choice(("devices", "sessions")),
            victim=chance.choice(("newest", "oldest", "least-recently-active", "all-others", "none")),
            victim_scope=chance.choice(("user", "group")) if applies_to == "group" else "user",
            hold_s=chance.choice((0, 60)),
            action=chance.choice(("disconnect", "disconnect", "report")),
            counter_time_limit_s=chance.choice((0, 0, 5)),
            exempt=chance.choice(((), (), ("g1",))),
            on_change=chance.choice(("leave", "enforce", "enforce")),
        )


class Mortal:
    """Applies a journal, dies now and then, and goes on where the last checkpoint says.

    Attributes:
        deaths: how often, and of these in the middle of something.
    """

    def __init__(self, applied: Applied, chance: random.Random, *, in_pieces: bool) -> None:
        self.applied, self.chance, self.in_pieces = applied, chance, in_pieces
        self.rows: dict[bytes, bytes | None] = {}
        self.deaths = [0, 0]
        self.core = self.born()

    def born(self) -> Core:
        core = self.applied.make()
        for key, value in self.rows.items():
            core.restore(key, value)
        core.restored()
        core.in_pieces = self.in_pieces
        return core

    def live(self) -> Rows:
        """To the end of the journal; its rows then.

        Raises:
            AssertionError: something else came of a record than before.
        """
        offset = 0
        while offset < len(self.applied.records):
            out: list[Output] = []
            self.core.apply(offset, *self.applied.records[offset], out)
            is_dead = self.chance.random() < 0.03
            is_amid = self.core.pending is not None
            if is_amid:
                self.some_pieces(out)
                if not is_dead:
                    self.core.finish(out)
            wanted = self.applied.outputs[offset]
            assert out == wanted[: len(out)] if is_dead and is_amid else out == wanted, f"at offset {offset}"
            if is_dead:
                self.deaths[is_amid] += 1
                self.core = self.born()
                offset = self.core.next_offset
                continue
            offset += 1
            if self.chance.random() < 0.2:
                self.checkpoint()
        self.checkpoint()
        return {key: value for key, value in self.rows.items() if value is not None}

    def some_pieces(self, out: list[Output]) -> None:
        for _ in range(self.chance.choice((0, 1, 2, 5))):
            if next(self.core.pending or iter(()), self) is self:
                break
            out += self.core.following
            self.core.following = []

    def checkpoint(self) -> None:
        self.rows.update(self.core.checkpoint())


def straight(applied: Applied) -> Rows:
    """The rows of a core that saw all of it."""
    core = applied.make()
    for offset, record in enumerate(applied.records):
        core.apply(offset, *record, [])
    return {key: value for key, value in core.checkpoint() if value is not None}


@pytest.mark.python_core
@pytest.mark.parametrize("nth", range(SEEDS))
def test_wherever_an_owner_dies_the_same_outputs_and_rows_come_of_the_same_records(nth: int, monkeypatch: pytest.MonkeyPatch):
    """2.8, 7.1: DESIGN "The law"."""
    for module in (table, partition_core, session_core, group_core, group_table):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    chance = random.Random(nth)
    for applied in Story(chance).tell():
        wanted = straight(applied)
        for in_pieces in (False, True):
            assert Mortal(applied, chance, in_pieces=in_pieces).live() == wanted
