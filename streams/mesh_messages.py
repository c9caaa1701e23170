"""RADIUSdesk's messages to CoovaChilli on its mesh nodes and access points: topics, commands and replies (behaviour 5.6).

Law of this file: texts in, texts out. A node takes commands at a topic of its own, leaves alone what bears another MAC address than its
own, runs the command in its shell, and replies at one topic that all nodes share: `fetched` when it has it, `replied` with what the
command printed. So a command is put together here alone, and of nothing but a MAC address that was read as one.

    /RD/MESH/<node>/COMMAND, /RD/AP/<node>/COMMAND   {"mode", "node_id" and "mesh_id" or "ap_id", "mac", "cmd_id", "cmd", "action"}
    /RD/NODE/COMMAND/RESPONSE                        {"mode", ..., "mac", "cmd_id", "status", "reply"}

Sources: RADIUSdesk rdcore (node-actions, KickerComponent), its API gateway, and the MESHdesk firmware's MQTT client, as of 2024 to 2026;
chilli_query(1) for the columns of its list.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from schemas.codec import UNREADABLE, JsonValue, dumps
from schemas.configuration import Disconnect
from schemas.ways import DeviceSession
from streams.mac import normal_mac

RESPONSE_TOPIC: Final = "/RD/NODE/COMMAND/RESPONSE"
LIST_COMMAND: Final = "chilli_query list"
COMMAND_IDS: Final = range(1 << 30, 1 << 31)
"""RADIUSdesk's own numbers count from 1, and its gateway hears these replies too; Lua on a node has 32-bit integers."""
PAYLOAD_OCTETS_MAX: Final = 256 * 1024
_EXIT: Final = "exit status "
_SHOWN_CHARACTERS: Final = 120

Status = Literal["fetched", "replied"]


class NodeReply(NamedTuple):
    """What a node says of a command.

    Attributes:
        command_id: which. status: it has it, or it has run it. text: what the command printed.
        exit_status: of the command, where it was asked for and came.
    """

    command_id: int
    status: Status
    text: str = ""
    exit_status: int | None = None

    @property
    def shown(self) -> str:
        """The text, short enough for a sentence."""
        text = " ".join(self.text.split())
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


class _Response(msgspec.Struct):
    """The reply's JSON; a number may come back as a text, or with a fraction of nought, since Lua makes no difference."""

    mac: str
    cmd_id: int | float | str
    status: str
    reply: str = ""


_RESPONSE = msgspec.json.Decoder(_Response)


def topic_of(way: Disconnect) -> str:
    """Where the node takes commands."""
    return f"/RD/{'AP' if way.mesh is None else 'MESH'}/{way.node}/COMMAND"


def logout_command(session: Mapping[str, JsonValue]) -> str | None:
    """The shell command that logs a session's device out; None where its Calling-Station-Id is no MAC address."""
    station = session.get("calling_station_id")
    mac = normal_mac(station) if isinstance(station, str) else None
    return None if mac is None else f"chilli_query logout mac {_hyphened(mac)}"


def message(way: Disconnect, command_id: int, command: str) -> bytes:
    """The message that makes a node run a command and reply with what it printed, and with its exit status."""
    mode: dict[str, JsonValue] = (
        {"mode": "ap", "ap_id": way.node}
        if way.mesh is None
        else {"mode": "mesh", "node_id": way.node, "mesh_id": way.mesh.upper().replace("_", "-")}
    )
    mac = _hyphened(normal_mac(way.node_mac or "") or "")
    line = f'{command} 2>&1; echo "{_EXIT}$?"'
    return dumps({**mode, "mac": mac, "cmd_id": command_id, "cmd": line, "action": "execute_and_reply"}).encode()


def read_reply(payload: bytes, way: Disconnect) -> NodeReply | None:
    """What a node says; None where it is no reply, or another node's.

    Args:
        payload: what came at `RESPONSE_TOPIC`.
        way: of the node that was asked.
    """
    if len(payload) > PAYLOAD_OCTETS_MAX:
        return None
    try:
        response = _RESPONSE.decode(payload)
        command_id = int(response.cmd_id)
    except (*UNREADABLE, ValueError, OverflowError):
        return None
    if normal_mac(response.mac) != normal_mac(way.node_mac or ""):
        return None
    match response.status:
        case "fetched":
            return NodeReply(command_id, "fetched")
        case "replied":
            return NodeReply(command_id, "replied", *_split(response.reply))
        case _:
            return None


def listed(text: str) -> Iterator[DeviceSession]:
    """The sessions of `chilli_query list`: MAC, IP, state, session id, whether it is logged in, user, duration/max, ...; others are not."""
    for line in text.splitlines():
        columns = line.split()
        if len(columns) < 7 or normal_mac(columns[0]) is None or columns[4] != "1":
            continue
        mac, address, state, session, _, user, duration = columns[:7]
        seconds = duration.partition("/")[0]
        yield DeviceSession(
            kind="hotspot",
            device_id=f"{mac} {state}",
            user_name=user if user != "-" else None,
            calling_station_id=mac,
            framed_ip_address=address,
            acct_session_id=session,
            uptime_s=int(seconds) if seconds.isdecimal() else None,
        )


def _split(reply: str) -> tuple[str, int | None]:
    """What a command printed, and its exit status, which stands on the last line."""
    text, _, last = reply.rstrip().rpartition("\n")
    if not last.startswith(_EXIT):
        return reply, None
    number = last.removeprefix(_EXIT)
    return text, int(number) if number.isascii() and number.isdecimal() and len(number) <= 3 else None


def _hyphened(mac: str) -> str:
    return mac.upper().replace(":", "-")
