"""Time zones out of the pinned database (the package `tzdata`), never out of the machine's: two workers must divide a day alike."""

from __future__ import annotations

import zoneinfo

zoneinfo.reset_tzpath(to=())  # without a path of the machine's, ZoneInfo reads the package

ZoneNotFoundError = (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError)
"""What `zone` raises: a folder of the database ("Africa") is an OSError, a path that leads out of it a ValueError."""


def zone(name: str) -> zoneinfo.ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        ZoneInfoNotFoundError: there is none of that name; with `ZoneNotFoundError` all that it may be.
    """
    return zoneinfo.ZoneInfo(name)
