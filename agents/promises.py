"""What logins were let in with, written into the journal before they are answered (behaviour 3.6, `schemas.journal.Promise`).

What lives here: how long a login waits for Kafka, and how many may wait. What may not: what a promise says (`streams.promises`), and how it
gets there (`result_writer`).
"""

from __future__ import annotations

import asyncio

from agents.kafka_client import topic_name
from agents.result_writer import Delivery, Record, ResultWriter
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.journal import Promise
from schemas.topics import ACCOUNTING, KIND_HEADER
from streams.partitioner import partition_of

WRITTEN_WITHIN_S = 1.5
"""Less than a login waits for its answer (`deploy/freeradius`: 2 s): one that came later would be no answer."""
UNWRITTEN_MAX = 10_000
_KIND = [(KIND_HEADER, b"promise")]


class PromiseNotKeptError(Exception):
    """A promise is not in the journal, as far as anybody knows; its text says so to people."""

    def __init__(self) -> None:
        super().__init__("Kafka does not take the session_timeout_s")


class Promises:
    """The way of promises into the journal; `run` is its task."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._journal = topic_name(configuration, ACCOUNTING)
        self._writer = ResultWriter(configuration, "Session-Timeouts of logins", at_once=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped."""
        await self._writer.run(stop)

    async def write(self, promise: Promise) -> None:
        """Return when it is durable.

        Raises:
            PromiseNotKeptError: it is not. It may still be written later; then it lapses like any that no session takes.
        """
        if self._writer.trouble or self._writer.unwritten >= UNWRITTEN_MAX:
            raise PromiseNotKeptError
        written = asyncio.Event()
        key, partition = promise.identity.encode(), partition_of(promise.identity, self._configuration.kafka.partitions)
        record = Record(self._journal, partition, key, encode(promise), _KIND)
        self._writer.put(Delivery((record,), lambda _: written.set()))
        try:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await written.wait()
        except TimeoutError as late:
            raise PromiseNotKeptError from late
