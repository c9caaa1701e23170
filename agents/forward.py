"""Requests passed on to another part of this product, over its unix socket, and its answers back.

What lives here: the way there and back. What may not: looking into what is passed on. `curfew up` answers at one address for all its parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from schemas.codec import dumps

ANSWER_WITHIN_S = 10.0
PASSED_ON = ("Authorization", "Content-Type", "Accept")
PASSED_BACK = ("WWW-Authenticate",)
METHODS = ("GET", "POST", "PUT", "DELETE")


@contextlib.asynccontextmanager
async def forwarding(prefix: str, unix_socket: Path, part: str) -> AsyncIterator[list[web.RouteDef]]:
    """Routes for everything below a prefix.

    Args:
        prefix: `/v1`.
        unix_socket: where that part answers.
        part: its name, for people.
    """
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(unix_socket), limit=0), timeout=timeout) as session:

        async def forward(request: web.Request) -> web.Response:
            headers = {name: value for name in PASSED_ON if (value := request.headers.get(name)) is not None}
            body = await request.read() if request.can_read_body else None
            try:
                async with session.request(request.method, f"http://part{request.raw_path}", headers=headers, data=body) as answer:
                    back = {name: value for name in PASSED_BACK if (value := answer.headers.get(name)) is not None}
                    return web.Response(
                        status=answer.status, body=await answer.read(), headers=back, content_type=answer.content_type or "application/json"
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                return web.Response(
                    status=503, text=dumps({"error": f"the {part} does not answer"}) + "\n", content_type="application/json"
                )

        yield [web.route(method, prefix + "/{below:.*}", forward) for method in METHODS]
