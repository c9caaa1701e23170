"""What must not be shown: which keys hold a secret, and structs whose repr leaves it out.

A repr gets into places that nobody chose: a traceback, an asyncio message about a callback that failed, a failed test. So whatever holds a
secret of the configuration hides it there; what a person asks for is printed field by field, and no secret is among it.
"""

import re

import msgspec

HIDDEN = "***"
_KEY = re.compile(r"secret|password|token|url")
_LOGIN = re.compile(r".*@", re.DOTALL)


def may_be_secret(key: str) -> bool:
    """Whether the value of a key of the configuration may be a secret, or hold one (a URL with a password)."""
    return _KEY.search(key) is not None


def without_login(place: str) -> str:
    """A place without the name and password that somebody has written before it, as in `//user:password@host:port`."""
    return _LOGIN.sub(f"{HIDDEN}@", place)


class Discreet(msgspec.Struct, frozen=True):
    """A struct whose repr says of a secret only that it is there."""

    def __repr__(self) -> str:
        """As msgspec has it, but for secrets; the path of a file that holds one is none."""
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(f'{name}={_hidden(name, value)!r}' for name, value in shown)})"


def _hidden(name: str, value: object) -> object:
    return HIDDEN if value is not None and may_be_secret(name) and not name.endswith("_file") else value
