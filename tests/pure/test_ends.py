"""Parts end when they are told to, also where a library swallows a cancellation."""

import asyncio
from typing import Any, cast

import pytest

from agents import projector
from agents.admission import Admission
from schemas.configuration import Configuration, Redis


async def test_a_projector_ends_whose_redis_swallows_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """7.4: it had heard SIGTERM, and went on until it was killed."""
    heard = []

    async def run(_: Any) -> None:
        while len(heard) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard.append("to end")
        raise asyncio.CancelledError

    monkeypatch.setattr("agents.tasks.CANCEL_AGAIN_S", 0.01)
    monkeypatch.setattr(projector._Projector, "__init__", lambda *_: None)
    monkeypatch.setattr(projector._Projector, "run", run)
    stop = asyncio.Event()
    stop.set()
    configuration = Configuration(redis=Redis(url="redis://127.0.0.1/0"))
    async with asyncio.timeout(60):
        await projector.run_projector(configuration, cast(Admission, None), stop)
    assert heard == ["to end", "to end"]
