"""`python -m bench` as a whole, with parts that measure nothing: what one of them does to the others."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import __main__ as bench
from bench.report import Report
from bench.rig import FULL, QUICK, FailedError
from schemas.codec import loads


class NoBroker:
    def __init__(self, *_args: object, **_named: object) -> None:
        self.bootstrap, self.pid = "", 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_why: object):
        pass


def part(error: Exception | None = None):
    async def measure(_rig: object) -> Report:
        if error is not None:
            raise error
        return Report("A title", ("what",), (("a",),), (), {})

    return SimpleNamespace(measure=measure)


def given(out: Path, **other: object) -> argparse.Namespace:
    return argparse.Namespace(**({"out": out, "sizes": QUICK, "only": None, "profile": False} | other))


@pytest.mark.parametrize(
    ("error", "said"),
    [(FailedError("its child ended"), "its child ended"), (KeyError("p99"), "KeyError: 'p99'"), (TimeoutError(), "TimeoutError: ")],
)
async def test_a_part_that_fails_however_is_told_and_the_others_are_measured(tmp_path, monkeypatch, capsys, error, said):
    monkeypatch.setattr(bench, "EmbeddedBroker", NoBroker)
    monkeypatch.setattr(bench, "Rig", lambda *_args, **_named: SimpleNamespace(build_load=lambda: None))
    monkeypatch.setattr(bench, "PARTS", {"first": part(), "second": part(error), "third": part()})
    assert await bench._run(given(tmp_path)) == ["second"]
    assert f"second could not be measured: {said}" in capsys.readouterr().err
    assert [loads((tmp_path / f"{name}.json").read_bytes())["machine"]["command"] for name in ("first", "third")] == [
        "python -m bench --quick"
    ] * 2


def test_the_command_that_is_told_names_no_directory(tmp_path):
    assert bench._command(given(tmp_path, sizes=FULL, only=["kicks", "bulk"])) == "python -m bench --only kicks --only bulk"
    assert str(tmp_path) not in bench._command(given(tmp_path))
