"""`influxops drain`: all tenants of a server go to others."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.commands.move import execute_move, move_options
from influxops.cli.confirm import confirm, yes_option
from influxops.cli.options import complete_targets


@click.command("drain", short_help="Move all tenants of a server to others.")
@click.argument("target", shell_complete=complete_targets)
@yes_option
@move_options
@click.pass_context
def command(ctx: click.Context, /, target: str, yes: bool, **options: Any) -> None:
    """Move all recorded tenants of a target to where they are placed among the others.

    Each goes as by `influxops move`; one that cannot be moved is reported, and the others go on.
    Run it again to go on, as often as it takes.

    \b
    Exit codes:
      0    no recorded tenant is on the target any more
      1    something failed or is blocked; the others were moved
      2    the command line or the configuration is wrong, or there is no ledger
      4    a guard refused; see --allow
      130  interrupted, and run again it goes on; or not agreed to
    """
    if not options["dry_run"]:
        confirm(ctx, f"Move all tenants of {target} to other targets?", yes=yes)
    execute_move(ctx, (), away=target, **options)
