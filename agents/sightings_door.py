"""The door for sightings: what switches, DHCP servers and ARP watchers have seen is checked and put into the journal (behaviour 3.4).

A sighting says a MAC or an address and not whose that is, so it goes into every partition, in batches: each finds its own sessions. What is
no sighting goes to `accounting.rejected` with its bytes; what one sender says too much is counted and left out. Old sightings are worth
nothing, so a new consumer group begins at the end, and a repeat does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from agents import metrics
from agents.door import Door, keep_open
from schemas.codec import UNREADABLE, decoder, encode
from schemas.configuration import Configuration
from schemas.sighting import SEEN_MAX, Sighting, Sightings
from schemas.topics import ACCOUNTING, SIGHTINGS, SIGHTINGS_DOOR_GROUP
from streams.sighting_gate import Gate

SIGHTING_KIND = "sighting"
TOO_MANY = "sighting-too-many"
REJECTED_AT_ONCE_MAX = 20
"""So many of a poll are kept with their bytes; the others are only counted."""

_SIGHTING = decoder(Sighting).decode


class SightingsDoor(Door):
    """One process's door for sightings."""

    records_max = 4 * SEEN_MAX

    def __init__(self, configuration: Configuration, producer: AIOKafkaProducer) -> None:
        super().__init__(configuration, producer)
        self._gate = Gate()

    async def let_through(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Put the sightings among them into every partition of the journal, each place once.

        Raises:
            KafkaError: something could not be written.
        """
        wall_ms, mono_ms = round(time.time() * 1000), time.monotonic_ns() // 1_000_000
        seen: dict[tuple[str | None, str | None, str | None], Sighting] = {}
        refused: list[Coroutine[Any, Any, None]] = []
        for record in records:
            if record.value is None:
                continue
            try:
                sighting = _SIGHTING(record.value)
            except UNREADABLE as wrong:
                reason, detail = "no-sighting", str(wrong)
            else:
                refusal = self._gate.refuses(sighting, wall_ms, mono_ms)
                if refusal is None:
                    seen[sighting.mac, sighting.address, sighting.nas] = sighting
                    continue
                reason, detail = f"sighting-{refusal}", f"a sighting by {sighting.by or 'nobody named'}"
            metrics.SIGHTINGS.labels(reason).inc()
            if reason != TOO_MANY and len(refused) < REJECTED_AT_ONCE_MAX:
                refused.append(self._reject(record, reason, detail, kind=SIGHTING_KIND, topic=SIGHTINGS))
        await asyncio.gather(*refused)
        batch = list(seen.values())
        for begin in range(0, len(batch), SEEN_MAX):
            await self._to_all(ACCOUNTING, SIGHTING_KIND, encode(Sightings(seen=batch[begin : begin + SEEN_MAX])))


async def run_sightings_door(configuration: Configuration, stop: asyncio.Event) -> None:
    """Let sightings through until `stop` is set. Waits for Kafka as long as that is away.

    Raises:
        KafkaError: some could not be written; nothing was committed, so they come again.
    """
    await keep_open(configuration, stop, SIGHTINGS, SIGHTINGS_DOOR_GROUP, begin="latest", make=SightingsDoor)
