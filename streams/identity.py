r"""Identity: whom a record is about, and so its key in the journal (DESIGN "Key = identity", behaviours 2.3 and 2.9).

Law of this file: an identity is a function of the record's attributes, the NAS's name and `[identity]` of the configuration, and of nothing
else; the same octets give the same identity on every ingest. Asked in this order:

    the user            bare: `alice`. Case-folded, realms of `strip_realms` taken off, trailing NULs removed
    the user            `mac:aa:bb:cc:dd:ee:ff` when the name is only the device's MAC (MAC authentication)
    the CUI             `cui:...`, compared octet by octet (RFC 4372 section 2.1)
    the device          `mac:aa:bb:cc:dd:ee:ff` from Calling-Station-Id
    the session         `session:NAS/Acct-Session-Id`
    nobody              the empty text

Names are case-folded and not brought to a Unicode normal form: NFKC makes one name of several that an authentication server keeps apart
(full-width letters, ligatures), and two people under one key is worse than one person under two. Octets that are not UTF-8 stand as
backslash escapes. A user whose name begins like one of the other kinds gets `user:` before it, so that no name can pass for a device.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate

from schemas.configuration import Identity
from streams.mac import normal_mac
from streams.radius.fields import Value

REMEMBERED_MAX = 65_536
"""Identities remembered; a device says the same all day. When that many are known, all are forgotten and learned again."""

NOBODY = ""
_KINDS = ("user:", "cui:", "mac:", "session:")


class IdentityRules:
    """`[identity]`, made ready to be asked for every packet."""

    def __init__(self, rules: Identity) -> None:
        self._realms = frozenset(realm.casefold() for realm in rules.strip_realms)
        self._is_nobody = _matcher(rules.not_an_identity)
        self._remembered: dict[tuple[object, object, object], str] = {}

    def identity_of(self, fields: Mapping[str, Value], nas: str) -> str:
        """The identity of a record.

        Args:
            fields: the record's fields as decoded.
            nas: the NAS's name.

        Returns:
            The identity, or the empty text where nothing says whom or what the record is about.
        """
        asked = (fields.get("user_name"), fields.get("chargeable_user_identity"), fields.get("calling_station_id"))
        try:
            identity = self._remembered.get(asked)
        except TypeError:  # octets that are no text are a dict, which has no hash; they are rare
            identity = self._of_person_or_device(*map(_text, asked))
        else:
            if identity is None:
                identity = self._of_person_or_device(*map(_text, asked))
                if len(self._remembered) >= REMEMBERED_MAX:
                    self._remembered.clear()
                self._remembered[asked] = identity
        if identity:
            return identity
        session = _text(fields.get("acct_session_id"))
        return f"session:{nas}/{session}" if session else NOBODY

    def _of_person_or_device(self, user_name: str, cui: str, calling_station_id: str) -> str:
        device = normal_mac(calling_station_id)
        if user := self.user_of(user_name, device):
            return user
        if cui and cui != "\0":  # a single NUL asks for one, and is none (RFC 4372 section 2.1)
            return f"cui:{cui}"
        return f"mac:{device}" if device else NOBODY

    def user_of(self, user_name: str, device: str | None = None) -> str:
        """The identity that a User-Name stands for, empty for a name that is nobody's.

        Args:
            user_name: as text, foreign octets as backslash escapes.
            device: the normalised MAC of Calling-Station-Id, where it holds one.
        """
        whole = user_name.rstrip("\0").casefold()
        name = self._without_realm(whole)
        # An NAI with nothing before the realm hides the user on purpose (RFC 7542 section 2.4).
        if not name or name.startswith("@") or self._is_nobody(name) or self._is_nobody(whole):
            return NOBODY
        mac = normal_mac(name)
        # Twelve bare digits may be a telephone number: then only the device itself can vouch for a MAC.
        if mac and (mac == device or (device is None and len(name) > 12)):
            return f"mac:{mac}"
        return f"user:{name}" if name.startswith(_KINDS) else name

    def _without_realm(self, name: str) -> str:
        before, at, realm = name.rpartition("@")
        if at and realm in self._realms:
            name = before
        domain, backslash, after = name.partition("\\")
        return after if backslash and domain in self._realms else name


def _matcher(patterns: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    """One compiled pattern for all shell patterns; none matches nothing."""
    return re.compile("|".join(translate(pattern.casefold()) for pattern in patterns) or r"(?!)").match


def _text(value: object) -> str:
    """A field as text; octets that are not UTF-8 as backslash escapes, nothing as the empty text."""
    if isinstance(value, dict):
        return base64.b64decode(value["base64"]).decode("utf-8", "backslashreplace")
    return "" if value is None else str(value)
