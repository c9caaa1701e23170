"""`curfew nas`: the NASes by name.

What lives here: the group and which subcommands it has. Each subcommand has a file of its own.
"""

from __future__ import annotations

import click

from agents.commands import nas_list, nas_sessions, nas_test


@click.group()
def nas() -> None:
    """NASes: what was seen of them, whether they can be reached, and who they say is on them."""


for _command in (nas_list.list_, nas_test.test, nas_sessions.sessions):
    nas.add_command(_command)
