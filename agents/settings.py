"""Files and environment in, checked settings out: the only place that reads `curfew.toml`, `policy.toml` and secret files.

What the files may say is decided in `schemas`; here they are read, their relative paths are taken from where the configuration stands, and
secrets come out of their files. The same call serves the start, `curfew check` and the reload on SIGHUP.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas import toml_source
from schemas.checks import check_configuration, check_policy, kind_of
from schemas.configuration import Configuration, Nas
from schemas.configuration_check import apply_environment, check_shared_networks
from schemas.errors import Checked, CurfewError, Problem, in_order, report
from schemas.policy import Policy

CONFIGURATION_FILE = "curfew.toml"
FILE_BYTES_MAX = 16 * 1024 * 1024
SECRET_BYTES_MAX = 1024

_DEFAULTS = "(no curfew.toml)"
_PATHS_ONLY = ("data_dir", "radsec_reverse", "ssl_cafile", "certfile", "keyfile", "cafile", "tls_certfile", "tls_keyfile", "tls_cafile")
_StructType = TypeVar("_StructType", bound=msgspec.Struct)


class SettingsError(CurfewError):
    """A file or variable cannot be used; the text is for the terminal, with line and remedy. Exit status 2.

    Attributes:
        problems: Every finding, warnings included.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(report(problems))
        self.problems = problems


def load_settings(config_path: Path | None, environment: Mapping[str, str] | None = None) -> Configuration:
    """The configuration to run with.

    Args:
        config_path: What `--config` named; None takes `curfew.toml` of the working directory, and without that the defaults.
        environment: The variables that go over it; None takes the process's own.

    Raises:
        SettingsError: It cannot be read or has errors.
    """
    checked = check_settings(config_path, os.environ if environment is None else environment)
    if checked.value is None:
        raise SettingsError(checked.problems)
    return checked.value


def check_settings(config_path: Path | None, environment: Mapping[str, str]) -> Checked[Configuration]:
    """As `load_settings`, with the findings (warnings too) instead of an exception."""
    path = config_path or Path(CONFIGURATION_FILE)
    if config_path is None and not path.exists():
        return _complete("", _DEFAULTS, Path(), environment)
    text = _read_text(path)
    if isinstance(text, Problem):
        return Checked(None, (text,))
    return _complete(text, str(path), path.parent, environment)


def load_policy(path: Path, nases: Sequence[Nas] = ()) -> Policy:
    """The policy of a file.

    Args:
        path: the file.
        nases: those that it is held against.

    Raises:
        SettingsError: It cannot be read or has errors.
    """
    text = _read_text(path)
    checked: Checked[Policy] = Checked(None, (text,)) if isinstance(text, Problem) else check_policy(text, str(path), nases)
    if checked.value is None:
        raise SettingsError(checked.problems)
    return checked.value


def check_file(path: Path, nases: Sequence[Nas] = ()) -> Checked[Configuration] | Checked[Policy]:
    """Check a file of either kind, told by its content; a configuration with the secret files that it names, without the environment.

    Args:
        path: the file.
        nases: those that a policy is held against.
    """
    text = _read_text(path)
    if isinstance(text, Problem):
        return Checked[Configuration](None, (text,))
    if kind_of(text) == "policy":
        return check_policy(text, str(path), nases)
    return _complete(text, str(path), path.parent, {})


def _complete(text: str, file: str, directory: Path, environment: Mapping[str, str]) -> Checked[Configuration]:
    """The checked configuration with its paths located and its secrets read; what the files bring is checked too."""
    checked = check_configuration(text, file, environment)
    source = toml_source.parse(text, file)
    if checked.value is None or isinstance(source, Problem):
        return checked
    apply_environment(source, environment)
    problems = list(checked.problems)
    configuration = _with_files(checked.value, (), directory, source, problems)
    problems.extend(check_shared_networks(source, {("nas", index): nas for index, nas in enumerate(configuration.nas)}))
    return in_order(configuration, problems)


def _with_files(
    value: _StructType,
    path: toml_source.Path,
    directory: Path,
    source: toml_source.Source,
    problems: list[Problem],
) -> _StructType:
    """A copy with every path absolute or under `directory`, and beside each `..._file` the secret that it holds."""
    changes: dict[str, Any] = {}
    for key in value.__struct_fields__:
        member, place = getattr(value, key), (*path, key)
        if isinstance(member, msgspec.Struct):
            changes[key] = _with_files(member, place, directory, source, problems)
        elif isinstance(member, tuple) and member and isinstance(member[0], msgspec.Struct):
            changes[key] = tuple(_with_files(each, (*place, index), directory, source, problems) for index, each in enumerate(member))
        elif isinstance(member, str) and (key.endswith("_file") or key in _PATHS_ONLY):
            changes[key] = str(directory / member)
            if key.endswith("_file"):
                changes[key.removesuffix("_file")] = _read_secret(directory / member, place, source, problems)
    return msgspec.structs.replace(value, **changes)


def _read_secret(file: Path, place: toml_source.Path, source: toml_source.Source, problems: list[Problem]) -> str | None:
    """The one line of a secret file; None after a finding."""
    remedy = "Write the path of a file that this user may read, with the secret on one line; a relative path starts at the configuration."
    try:
        with file.open("rb") as opened:
            secret = opened.read(SECRET_BYTES_MAX + 1).decode().removesuffix("\n").removesuffix("\r")
    except OSError as refused:
        problems.append(source.value_problem(place, f"cannot read {file}: {refused.strerror}", remedy))
        return None
    except UnicodeDecodeError:
        problems.append(source.value_problem(place, f"{file} is not UTF-8", remedy))
        return None
    if not secret or "\n" in secret or len(secret) > SECRET_BYTES_MAX:
        what = "is empty" if not secret else "holds more than one line" if "\n" in secret else f"is longer than {SECRET_BYTES_MAX} octets"
        problems.append(source.value_problem(place, f"{file} {what}", remedy))
        return None
    return secret


def _read_text(path: Path) -> str | Problem:
    """A file's text, or the finding that says why there is none."""
    try:
        with path.open("rb") as opened:
            octets = opened.read(FILE_BYTES_MAX + 1)
        if len(octets) > FILE_BYTES_MAX:
            return Problem("error", str(path), 1, 1, f"longer than {FILE_BYTES_MAX} octets", "Name a configuration or policy file.")
        return octets.decode("utf-8-sig")
    except OSError as refused:
        return Problem(
            "error", str(path), 0, 0, f"cannot be read: {refused.strerror}", "Name a file that exists and that this user may read."
        )
    except UnicodeDecodeError as refused:
        before = octets[: refused.start]
        line, column = before.count(b"\n") + 1, refused.start - before.rfind(b"\n")
        return Problem("error", str(path), line, column, "not UTF-8", "Save the file as UTF-8.")
