"""`influxops ensure`: every tenant gets its database."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.confirm import confirm, yes_option
from influxops.cli.options import complete_tenants, run_options


@click.command("ensure", short_help="Make sure that every tenant has its database.")
@click.option("--dry-run", is_flag=True, help="Write nothing; the same as `influxops plan`.")
@click.option(
    "--recreate",
    multiple=True,
    metavar="TENANT",
    shell_complete=complete_tenants,
    help="Make the lost database of this tenant again, empty; may be repeated.",
)
@yes_option
@run_options
@click.pass_context
def command(
    ctx: click.Context, /, dry_run: bool, recreate: tuple[str, ...], yes: bool, **options: Any
) -> None:
    """Make sure that every tenant has its database, or those that are named.

    What is there already is left alone, so that this can be run as often as you like; what is
    missing is created, then read again.

    \b
    Exit codes:
      0    every tenant has its database
      1    something failed or is blocked; everything else was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      5    another run holds the lock
      130  interrupted, and what was done stays done; or not agreed to
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Ensure

    if "recreate-lost" in options["allow"] and not dry_run:
        confirm(ctx, "Create lost databases again, empty? What they held is given up.", yes=yes)
    report = execute(ctx, Ensure(frozenset(recreate)), dry_run=dry_run, **options)
    ctx.exit(report.exit_code)
