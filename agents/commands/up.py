"""`curfew up`: everything on this machine, in one terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import click
from rich.console import Console

from agents.broker import BrokerError
from agents.commands.terminal import Refused, run
from agents.demo import Demo, demo_files
from agents.settings import SettingsError, load_policy, load_settings
from agents.story import Teller
from agents.up import run_up
from schemas.errors import CurfewError


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="The configuration; without it curfew.toml of the working directory, without that the defaults.",
)
@click.option(
    "--policy", type=click.Path(dir_okay=False, path_type=Path), metavar="F", help="Publish this policy, unless it is in force already."
)
@click.option(
    "--demo",
    "is_demo",
    is_flag=True,
    help="With a small simulated network whose story is told here; takes deploy/demo/*.toml where --config and --policy are left out.",
)
@click.option(
    "--run-for",
    "run_for_s",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Stop by itself that many seconds after the command was given.",
)
def up(config: Path | None, policy: Path | None, is_demo: bool, run_for_s: float | None) -> None:
    """Run everything on this machine: a Kafka if none is configured, the topics, ingest, worker and kicker, until Ctrl-C.

    Parts that die are started again. SIGINT and SIGTERM stop everything in order, a second one at once; SIGHUP reads the NASes again.
    The parts' warnings are shown here, with the part's name; with CURFEW_LOG_LEVEL=INFO in the environment, more.
    """
    try:
        if is_demo:
            demo_config, demo_policy = demo_files()
            config, policy = config or demo_config, policy or demo_policy
        configuration = load_settings(config)
        wanted = load_policy(policy, configuration.nas) if policy is not None else None
    except SettingsError as refused:
        raise Refused(str(refused)) from refused
    except BrokerError as failed:
        raise click.ClickException(str(failed)) from failed
    with contextlib.ExitStack() as stack:
        try:
            demo = stack.enter_context(Demo(configuration, Teller(Console(highlight=False)), _program())) if is_demo else None
        except CurfewError as failed:
            raise click.ClickException(str(failed)) from failed
        run(run_up(configuration, config, wanted, demo=demo, run_for_s=run_for_s, say=_say))


def _program() -> str:
    """How a person here calls `curfew`: by its name where the shell finds it, else by the path that was used."""
    return "curfew" if shutil.which("curfew") else sys.argv[0]


def _say(line: str) -> None:
    """Talk, to a standard error that may be gone."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)
