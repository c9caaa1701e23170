"""Disconnects that wait to be picked up by devices that poll: a board with a slip for each (behaviour 5.6).

Law of this file: pure state. Whoever asks over HTTP, and the clock, are the agent's; times are monotonic seconds. A slip is handed out at
each visit until its device has reported on it, since an answer can be lost on the way and a second logout does no harm. What is not
reported in time is unanswered, and taken down.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from schemas.codec import JsonValue, display
from schemas.disconnect import DisconnectCommand
from schemas.ways import WayAnswer
from streams.mac import normal_mac

SLIPS_PER_NODE_MAX = 1_000
GRACE_S = 15.0
"""What a device may be late by: a second visit missed by a little, and its report."""
REPORT_OCTETS_MAX = 4_096
DETAIL_CHARACTERS_MAX = 200
_FIELDS = ("user_name", "calling_station_id", "framed_ip_address", "acct_session_id", "nas_identifier")


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device says of a slip.

    Attributes:
        answer: `accepted`: it has logged the session out; `gone`: it has none such; `refused`: it would not.
        detail: a word for people.
    """

    answer: Literal["accepted", "gone", "refused"]
    detail: Annotated[str, msgspec.Meta(max_length=DETAIL_CHARACTERS_MAX)] = ""


class Slip(msgspec.Struct):
    """A disconnect that waits.

    Attributes:
        put_s: when it was put up. handed_out: how often it was seen by its device. answer: what the device said of it.
    """

    item: dict[str, JsonValue]
    put_s: float
    handed_out: int = 0
    answer: WayAnswer | None = None


class Board:
    """The slips by node.

    Attributes:
        last_visit_s: when each node came by, of those that did.
    """

    def __init__(self) -> None:
        self.last_visit_s: dict[str, float] = {}
        self._slips: dict[str, dict[str, Slip]] = {}

    def put(self, node: str, command: DisconnectCommand, now_s: float) -> Slip | None:
        """Put a slip up; None: too many wait for that node."""
        slips = self._slips.setdefault(node, {})
        if len(slips) >= SLIPS_PER_NODE_MAX and command.id not in slips:
            return None
        slip = slips[command.id] = Slip(item_of(command), now_s)
        return slip

    def take_down(self, node: str, slip: Slip) -> None:
        """It is answered, or too late."""
        slips = self._slips.get(node, {})
        for command_id, one in list(slips.items()):
            if one is slip:
                del slips[command_id]
        if not slips:
            self._slips.pop(node, None)

    def visit(self, node: str, now_s: float) -> list[dict[str, JsonValue]]:
        """The device comes by: what waits for it, the oldest first."""
        self.last_visit_s[node] = now_s
        waiting = [slip for slip in self._slips.get(node, {}).values() if slip.answer is None]
        for slip in waiting:
            slip.handed_out += 1
        return [slip.item for slip in waiting]

    def report(self, node: str, command_id: str, report: Report, now_s: float) -> Slip | None:
        """The device says what became of a slip; None: no such slip waits for it (it is too late, or reported already)."""
        self.last_visit_s[node] = now_s
        slip = self._slips.get(node, {}).get(command_id)
        if slip is None or slip.answer is not None or not slip.handed_out:
            return None
        detail = " ".join(report.detail.split())
        said = f"the device reports {report.answer}{f': {detail}' if detail else ''}"
        slip.answer = WayAnswer(report.answer, said, (now_s - slip.put_s) * 1000)
        return slip

    def waiting(self, node: str) -> int:
        """How many slips wait for a node."""
        return len(self._slips.get(node, {}))


def item_of(command: DisconnectCommand) -> dict[str, JsonValue]:
    """What a device is told of a disconnect: its id, whose session, and as `mac` the one text that is safe in a shell."""
    return {"id": command.id, **_session(command.session)}


def unanswered(slip: Slip, waited_s: float) -> WayAnswer:
    """What becomes of a slip that nobody reported on."""
    if slip.handed_out:
        return WayAnswer("unanswered", f"the device picked it up, and did not report on it within {waited_s:.0f} s")
    return WayAnswer("unanswered", f"the device did not come by within {waited_s:.0f} s")


def _session(session: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {field: display(value) for field in _FIELDS if isinstance(value := session.get(field), str)}
    station = session.get("calling_station_id")
    mac = normal_mac(station) if isinstance(station, str) else None
    return told if mac is None else {**told, "mac": mac.upper().replace(":", "-")}
