"""The laws of the house, as a test: who imports whom, what pure code may not name, how long a function may be, what no file may say.

Each law is a function from a file's path and text to complaints, so that it is tested here on a bad sample before it is believed.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "streams", "agents")
ELSEWHERE = ("tests", "bench", "deploy")
FUNCTION_LINES_MAX = 70

MAY_IMPORT = {"schemas": {"schemas"}, "streams": {"schemas", "streams"}, "agents": {"schemas", "streams", "agents"}}

BANNED_MODULES = {
    *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors"),
    *("shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "uvloop", "importlib"),
    *("aiokafka", "aiohttp", "faust", "mode", "redis", "prometheus_client", "click", "rich"),
}
"""What would bring a clock, chance, the environment, files or the network into pure code."""
BANNED_NAMES = {"open", "input", "print", "exec", "eval", "breakpoint", "now", "utcnow", "today", "environ", "getenv", "hash", "id"}
"""Calls, by their last name. `hash` and `id` differ from run to run."""

ALLOWED_IMPORTS = {
    ("streams/radius/dictionary.py", "importlib"),  # importlib.resources: the dictionaries are part of this package, as constant as code
    ("streams/profiles.py", "importlib"),  # likewise: the profiles
    ("streams/partitioner.py", "aiokafka"),  # aiokafka.partitioner: murmur2 is a pure function
}
ALLOWED_LONG: dict[tuple[str, str], str] = {}
"""(file, function): why it is one piece."""

TESTED_ELSEWHERE = {
    "streams/sameness.py": "test_session_records.py",
    "streams/merge.py": "test_session_records.py",
    "streams/session_core.py": "test_session_journal.py",
    "streams/partition_core.py": "test_session_journal.py",
    "streams/group_table.py": "test_group_core.py",
    "streams/group_limits.py": "test_group_core.py",
    "streams/step.py": "test_session_journal.py",
    "streams/ends.py": "test_session_records.py",
    "streams/deaths.py": "test_session_liveness.py",
    "streams/passing.py": "test_session_liveness.py",
    "streams/limiting.py": "test_session_limits.py",
    "streams/disconnects.py": "test_session_disconnect.py",
    "streams/outcomes.py": "test_session_disconnect.py",
    "streams/told_groups.py": "test_memberships.py",
    "streams/membership_records.py": "test_memberships.py",
    "streams/membership_csv.py": "test_memberships.py",
    "streams/metering.py": "test_quotas.py",
    "streams/ids.py": "test_partitioner.py",
    "streams/mac.py": "test_identity.py",
    "streams/radius/composite.py": "test_radius_vectors.py",
    "streams/radius/decode.py": "test_radius_vectors.py",
    "streams/radius/fields.py": "test_radius_corpus.py",
    "streams/radius/framing.py": "test_radius_fuzz.py",
    "streams/radius/respond.py": "test_radius_corpus.py",
    "streams/radius/simulated.py": "test_simulation.py",
    "streams/radius/values.py": "test_radius_vectors.py",
}
"""Modules whose test file bears another name: they have no behaviour apart from the step that they are part of."""

Complaints = Iterator[str]


def import_direction(path: str, text: str) -> Complaints:
    """Imports go one way only: agents -> streams -> schemas; nothing of tests or bench in any of them."""
    package = path.split("/", maxsplit=1)[0]
    for name in _imports(text):
        top = name.split(".")[0]
        if top in (*PACKAGES, *ELSEWHERE) and top not in MAY_IMPORT.get(package, {top}):
            yield f"{path} imports {name}"


def pure_imports(path: str, text: str) -> Complaints:
    """No clock, no chance, no environment, no files, no network in schemas and streams."""
    for name in _imports(text):
        top = name.split(".")[0]
        if top in BANNED_MODULES and (path, top) not in ALLOWED_IMPORTS:
            yield f"{path} imports {name}"


def pure_calls(path: str, text: str) -> Complaints:
    """Nor calls what would reach them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in BANNED_NAMES:
                yield f"{path}:{node.lineno} calls {name}"


def no_inner_state(path: str, text: str) -> Complaints:
    """No `global`: what pure code remembers, it was given."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Global):
            yield f"{path}:{node.lineno} says global"


def short_functions(path: str, text: str) -> Complaints:
    """A function fits on a screen."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX and (path, node.name) not in ALLOWED_LONG:
                yield f"{path}:{node.lineno} {node.name} has {lines} lines"


def docstrings(path: str, text: str) -> Complaints:
    """Each module opens with its law."""
    if not (ast.get_docstring(ast.parse(text)) or "").strip():
        yield f"{path} has no docstring"


def nothing_left_open(path: str, text: str) -> Complaints:
    """What is not done is not there."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"\b(FIX" + r"ME|TO" + r"DO|X" + r"XX)\b", line):
            yield f"{path}:{number} leaves something open: {line.strip()}"


def no_foreign_places(path: str, text: str) -> Complaints:
    """No package registry's host and no path of the machine that this was written on: it stands alone."""
    registries = r"pypi[.]org|python[h]osted|repo1?[.]maven|deb[.]debian|registry[.]npm[j]s|proxy[.]golang"
    paths = r"(?<![\w.$}/-])/(?:work|home|root|Users)/\w|\.\./shared\b"
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.search(f"{registries}|{paths}", line):
            yield f"{path}:{number} names {match[0]}"


PYTHON_LAWS = (import_direction, short_functions, docstrings, nothing_left_open)
PURE_LAWS = (pure_imports, pure_calls, no_inner_state)
Law = Callable[[str, str], Complaints]


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "." * node.level


def _tracked() -> list[str]:
    """The files that git keeps or would keep; without git, those under the packages and the tests."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())
    return sorted(str(file.relative_to(ROOT)) for top in (*PACKAGES, "tests") for file in (ROOT / top).rglob("*.py"))


def _python_files(*tops: str) -> list[str]:
    return [name for name in _tracked() if name.endswith(".py") and name.split("/")[0] in tops]


def _complaints(law: Law, names: list[str]) -> list[str]:
    assert names
    return [complaint for name in names for complaint in law(name, (ROOT / name).read_text("utf-8"))]


@pytest.mark.parametrize("law", PYTHON_LAWS, ids=lambda law: law.__name__)
def test_every_module_keeps_the_laws(law: Law) -> None:
    """The house's style is a test."""
    assert _complaints(law, _python_files(*PACKAGES)) == []


@pytest.mark.parametrize("law", PURE_LAWS, ids=lambda law: law.__name__)
def test_pure_code_is_pure(law: Law) -> None:
    """DESIGN "The house": time, ids, randomness and file contents are arguments."""
    assert _complaints(law, _python_files("schemas", "streams")) == []


@pytest.mark.parametrize("law", [docstrings, nothing_left_open], ids=lambda law: law.__name__)
def test_tests_keep_the_laws_of_words(law: Law) -> None:
    """Tests are read too."""
    assert _complaints(law, _python_files("tests", "bench", "deploy")) == []


def test_no_file_points_to_the_machine_it_was_written_on_or_to_a_registry() -> None:
    """It stands alone."""
    complaints: list[str] = []
    for name in _tracked():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if name != "tests/pure/test_tidy.py":
            complaints += no_foreign_places(name, text)
    assert complaints == []


def test_no_file_is_larger_than_a_mebibyte() -> None:
    """A repository is read, not stored."""
    assert [name for name in _tracked() if (ROOT / name).stat().st_size > 1 << 20] == []


def test_every_module_of_streams_has_its_tests() -> None:
    """A file of tests bears the module's name, or is named above."""
    tests = [Path(name).name for name in _python_files("tests")]
    without = [
        name
        for name in _python_files("streams")
        if Path(name).stem != "__init__"
        and not any(Path(name).stem in test for test in tests if test.startswith("test_"))
        and TESTED_ELSEWHERE.get(name) not in tests
    ]
    assert without == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_top_level_names_are_ours_alone(package: str) -> None:
    """`agents` is a common name: another distribution that ships it would replace ours without a word."""
    assert set(packages_distributions().get(package, ["curfew"])) == {"curfew"}
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


BAD_SAMPLES: list[tuple[Law, str, str]] = [
    (import_direction, "schemas/x.py", "from streams.ids import decision_id"),
    (import_direction, "streams/x.py", "def f():\n    import agents.cli"),
    (import_direction, "agents/x.py", "import tests.conftest"),
    (import_direction, "streams/x.py", "from bench import load"),
    (pure_imports, "streams/x.py", "import time"),
    (pure_imports, "streams/x.py", "from random import Random"),
    (pure_imports, "schemas/x.py", "import os.path"),
    (pure_imports, "streams/merge.py", "from importlib import resources"),
    (pure_imports, "streams/x.py", "from aiokafka.partitioner import murmur2"),
    (pure_calls, "streams/x.py", "from datetime import datetime\nx = datetime.now()"),
    (pure_calls, "streams/x.py", "x = datetime.datetime.utcnow()"),
    (pure_calls, "streams/x.py", "x = date.today()"),
    (pure_calls, "streams/x.py", "open('x')"),
    (no_inner_state, "streams/x.py", "def f():\n    global x\n    x = 1"),
    (short_functions, "streams/x.py", "def f():\n" + "    x = 1\n" * 70),
    (docstrings, "streams/x.py", "x = 1"),
    (docstrings, "streams/x.py", '""" """'),
    (nothing_left_open, "streams/x.py", "# TO" + "DO: later"),
    (no_foreign_places, "README.md", "see /work" + "/main"),
    (no_foreign_places, "Makefile", "pip install -i https://py" + "pi.org/simple"),
    (no_foreign_places, "docs/x.md", "as ../sha" + "red/DESIGN.md says"),
]


@pytest.mark.parametrize(("law", "path", "text"), BAD_SAMPLES)
def test_a_law_catches_what_breaks_it(law: Law, path: str, text: str) -> None:
    """A law that nothing can break is none."""
    assert len(list(law(path, text))) == 1


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (import_direction, "agents/x.py", "import schemas.codec, streams.ids, json"),
        (import_direction, "streams/x.py", "from schemas.codec import encode"),
        (pure_imports, "streams/x.py", "import heapq, struct\nfrom datetime import datetime"),
        (pure_imports, "streams/partitioner.py", "from aiokafka.partitioner import murmur2"),
        (pure_calls, "streams/x.py", "x = opened(now_s=1)\nopen_sessions()"),
        (short_functions, "streams/x.py", "def f():\n" + "    x = 1\n" * 69),
        (docstrings, "streams/x.py", '"""Its law."""'),
        (no_foreign_places, "docs/x.md", "/network /framework/x curfew.toml ./home/x"),
    ],
)
def test_a_law_leaves_the_rest_alone(law: Law, path: str, text: str) -> None:
    """Nor is one that everything breaks."""
    assert list(law(path, text)) == []


def test_exceptions_are_still_needed() -> None:
    """An exception that nothing needs any more is taken back."""
    for path, top in ALLOWED_IMPORTS:
        assert top in {name.split(".")[0] for name in _imports((ROOT / path).read_text("utf-8"))}, path
    for path in TESTED_ELSEWHERE:
        assert (ROOT / path).is_file(), path
