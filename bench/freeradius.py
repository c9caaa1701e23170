"""The peers of the ingest: FreeRADIUS 3 with its `detail` module, a flat file that keeps no state, and with radacct in PostgreSQL.

A configuration of its own in the bench's directory: one client, one accounting listener, the threads and the settings of the detail file or
of the database that Debian ships; queries, schema and acct_unique are Debian's own files. With the detail file it answers when that is
written; it does not fsync, and nothing reads the file. It asks for the same receive buffer as the ingest does, but by SO_RCVBUF, which the
kernel cuts to net.core.rmem_max: where that is small it drops packets at a large window (`resent`).
"""

import re
import shutil
import subprocess
from pathlib import Path

from agents.broker import pick_free_port
from bench.postgresql import DATABASE, Postgresql
from bench.rig import SECRET, Child, Rig

STOCK = Path("/etc/freeradius/3.0")
QUERIES = STOCK / "mods-config/sql/main/postgresql"

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
{writer}
server bench {{
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {port}
        recv_buff = 8388608
    }}
    {sections}
}}
"""
_DETAIL = """
modules {{
    detail {{
        filename = {detail}
        header = "%t"
        permissions = 0600
    }}
}}
"""
_SQL = """
modules {{
    expr {{
    }}
    sql {{
        driver = "rlm_sql_postgresql"
        dialect = "postgresql"
        server = "127.0.0.1"
        port = {port}
        login = "{user}"
        radius_db = "{database}"
        acct_table1 = "radacct"
        acct_table2 = "radacct"
        postauth_table = "radpostauth"
        authcheck_table = "radcheck"
        groupcheck_table = "radgroupcheck"
        authreply_table = "radreply"
        groupreply_table = "radgroupreply"
        usergroup_table = "radusergroup"
        client_table = "nas"
        group_attribute = "SQL-Group"
        delete_stale_sessions = yes
        pool {{
            start = ${{thread[pool].start_servers}}
            min = ${{thread[pool].min_spare_servers}}
            max = ${{thread[pool].max_servers}}
            spare = ${{thread[pool].max_spare_servers}}
            uses = 0
            retry_delay = 30
            lifetime = 0
            idle_timeout = 60
        }}
        $INCLUDE {queries}
    }}
}}
policy {{
    $INCLUDE {policy}
}}
"""
_SECTIONS = {"detail": "accounting {\n detail\n }", "sql": "preacct {\n acct_unique\n }\n accounting {\n sql\n }"}


class FreeRadius:
    """The running peer.

    Args:
        rig: where it happens.
        database: radacct is kept there; without one it writes a detail file.

    Attributes:
        name: of its figures.
        title: of its rows.
        port: where it receives accounting.
        version: what it says of itself; empty where it is not installed.
        why_not: why it cannot be measured; empty when it can.
    """

    def __init__(self, rig: Rig, database: Postgresql | None = None) -> None:
        program = shutil.which("freeradius") or shutil.which("freeradius", path="/usr/sbin") or shutil.which("radiusd")
        self.name = "freeradius-postgresql" if database else "freeradius"
        self.port = pick_free_port()
        self.version = ""
        self.why_not = "" if program else "FreeRADIUS is not installed (Debian: apt-get install freeradius)"
        self._database = database
        self._users = rig.sizes.users
        directory = rig.directory / self.name
        self._detail = directory / "detail"
        self._child: Child | None = None
        if program and database:
            self.why_not = database.why_not or _missing_for_sql()
        if program and not self.why_not:
            said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"Version (\S+?),", said)
            self.version = found[1] if found else "of unknown version"
            directory.mkdir(exist_ok=True)
            (directory / "radiusd.conf").write_text(self._configuration(directory))
            self._child = Child(self.name, [program, "-f", "-l", "stdout", "-n", "radiusd", "-d", str(directory)], rig.directory)
        kept = f"PostgreSQL {database.version} radacct" if database else "detail file"
        self.title = f"FreeRADIUS {self.version}, {kept}"

    async def start(self) -> None:
        if self._child is None:
            return
        if self._database:
            await self._database.start(QUERIES / "schema.sql")
        self._child.start()
        await self._child.says("Ready to process requests")

    async def stop(self) -> None:
        if self._child:
            await self._child.stop()
            if self._database:
                await self._database.stop()
        self._detail.unlink(missing_ok=True)

    def cpu_s(self) -> float:
        """The CPU time that it has used, with its database."""
        return (self._child.cpu_s() if self._child else 0.0) + (self._database.cpu_s() if self._database else 0.0)

    def resident_octets(self) -> int:
        """The memory that it holds, without its database."""
        return self._child.resident_octets() if self._child else 0

    def forget(self) -> None:
        """Drop what it wrote; it opens the file anew."""
        if self._database and self._child:
            self._database.run("TRUNCATE radacct")
        self._detail.unlink(missing_ok=True)

    def wrote(self, packets: int) -> bool:
        """Whether what it answered since `forget` is there: each record in the file, or a row for each session that began."""
        if self._database:
            return int(self._database.run("SELECT count(*) FROM radacct")) >= min(packets, self._users)
        with self._detail.open("rb") as file:
            return sum(line.startswith(b"\tAcct-Status-Type") for line in file) >= packets

    def _configuration(self, directory: Path) -> str:
        if self._database:
            how, database = "sql", {"port": self._database.port, "user": self._database.user, "database": DATABASE}
            writer = _SQL.format(**database, queries=QUERIES / "queries.conf", policy=STOCK / "policy.d/accounting")
        else:
            how, writer = "detail", _DETAIL.format(detail=self._detail)
        settings = {"directory": directory, "secret": SECRET, "port": self.port, "libdir": "/usr/lib/freeradius"}
        return _CONFIGURATION.format(**settings, writer=writer, sections=_SECTIONS[how])


def _missing_for_sql() -> str:
    """What FreeRADIUS lacks to write into PostgreSQL; empty when nothing."""
    needed = (Path("/usr/lib/freeradius/rlm_sql_postgresql.so"), QUERIES / "queries.conf", QUERIES / "schema.sql")
    try:
        lacking = [str(file) for file in needed if not file.is_file()]
    except PermissionError as refused:
        return f"FreeRADIUS's stock queries cannot be read: {refused}"
    return f"FreeRADIUS lacks {', '.join(lacking)} (Debian: apt-get install freeradius-postgresql)" if lacking else ""
