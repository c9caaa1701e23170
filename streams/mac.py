"""MAC addresses: every notation that NASes use, and the one in which we compare (behaviour 2.3).

Law of this file: text in, text or None out. Hyphens (RFC 3580 section 3.21), colons, Cisco's groups of four digits, and none at all are
known. Where in an attribute a MAC stands (hostapd writes `MAC:SSID` into Called-Station-Id) is not this file's.
"""

import re
from functools import lru_cache

_NOTATION = re.compile(
    r"[0-9a-f]{2}(?P<separator>[-:])[0-9a-f]{2}(?:(?P=separator)[0-9a-f]{2}){4}|[0-9a-f]{4}(?P<group>[-.:])[0-9a-f]{4}(?P=group)[0-9a-f]{4}|[0-9a-f]{12}",
    re.IGNORECASE | re.ASCII,
)
REMEMBERED_MAX = 65_536
"""Texts remembered; a device says the same all day."""
_SEPARATORS = str.maketrans("", "", "-:.")


@lru_cache(maxsize=REMEMBERED_MAX)
def normal_mac(text: str) -> str | None:
    """A MAC address in lower case with colons; None where the text as a whole is none.

    Args:
        text: `AA-BB-CC-DD-EE-FF`, `aa:bb:..`, `aabb.ccdd.eeff`, `aabb-ccdd-eeff` or twelve digits, in either case.
    """
    if not 12 <= len(text) <= 17 or _NOTATION.fullmatch(text) is None:
        return None
    digits = text.translate(_SEPARATORS).lower()
    return ":".join((digits[0:2], digits[2:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12]))
