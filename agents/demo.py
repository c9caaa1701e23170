"""What `curfew up --demo` adds: its files, a simulated network that fits the configuration, and the story followed in the topics.

A NAS of the configuration is simulated when it is on this machine and takes Disconnect-Requests there. 127.0.0.1 is nobody's: the packets
that people send themselves come from there.
"""

from __future__ import annotations

import asyncio
import random
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Self

from agents.broker import find_root
from agents.simulated_nas import Place, SimulatedNetwork
from agents.story import Story, Teller
from agents.topic_reader import reading
from schemas.configuration import Configuration, Nas, endpoint
from schemas.errors import CurfewError
from schemas.topics import EVENTS, RESULTS
from streams.profiles import configured
from streams.simulation import NasSettings, Network, People, SimulatedNas

SEED = 1
NASES_MIN = 2
INTERIM_S = 2.0  # where the configuration says nothing
BACKGROUND = People(
    users=("dora", "emil", "fatima", "george", "hana", "ivan", "jun", "karim", "lena", "marta"), devices=1, logins_per_s=1.0, session_s=60.0
)
"""So many that each NAS is heard every moment: silence on a NAS that says nothing at all proves nothing."""
EVERYBODYS = IPv4Address("127.0.0.1")


class NothingToSimulateError(CurfewError):
    """The configuration has too few NASes on this machine."""


class Demo:
    """The simulated network, its sockets bound, and the story."""

    def __init__(self, configuration: Configuration, teller: Teller, program: str) -> None:
        """Bind the sockets.

        Args:
            configuration: which NASes there are, and where accounting goes.
            teller: prints the story.
            program: how `curfew` is called here, for the hints.

        Raises:
            NothingToSimulateError: fewer than two NASes can be simulated.
            CannotSimulateError: an address or port cannot be had.
        """
        nases = [(nas, address) for nas in configuration.nas if (address := _loopback(nas)) is not None]
        if len(nases) < NASES_MIN:
            raise NothingToSimulateError(
                'The demonstration needs two [[nas]] on loopback addresses like "127.0.0.2/32", each with `disconnect` there and a secret. '
                "Leave --config out to take the configuration of the demonstration."
            )
        chance = random.Random(SEED)
        network = Network([SimulatedNas(_settings(nas, address), chance) for nas, address in nases], BACKGROUND, chance)
        profiles = configured(configuration.profile)
        ways = [(address, nas.disconnect) for nas, address in nases if nas.disconnect is not None]
        places = [Place(str(address), way.port or profiles[way.profile].port) for address, way in ways]
        self._story = Story(teller, _hints(program, configuration.ingest.listen[0]))
        self._simulated = SimulatedNetwork(network, places, endpoint(configuration.ingest.listen[0]), self._story.seen)

    async def tell(self, configuration: Configuration) -> None:
        """Start the network, play and tell the story, and go on with the news; returns never.

        Raises:
            KafkaUnreachableError: Kafka does not answer.
        """
        async with reading(configuration, EVENTS, RESULTS) as reader:
            await reader.seek_to_end()
            following = asyncio.create_task(self._story.follow(reader))
            try:
                async with self._simulated:
                    await self._story.tell(self._simulated)
                    await following
            finally:
                following.cancel()

    def close(self) -> None:
        """Give the ports back."""
        self._simulated.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def demo_files() -> tuple[Path, Path]:
    """The configuration and the policy of the demonstration, in the checkout.

    Raises:
        BrokerError: this is not run from a checkout.
    """
    directory = find_root() / "deploy/demo"
    return directory / "curfew.toml", directory / "policy.toml"


def _hints(program: str, listen: str) -> list[str]:
    """What a person can do next."""
    start = "User-Name = you, Acct-Status-Type = Start, Acct-Session-Id = 1"
    return [
        f"{program} sessions                     who is online",
        f"{program} watch                        what happens, as it happens",
        f"{program} policy apply FILE            another policy; deploy/demo/policy.toml is in force",
        f'echo "{start}" | radclient {listen} acct testing123',
    ]


def _loopback(nas: Nas) -> IPv4Address | None:
    """Where a NAS can be simulated."""
    if len(nas.addresses) != 1 or nas.disconnect is None or nas.disconnect.via != "radius" or not nas.disconnect.secret or not nas.secret:
        return None
    address = ip_network(nas.addresses[0]).network_address
    if not isinstance(address, IPv4Address) or not address.is_loopback or address == EVERYBODYS:
        return None
    return address if nas.disconnect.address == str(address) else None


def _settings(nas: Nas, address: IPv4Address) -> NasSettings:
    disconnect_secret = nas.disconnect.secret if nas.disconnect is not None else None
    return NasSettings(
        name=nas.name,
        address=address,
        secret=(nas.secret or "").encode(),
        disconnect_secret=(disconnect_secret or "").encode(),
        interim_s=nas.interim_interval_s or INTERIM_S,
    )
