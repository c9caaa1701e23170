"""`curfew broker`: the embedded Kafka alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from agents.broker import BrokerError, BrokerStatus, start_detached, status, stop
from agents.commands.terminal import configured, json_option, say
from schemas.codec import dumps
from schemas.configuration import Configuration

T = TypeVar("T")


@click.group()
def broker() -> None:
    """The embedded Kafka alone: started, stopped, asked."""


@broker.command(name="start")
@configured
@json_option
def start_(configuration: Configuration, as_json: bool) -> None:
    """Start it and return when it answers; it runs on until `curfew broker stop`. One that runs already is left as it is."""
    _show(_run(start_detached(_data_dir(configuration), configuration.broker.port)), as_json=as_json)


@broker.command(name="stop")
@configured
def stop_(configuration: Configuration) -> None:
    """Stop it and wait for its end; fine if it does not run."""
    was_running = _run(stop(_data_dir(configuration)))
    say("Kafka is stopped." if was_running else "Kafka did not run.")


@broker.command(name="status")
@configured
@json_option
def status_(configuration: Configuration, as_json: bool) -> None:
    """Say whether it runs and answers; exit status 1 when it does not."""
    found = _run(status(_data_dir(configuration)))
    _show(found, as_json=as_json)
    if not found.answers:
        raise SystemExit(1)


def _show(found: BrokerStatus, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            dumps({"data_dir": str(found.data_dir), "pid": found.pid, "bootstrap_servers": found.bootstrap, "answers": found.answers})
        )
    elif found.pid is None:
        click.echo(f"Kafka does not run; its data would be in {found.data_dir}")
    else:
        click.echo(
            f"Kafka {'answers' if found.answers else 'does not answer'} at {found.bootstrap}: process {found.pid}, data in {found.data_dir}"
        )


def _data_dir(configuration: Configuration) -> Path:
    return Path(configuration.broker.data_dir)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except BrokerError as failed:
        raise click.ClickException(str(failed)) from failed
