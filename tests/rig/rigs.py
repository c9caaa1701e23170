"""The rigs of tests/rig/scripts as objects: real NAS software, started on free ports, torn down by `stop`."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from agents.broker import pick_free_port
from tests.support.product import Nas, run

SCRIPTS = Path(__file__).parent / "scripts"
START_WITHIN_S = 120.0


class Rig:
    """One rig: a directory of files and the variables that its scripts take.

    Attributes:
        variables: the scripts' environment.
    """

    def __init__(self, directory: Path, **variables: object) -> None:
        self.variables = {name: str(value) for name, value in variables.items()} | {"RUN_DIR": str(directory)}
        self._directory = directory

    async def script(self, name: str, *arguments: str) -> str:
        """Run one of the scripts for this rig; what it printed."""
        return await run(str(SCRIPTS / name), *arguments, environment=self.variables, within_s=START_WITHIN_S)

    def log(self, name: str) -> str:
        """What one of its programs wrote so far."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    async def stop(self) -> None:
        """End its processes, take its interfaces away, and show its logs (pytest keeps them for a test that fails)."""
        await self.script("stop.sh")
        for log in sorted(self._directory.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            print("\n".join(f"  {log.stem}| {line}" for line in lines))  # noqa: T201 - see above


class Hostapd(Rig):
    """hostapd with wired supplicants.

    Attributes:
        nas: its table for the product's configuration.
    """

    def __init__(self, directory: Path, *, profile: str = "default", **variables: object) -> None:
        """Args: profile: of its disconnects; variables: of hostapd_start.sh (N, SAME_USER, INTERIM, DAE_REQUIRE_TS, DAE_REQUIRE_MA...)."""
        dae_port = pick_free_port()
        self.nas = Nas("switch", "acctsecret", dae_port, "daesecret", profile)
        own = {
            "ID": secrets.token_hex(2),
            "AUTH_PORT": pick_free_port(),
            "DAE_PORT": dae_port,
            "DAE_SECRET": "daesecret",
            "ACCT_SECRET": "acctsecret",
        }
        super().__init__(directory, **own, **variables)

    @contextlib.asynccontextmanager
    async def running(self, acct_port: int) -> AsyncIterator["Hostapd"]:
        """The rig, its users logged in; torn down at the end."""
        self.variables["ACCT_PORT"] = str(acct_port)
        try:
            await self.script("hostapd_start.sh")
            yield self
        finally:
            await self.stop()

    async def cut(self, number: int) -> None:
        """Cut a supplicant's cable; the first is 1. hostapd is not told: its port is a bridge."""
        await run("ip", "link", "set", f"rig{self.variables['ID']}v{number}", "down")

    @staticmethod
    def mac(number: int) -> str:
        """A supplicant's MAC address."""
        return f"02:aa:00:00:00:{number:02x}"

    async def kill_hostapd(self) -> None:
        """End hostapd without warning."""
        await self.script("hostapd_process.sh", "kill")

    async def start_hostapd(self) -> None:
        """Start it again."""
        await self.script("hostapd_process.sh", "start")


class FreeRadius(Rig):
    """FreeRADIUS in front of the product (`mode` proxy, replicate, detail), or as a Disconnect server (coa).

    Attributes:
        in_port: where it takes accounting from NASes, with the secret `SECRET`. dae_port: where it takes Disconnect-Requests.
    """

    SECRET = "frontsecret"

    def __init__(self, directory: Path, mode: str) -> None:
        self.in_port, self.dae_port = pick_free_port(), pick_free_port()
        super().__init__(directory, MODE=mode, IN_PORT=self.in_port, DAE_PORT=self.dae_port, SECRET=self.SECRET, ACCT_SECRET="acctsecret")

    @contextlib.asynccontextmanager
    async def running(self, acct_port: int) -> AsyncIterator["FreeRadius"]:
        """FreeRADIUS, ready; torn down at the end."""
        self.variables["ACCT_PORT"] = str(acct_port)
        try:
            await self.script("freeradius_start.sh")
            yield self
        finally:
            await self.stop()
