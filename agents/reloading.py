"""SIGHUP: the configuration is read again, and every part that knows NASes takes over theirs in this one way.

What lives here: the signal, and what is said of a configuration that is wrong. What may not: what a part does with another one. Addresses
that it listens at, identities and partitions stay as they were at start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator

from schemas.configuration import Configuration
from schemas.errors import CurfewError

Reread = Callable[[], Configuration]
"""Reads the configuration again; raises `CurfewError` when it is wrong."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def reloading(reread: Reread | None, *takers: Callable[[Configuration], object]) -> Iterator[None]:
    """As long as this lasts, SIGHUP hands the configuration of that moment to the takers, or leaves the one in force and says why.

    Args:
        reread: None: the signal is left alone.
        takers: in this order; none is asked when it cannot be read.
    """
    if reread is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _reload, reread, takers)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _reload(reread: Reread, takers: tuple[Callable[[Configuration], object], ...]) -> None:
    try:
        configuration = reread()
        for take in takers:
            take(configuration)
    except (CurfewError, OSError) as wrong:
        log.error("the configuration in force stays: %s", wrong)  # noqa: TRY400 - a person's mistake needs no stack
