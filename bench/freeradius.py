"""The peer of the ingest: FreeRADIUS 3 with its `detail` module, a flat file that keeps no state.

A configuration of its own in the bench's directory: one client, one accounting listener, the threads and the detail settings that Debian
ships. It answers when the file is written; it does not fsync, and nothing reads the file. It asks for the same receive buffer as the ingest
does, but by SO_RCVBUF, which the kernel cuts to net.core.rmem_max: where that is small it drops packets at a large window (`resent`).
"""

import re
import shutil
import subprocess

from bench.rig import SECRET, Child, Rig, free_port

_CONFIGURATION = """
prefix = /usr
libdir = {libdir}
run_dir = {directory}
logdir = {directory}
raddbdir = {directory}
pidfile = {directory}/pid
hostname_lookups = no
max_requests = 16384
max_request_time = 30
cleanup_delay = 5
log {{
    destination = stdout
}}
security {{
    max_attributes = 200
    status_server = yes
    allow_vulnerable_openssl = yes
}}
thread pool {{
    start_servers = 5
    max_servers = 32
    min_spare_servers = 3
    max_spare_servers = 10
    max_requests_per_server = 0
}}
client load {{
    ipaddr = 127.0.0.1
    secret = "{secret}"
}}
modules {{
    detail {{
        filename = {detail}
        header = "%t"
        permissions = 0600
    }}
}}
server bench {{
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {port}
        recv_buff = 8388608
    }}
    accounting {{
        detail
    }}
}}
"""


class FreeRadius:
    """The running peer.

    Attributes:
        port: where it receives accounting.
        version: what it says of itself; empty where it is not installed.
        why_not: why it cannot be measured; empty when it can.
    """

    def __init__(self, rig: Rig) -> None:
        program = shutil.which("freeradius") or shutil.which("freeradius", path="/usr/sbin") or shutil.which("radiusd")
        self.port = free_port()
        self.version = ""
        self.why_not = "" if program else "FreeRADIUS is not installed (Debian: apt-get install freeradius)"
        directory = rig.directory / "freeradius"
        self._detail = directory / "detail"
        self._child: Child | None = None
        if program:
            said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"Version (\S+?),", said)
            self.version = found[1] if found else "of unknown version"
            directory.mkdir(exist_ok=True)
            configuration = _CONFIGURATION.format(
                directory=directory, detail=self._detail, secret=SECRET, port=self.port, libdir="/usr/lib/freeradius"
            )
            (directory / "radiusd.conf").write_text(configuration)
            self._child = Child("freeradius", [program, "-f", "-l", "stdout", "-n", "radiusd", "-d", str(directory)], rig.directory)

    async def start(self) -> None:
        if self._child:
            self._child.start()
            await self._child.says("Ready to process requests")

    async def stop(self) -> None:
        if self._child:
            await self._child.stop()

    def cpu_s(self) -> float:
        """The CPU time that it has used."""
        return self._child.cpu_s() if self._child else 0.0

    def forget(self) -> None:
        """Drop what it wrote; it opens the file anew."""
        self._detail.unlink(missing_ok=True)

    def written(self) -> int:
        """How many records are in its file."""
        with self._detail.open("rb") as file:
            return sum(line.startswith(b"\tAcct-Status-Type") for line in file)
