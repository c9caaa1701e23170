"""A real MQTT broker (mosquitto) for tests: users with passwords, with TLS by an authority of its own, or without.

It takes a free port of the loopback, runs in a directory of the test's and ends with it.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agents.broker import pick_free_port

READY_WITHIN_S = 60
USERS = {"curfew": "broker-password", "node": "node-password"}


class Mosquitto(NamedTuple):
    """A broker that runs.

    Attributes:
        port: on 127.0.0.1. tls_port: the same broker by TLS. cafile: the authority that signed its certificate.
    """

    port: int
    tls_port: int
    cafile: Path


@contextlib.asynccontextmanager
async def mosquitto(directory: Path) -> AsyncIterator[Mosquitto]:
    """A broker as long as the block runs; the test is skipped where there is none."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    passwords = shutil.which("mosquitto_passwd")
    openssl = shutil.which("openssl")
    if not program or not passwords or not openssl:
        pytest.skip("needs mosquitto and openssl (deploy/apt-packages.txt)")
    port, tls_port = _prepare(directory, passwords, openssl)
    process = await asyncio.create_subprocess_exec(
        *(program, "-c", str(directory / "mosquitto.conf")), stdout=asyncio.subprocess.DEVNULL, stderr=(directory / "log").open("wb")
    )
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            for one in (port, tls_port):
                await _listens(one, process, directory / "log")
        yield Mosquitto(port, tls_port, directory / "authority.pem")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _prepare(directory: Path, passwords: str, openssl: str) -> tuple[int, int]:
    """Certificates, users and configuration; the ports that it gets."""
    directory.mkdir(parents=True, exist_ok=True)
    _certificates(openssl, directory)
    (directory / "passwords").touch()
    for user, password in USERS.items():
        subprocess.run([passwords, "-b", directory / "passwords", user, password], check=True, capture_output=True)
    port, tls_port = pick_free_port(), pick_free_port()
    (directory / "mosquitto.conf").write_text(
        "per_listener_settings false\nallow_anonymous false\n"
        f"password_file {directory}/passwords\n"
        f"listener {port} 127.0.0.1\n"
        f"listener {tls_port} 127.0.0.1\ncertfile {directory}/broker.pem\nkeyfile {directory}/broker.key\n"
        + (f"user {os.environ.get('USER') or 'root'}\n" if os.geteuid() == 0 else "")
    )
    return port, tls_port


async def _listens(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    while True:
        assert process.returncode is None, f"see {log}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def _certificates(openssl: str, directory: Path) -> None:
    """An authority, and a broker's certificate for 127.0.0.1 that it signed."""

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=directory)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *curve, "-keyout", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=test authority")
    run("req", *curve, "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=127.0.0.1")
    (directory / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    run("x509", "-req", "-in", "broker.csr", *signed, "-out", "broker.pem")
