"""The slots that are kept for a user, asked of the projector of this installation: they are in its memory alone.

What lives here: the question over HTTP and how little it may take. What may not: what a reservation is (`streams.admission`).
"""

from __future__ import annotations

from urllib.parse import quote

import aiohttp
import msgspec

from schemas.configuration import Configuration

ANSWER_WITHIN_S = 1.0


class Reserved(msgspec.Struct, frozen=True):
    """One of `reservations` in the answer of `GET /v1/users/{user}`; device: a MAC address, None: any."""

    id: str
    nas: str
    device: str | None
    lapses_in_s: float


class _User(msgspec.Struct):
    reservations: list[Reserved] = []


_user = msgspec.json.Decoder(_User).decode


async def reservations_of(configuration: Configuration, user: str) -> list[Reserved]:
    """What is reserved for a user, however the name is written; nothing where no projector answers at `[http] listen`."""
    listen = configuration.http.listen
    if not listen:
        return []
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)) as session,
            session.get(f"http://{listen}/v1/users/{quote(user, safe='')}", allow_redirects=False) as answer,
        ):
            return _user(await answer.read()).reservations if answer.status == 200 else []
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.DecodeError):
        return []
