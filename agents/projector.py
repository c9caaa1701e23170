"""The projection of the live directory in Redis (behaviour 7.4), where `[redis] url` is configured.

What lives here: the connection, the lease, errors and how far behind it is. What may not: what is written (`streams.projection`), and any
decision: the product's own never wait for Redis.

Theory of operation. One projector writes at a time: the one that holds the lease (`writer`, a key that expires). Who gets it, or finds that
the server is another one than before or has forgotten, takes away what is there and writes all anew from the view, which was read from
`session.table`; `state` says `ready` when that is done. From then on what moved is written some milliseconds later. A write that fails is
tried again as a whole, for as long as it takes; meanwhile `curfew_projection_behind_seconds` grows, and so does the age of `at_ms` in
`state`, which every reader can see. Keys of our names and another type are left alone, and named: as long as one stands in the way, the
projection is behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from agents import metrics
from agents.admission import Admission
from agents.tasks import end
from schemas.configuration import Configuration
from streams.live_view import LiveView
from streams.projection import PATTERNS, Command, Piece, Projection

FLUSH_EVERY_S = 0.01
BEAT_S = 1.0
"""So often the lease is renewed and `state` written."""
LEASE_MS = 5_000
PIECES_MAX = 500
TAKEN_AWAY_MAX = 1_000
RETRY_S = 0.5
FORMAT = 1
SHOWN_MAX = 200

SCRIPT = Path(__file__).parent / "lua" / "admission.lua"

log = logging.getLogger(__name__)


async def run_projector(configuration: Configuration, admission: Admission, stop: asyncio.Event) -> None:
    """Keep the projection until stopped; without `[redis] url` there is none. Raises nothing of Redis's."""
    if configuration.redis.url is None:
        await stop.wait()
        return
    running = asyncio.create_task(_Projector(configuration, admission).run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(running, stopped)  # redis-py may swallow a cancellation that comes together with its answer
    if not running.cancelled():
        running.result()


class _Projector:
    """One process's writer."""

    def __init__(self, configuration: Configuration, admission: Admission) -> None:
        self._settings = configuration.redis
        self._admission = admission
        self._script = SCRIPT.read_bytes()
        self._projection = Projection(configuration.redis.key_prefix, sha1(self._script, usedforsecurity=False).hexdigest())
        self._id = secrets.token_hex(8)
        self._server = ""
        self._in_sync_s = time.monotonic()
        self._has_begun = False
        self._is_complete = False
        self._stuck: list[Piece] = []
        self._said = ""

    async def run(self) -> None:
        """Write, again and again from where it failed."""
        self._admission.listeners.append(self._projection.moved)
        view = await self._admission.opened()
        for partition in view.partitions:
            partition.touched = set()
        while True:
            try:
                async with self._connected() as redis:
                    try:
                        await self._keep(redis, view)
                    except asyncio.CancelledError:
                        await self._give_up_lease(redis)
                        raise
            except (RedisError, OSError, TimeoutError) as why:
                self._say(f"Redis does not take the projection: {str(why) or type(why).__name__}")
            self._measure(is_in_touch=False)
            await asyncio.sleep(RETRY_S)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Redis]:
        url, password, timeout_s = self._settings.url, self._settings.password, self._settings.timeout_s
        more: dict[str, Any] = {} if password is None else {"password": password}
        redis = Redis.from_url(
            url or "", socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0), max_connections=1, **more
        )
        try:
            yield redis
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await redis.aclose()

    async def _keep(self, redis: Redis, view: LiveView) -> None:
        """Write what moves, as long as Redis takes it and the lease is ours."""
        beat_s = 0.0
        await _do(redis, ("SCRIPT LOAD", self._script))
        while True:
            if time.monotonic() >= beat_s:
                if not await self._has_lease(redis):
                    self._say("another projector writes to Redis; this one stands by")
                    self._in_sync_s = time.monotonic()
                    self._stand_by(view)
                    await asyncio.sleep(BEAT_S)
                    continue
                if not self._has_begun:
                    await self._begin_anew(redis, view)
                self._try_again()
                beat_s = time.monotonic() + BEAT_S
                await self._write_policy(redis, view)
                await self._tell(redis, view)
            for partition in view.partitions:
                if partition.touched:
                    self._projection.touched(partition.touched)
                    partition.touched.clear()
            await self._flush(redis, view)
            self._measure(is_in_touch=True)
            if not self._projection:
                if not self._is_complete and not self._left:
                    self._is_complete = True
                    await self._tell(redis, view)
                    self._say("the projection in Redis is complete")
                await asyncio.sleep(FLUSH_EVERY_S)

    def _stand_by(self, view: LiveView) -> None:
        """Remember nothing of what moves: whoever takes over writes all of the view."""
        self._has_begun = self._is_complete = False
        self._stuck.clear()
        self._projection.forget()
        for partition in view.partitions:
            partition.touched = set()

    async def _has_lease(self, redis: Redis) -> bool:
        """Hold or take the lease; finds out whether the server still knows what was written."""
        lease = self._projection.key("writer")
        server = str((await redis.info("server"))["run_id"])
        holder = await redis.get(lease)
        if holder is None:
            self._server = ""
            if not await redis.set(lease, self._id, nx=True, px=LEASE_MS):
                return False
        elif holder != self._id.encode():
            self._server = ""
            return False
        else:
            await redis.pexpire(lease, LEASE_MS)
        if server != self._server:  # it came back without what it held, or is new to us
            self._server = server
            self._has_begun = self._is_complete = False
        return True

    async def _give_up_lease(self, redis: Redis) -> None:
        """Let the next one begin at once, where we end in order."""
        lease = self._projection.key("writer")
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            if await redis.get(lease) == self._id.encode():
                await redis.delete(lease)

    async def _begin_anew(self, redis: Redis, view: LiveView) -> None:
        """Take away what is there of ours, and put all of the view among what is to be written."""
        metrics.PROJECTION_REBUILT.inc()
        await self._tell(redis, view)
        prefix = self._settings.key_prefix
        escaped = "".join(f"\\{sign}" if sign in "*?[]\\^-" else sign for sign in prefix)
        for pattern, kind in PATTERNS:
            cursor = 0
            while True:
                cursor, keys = await redis.scan(cursor, match=escaped + pattern, count=TAKEN_AWAY_MAX, _type=kind)
                if keys:
                    await redis.unlink(*keys)
                if cursor == 0:
                    break
        self._projection.everything(view)
        self._has_begun = True

    async def _flush(self, redis: Redis, view: LiveView) -> None:
        """Write some of what is to be written."""
        pieces = self._projection.take(view, round(time.time() * 1000), PIECES_MAX)
        if not pieces:
            return
        pipeline = redis.pipeline(transaction=False)
        for command in (command for piece in pieces for command in piece.commands):
            pipeline.execute_command(*command)
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except BaseException:
            for piece in pieces:
                self._projection.again(piece)
            raise
        metrics.PROJECTED.inc(len(answers))
        self._check(pieces, answers)

    def _check(self, pieces: list[Piece], answers: list[Any]) -> None:
        """What was refused (a foreign key, a full server) is tried again with the next beat; the rest goes on meanwhile."""
        left = iter(answers)
        for piece in pieces:
            said = [(command, next(left)) for command in piece.commands]
            refused = [each for each in said if isinstance(each[1], ResponseError)]
            if refused:
                self._stuck.append(piece)
                self._refused(*refused[0])

    async def _write_policy(self, redis: Redis, view: LiveView) -> None:
        for command in self._projection.policy(view, round(time.time() * 1000)):
            try:
                await _do(redis, command)
            except ResponseError as why:
                self._projection.policy_version = None
                self._refused(command, why)

    def _refused(self, command: Command, why: ResponseError) -> None:
        self._say(f"Redis refuses {command[0]!s} {str(command[1])[:SHOWN_MAX]}: {why}")

    def _try_again(self) -> None:
        for piece in self._stuck:
            self._projection.again(piece)
        self._stuck.clear()

    async def _tell(self, redis: Redis, view: LiveView) -> None:
        """Write `state`: up to when all this is true."""
        fields: dict[str, str | int] = {
            "format": FORMAT,
            "writer": self._id,
            "ready": int(self._is_complete),
            "at_ms": round(time.time() * 1000),
            "behind_records": self._left,
            "behind_ms": round((time.monotonic() - self._in_sync_s) * 1000),
            "sessions": len(view),
        }
        flat = [each for pair in fields.items() for each in pair]
        await _do(redis, ("HSET", self._projection.key("state"), *flat))

    @property
    def _left(self) -> int:
        return len(self._projection) + len(self._stuck) + (self._projection.policy_version is None)

    def _measure(self, *, is_in_touch: bool) -> None:
        """How far behind it is, for the metrics; of a Redis that does not answer nobody knows what it holds."""
        now_s = time.monotonic()
        if is_in_touch and self._is_complete and not self._left:
            self._in_sync_s = now_s
        metrics.PROJECTION_BEHIND_S.set(now_s - self._in_sync_s)
        metrics.PROJECTION_BEHIND.set(self._left)

    def _say(self, text: str) -> None:
        """Say it once, not at every attempt."""
        if text != self._said:
            self._said = text
            log.warning("%s", text)


async def _do(redis: Redis, command: Command) -> None:
    await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # the library has no types there
