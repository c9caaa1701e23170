"""The other ways out of a NAS (behaviour 5.6): one interface, and which driver belongs to which `via`.

What lives here: the interface and the table. What may not: any way of its own; each has its file beside this one, its protocol's pure part
in `streams`, and takes what it says from `schemas.ways`, so that no driver imports this file.

A new driver is one line in `_DRIVERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from agents.ways.coova_mqtt import CoovaMqtt
from agents.ways.huawei_portal import HuaweiPortal
from agents.ways.poll import Poll
from agents.ways.radsec import Radsec
from agents.ways.routeros import RouterOs
from schemas.configuration import Configuration, Nas, Via
from schemas.disconnect import DisconnectCommand
from schemas.ways import DeviceSession, Finding, WayAnswer


class Way(Protocol):
    """One way out. Making it opens nothing; connections are made when they are first needed, and kept by the driver as it likes."""

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Ask the NAS, or what stands before it, to end the command's session.

        Never raises for what the peer does or does not do; takes `way_within_s` at most. May be cancelled at any time.
        """
        ...

    async def test(self, nas: Nas) -> list[Finding]:
        """Try the connection as an operator would, without ending any session; the lines show a part of the reply."""
        ...

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """Who is on the device, by its own account.

        Raises:
            NoListError: this way, or this device, cannot say.
        """
        ...

    async def close(self) -> None:
        """Close what is open. Nothing is asked afterwards."""
        ...


_DRIVERS: Mapping[Via, Callable[[Configuration], Way]] = {
    "routeros": RouterOs,
    "radsec": Radsec,
    "coova-mqtt": CoovaMqtt,
    "poll": Poll,
    "huawei-portal": HuaweiPortal,
}


def ways(configuration: Configuration) -> dict[str, Way]:
    """The drivers by `via`, made for this configuration."""
    return {via: make(configuration) for via, make in _DRIVERS.items()}
