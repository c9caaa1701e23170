"""A PostgreSQL cluster of its own for one peer: in a temporary directory, on the loopback, with the settings that initdb gives.

The server refuses to run as root, so root starts it as the user of Debian's package, else as nobody. Stock means durable: a transaction is
answered when it is on the disk (`fsync` and `synchronous_commit` stay on), as with Kafka's acks=all it is when every replica has it.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agents.broker import pick_free_port
from bench.rig import Child, FailedError, Rig

INSTALLED = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
DISK = Path("/var/tmp")  # noqa: S108 - what is made there has a name of its own (mkdtemp)
"""Not below the bench's own directory, which another user may not reach, and not /tmp, which may be memory."""
DATABASE = "radius"
COMMAND_WITHIN_S = 120


class Postgresql:
    """The cluster, there between `start` and `stop`.

    Attributes:
        port: where it listens on 127.0.0.1. user: the role that may do everything, without a password.
        version: what it says of itself.
        why_not: why there is none; empty when there can be one.
    """

    def __init__(self, rig: Rig) -> None:
        found = shutil.which("postgres") or max(map(str, INSTALLED.glob("*/bin/postgres")), default=None)
        self._programs = Path(found).resolve().parent if found else None
        self.why_not = "" if found else "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        self.version = _run([found, "--version"]).split()[2] if found else ""
        self.port, self.user = pick_free_port(), "radius"
        self._as = next((who for who in map(_account, USERS) if who), None) if os.geteuid() == 0 else None
        self._rig = rig
        self._child: Child | None = None
        self._directory: Path | None = None

    async def start(self, schema: Path) -> None:
        """Make the cluster and the tables of a schema.

        Raises:
            FailedError: it cannot be made or does not start.
        """
        assert self._programs is not None
        self._directory = Path(tempfile.mkdtemp(prefix="curfew-bench-", dir=DISK))
        data = str(self._directory / "data")
        become: list[str] = []
        if self._as is not None:
            os.chown(self._directory, self._as.pw_uid, self._as.pw_gid)
            who = (f"--reuid={self._as.pw_uid}", f"--regid={self._as.pw_gid}", "--clear-groups")
            become = ["setpriv", *who, "--pdeathsig", "KILL"]  # again: what Child asks for is lost with the change of user
        _run([*become, str(self._programs / "initdb"), "-D", data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-instructions"])
        server = [str(self._programs / "postgres"), "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._directory)]
        self._child = Child("postgresql", [*become, *server], self._rig.directory)
        self._child.start()
        await self._child.says("ready to accept connections")
        self.run(f"CREATE DATABASE {DATABASE}", database="postgres")
        self._psql(["-f", str(schema)], DATABASE)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def run(self, statement: str, database: str = DATABASE) -> str:
        """What a statement gives, unadorned.

        Raises:
            FailedError: it was refused.
        """
        return self._psql(["-c", statement], database)

    def cpu_s(self) -> float:
        """The CPU time that the server and its processes have used."""
        return self._child.family_cpu_s() if self._child else 0.0

    def _psql(self, arguments: Sequence[str], database: str) -> str:
        assert self._programs is not None
        command = [str(self._programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", database]
        return _run([*command, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments]).strip()


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=COMMAND_WITHIN_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise FailedError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout
