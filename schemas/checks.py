"""The checks of the files that people write, by kind of file: what `curfew check FILE` asks."""

import re
from typing import Literal

from schemas.configuration import Configuration
from schemas.configuration_check import check_configuration
from schemas.policy import Policy
from schemas.policy_check import check_policy
from schemas.toml_reader import known_keys

__all__ = ["check_configuration", "check_policy", "kind_of"]

Kind = Literal["configuration", "policy"]

_HEADER = re.compile(r"""^[ \t]*\[\[?[ \t]*["']?([A-Za-z0-9_-]+)""", re.MULTILINE)
_TOP_KEY = re.compile(r"""^[ \t]*["']?([A-Za-z0-9_-]+)["']?[ \t]*[.=]""", re.MULTILINE)


def kind_of(text: str) -> Kind:
    """Which kind of file a text is, by its top-level names, also where it is no TOML; a text with none of them is a configuration."""
    headers = list(_HEADER.finditer(text))
    top = text[: headers[0].start()] if headers else text
    names = [found[1] for found in headers] + [found[1] for found in _TOP_KEY.finditer(top)]
    policy = sum(name in known_keys(Policy) for name in names)
    configuration = sum(name in known_keys(Configuration) for name in names)
    return "policy" if policy > configuration else "configuration"
