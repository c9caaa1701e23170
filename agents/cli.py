"""The command `curfew`: its subcommands, named one by one, so that one that cannot be imported is an error and not an absence."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from agents.commands import broker, checks, explain, groups, kick, nas, parts, policy, quota, sessions, simulate, topics, up, watch
from agents.compiled import core


def _version() -> str:
    """The installed package's (a bare checkout has none), and what its core runs as."""
    try:
        installed = version("curfew")
    except PackageNotFoundError:
        installed = "from a checkout"
    return f"{installed}, core: {core()}"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(_version(), prog_name="curfew")
def main() -> None:
    """Curfew: RADIUS accounting as a stream. One truth about each session, limits, and disconnects that are proven.

    Exit status: 0 done, 1 it failed (and says why on standard error), 2 wrong usage, configuration or policy. Standard output is data,
    standard error is talk.
    """


for _command in (
    up.up,
    parts.ingest,
    parts.worker,
    parts.kicker,
    parts.projector,
    parts.prober,
    broker.broker,
    topics.topics,
    checks.check,
    policy.policy,
    groups.groups,
    quota.quota,
    sessions.sessions,
    watch.watch,
    kick.kick,
    nas.nas,
    explain.explain,
    simulate.simulate,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
