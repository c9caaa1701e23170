"""What the other ways out of a NAS say (behaviour 5.6): the answer to a disconnect, a line of a connection test, a session of the device.

Nouns only. A way out is what is used where a NAS does not end sessions by RFC 5176: its own API, MQTT, pick-up over HTTP, Huawei's Portal
protocol. The interface that each driver keeps is `agents.ways.Way`; what an answer leads to is decided in `streams.kick`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.errors import CurfewError

Answer = Literal["accepted", "gone", "refused", "unanswered", "unsupported"]
"""accepted: a promise like a Disconnect-ACK, the Stop is still awaited. gone: the device knows no such session, like Error-Cause 503.
refused: it said no. unanswered: nothing usable came back in time. unsupported: this way cannot end such a session."""


WAYS_WITH_SECRET = ("poll", "huawei-portal")
"""The ways that need `secret` of `disconnect`; without one nothing is sent."""
WAY_WITHIN_S = 10.0
PICKUP_WITHIN_S = 75.0


def way_within_s(via: str) -> float:
    """How long a driver may take for one disconnect: a device that polls comes by once a minute, the others are asked at once."""
    return PICKUP_WITHIN_S if via == "poll" else WAY_WITHIN_S


NoAnswer = Literal["silent", "closed", "unreachable"]
"""How nothing comes back: without a word; with the word that nobody has that port open; or nothing can be sent at all."""


class NoListError(CurfewError):
    """This way cannot say which sessions the device has; the text says why."""


class WayAnswer(msgspec.Struct, frozen=True):
    """What became of asking for one disconnect by a way that is not RADIUS.

    Attributes:
        detail: a sentence for people, with what the device said where it said something.
        round_trip_ms: from the question to the answer.
    """

    answer: Answer
    detail: str = ""
    round_trip_ms: float | None = None


class DeviceSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the device itself lists it.

    Attributes:
        kind: the device's own word: `hotspot`, `pppoe`, `ppp` ...
        device_id: its own handle for the session.
        uptime_s: how long it has lasted.
        radius: whether the device had RADIUS decide about it; None: it does not say.
    """

    kind: str
    device_id: str
    user_name: str | None = None
    calling_station_id: str | None = None
    framed_ip_address: str | None = None
    acct_session_id: str | None = None
    uptime_s: int | None = None
    radius: bool | None = None


class Finding(msgspec.Struct, frozen=True):
    """One line of a connection test.

    Attributes:
        way: which way was tried.
        ok: it works.
        sentence: for people, with a part of the reply where there was one.
    """

    way: str
    ok: bool
    sentence: str
