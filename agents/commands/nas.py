"""`curfew nas`: the NASes by name.

What lives here: the group and which subcommands it has. Each subcommand has a file of its own.
"""

from __future__ import annotations

import click


@click.group()
def nas() -> None:
    """NASes: what was seen of them, whether they can be reached, and who they say is on them."""
