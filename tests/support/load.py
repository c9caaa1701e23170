"""Users of some small NASes who come, go and breach limits: a seeded load that notes what was answered.

What lives here: what the users do next, and what the NASes say to Disconnect-Requests. How packets travel is `nas`'s. A record is told from
all others by (NAS, Acct-Session-Id, Acct-Status-Type, its number in the session), so that a repeat in the journal is recognised: each
number is a thousand octets more.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.radius.fields import Value
from tests.support.nas import (
    ACCT_INPUT_OCTETS,
    ACCT_OUTPUT_OCTETS,
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    ACK,
    CALLING_STATION_ID,
    CLASS,
    USER_NAME,
    Answer,
    Sent,
    SmallNas,
)

STEP_S = 0.01
UNANSWERED_MAX = 150
MUTE_SHARE = 0.04
BOOT_SHARE = 0.0005
GROUPS = 5
"""Of the users, told by Class."""
OCTETS = 1000
"""A session has received so many more with each of its records."""
GONE, PROHIBITED = Answer(ack=False, error_cause=503), Answer(ack=False, error_cause=501)


class Name(NamedTuple):
    """What tells a record from all others."""

    nas: str
    session: str
    status: str
    number: int


@dataclass
class Session:
    """One that its NAS has. A mute one sends no Interims: it will be found dead. `number` is that of its last record."""

    nas: SmallNas
    user: str
    id: str
    is_mute: bool
    began_s: float = field(default_factory=time.monotonic)
    number: int = 0


class Load:
    """The users.

    Attributes:
        sent: every record with its packet, in order.
        nases: their sockets are open inside `async with` of each.
    """

    def __init__(self, seed: int, nases: int, users: int, secret: bytes, dae_secret: bytes) -> None:
        self._random = random.Random(seed)
        self.nases = [SmallNas(f"nas-{number}", secret, dae_secret, self._decide) for number in range(nases)]
        self.sent: list[tuple[Name, Sent]] = []
        self._users: dict[str, list[Session]] = {f"user-{number}": [] for number in range(users)}
        self._count = 0

    @property
    def unanswered(self) -> int:
        """Packets that wait for an answer."""
        return sum(nas.unanswered for nas in self.nases)

    async def run(self, rate: float, stop: asyncio.Event) -> None:
        """Do about so much a second, less while too much is unanswered, until `stop` is set."""
        names = list(self._users)
        due = 0.0
        before_s = time.monotonic()
        while not stop.is_set():
            await asyncio.sleep(STEP_S)
            now_s = time.monotonic()
            due = min(due + (now_s - before_s) * rate, rate)
            before_s = now_s
            while due >= 1 and self.unanswered < UNANSWERED_MAX:
                due -= 1
                self._do_something(self._random.choice(names))

    def _do_something(self, user: str) -> None:
        roll, sessions = self._random.random(), self._users[user]
        if self._random.random() < BOOT_SHARE:
            self._boot(self._random.choice(self.nases))
        elif not sessions or (len(sessions) < 3 and roll < 0.15):
            self._start(user)
        elif roll < 0.30:
            self._stop(self._random.choice(sessions))
        elif speaking := [session for session in sessions if not session.is_mute]:
            session = self._random.choice(speaking)
            session.number += 1
            self._account(session, "Interim-Update")

    def _start(self, user: str) -> None:
        self._count += 1
        session = Session(self._random.choice(self.nases), user, f"s{self._count}", self._random.random() < MUTE_SHARE)
        self._users[user].append(session)
        self._account(session, "Start")

    def _stop(self, session: Session) -> None:
        self._users[session.user].remove(session)
        session.number += 1
        self._account(session, "Stop")

    def _boot(self, nas: SmallNas) -> None:
        for user, sessions in self._users.items():
            self._users[user] = [session for session in sessions if session.nas is not nas]
        self._count += 1
        name = Name(nas.identifier, f"boot{self._count}", "Accounting-On", 0)
        self.sent.append((name, nas.account("Accounting-On", [(ACCT_SESSION_ID, name.session.encode())])))

    def _account(self, session: Session, status: str) -> None:
        mac = f"02-00-00-00-{len(session.user):02X}-{int(session.id[1:]) % 256:02X}"
        attributes = [
            (USER_NAME, session.user.encode()),
            (ACCT_SESSION_ID, session.id.encode()),
            (CALLING_STATION_ID, mac.encode()),
            (CLASS, f"group=group-{int(session.user[5:]) % GROUPS}".encode()),
            (ACCT_SESSION_TIME, int(time.monotonic() - session.began_s).to_bytes(4)),
            (ACCT_INPUT_OCTETS, (session.number * OCTETS).to_bytes(4)),
            (ACCT_OUTPUT_OCTETS, (session.number * OCTETS * 3).to_bytes(4)),
        ]
        name = Name(session.nas.identifier, session.id, status, session.number)
        self.sent.append((name, session.nas.account(status, attributes)))

    def _decide(self, attributes: dict[str, Value]) -> Answer | None:
        """Most are disconnected and their Stop follows; some are forgotten by the NAS, some stay by its rules, some get no answer."""
        wanted = str(attributes["acct_session_id"])
        session = next((one for one in self._users[str(attributes["user_name"])] if one.id == wanted), None)
        if session is None:
            return GONE
        kind = int(session.id[1:]) % 20
        if kind == 0:
            return None
        if kind == 1:
            return PROHIBITED
        if kind == 2:
            self._users[session.user].remove(session)
            return GONE
        self._stop(session)
        return ACK
