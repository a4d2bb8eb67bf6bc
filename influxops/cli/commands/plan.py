"""`influxops plan`: what `ensure` would do."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import run_options
from influxops.errors import ExitCode


@click.command("plan", short_help="Show what `ensure` would do.")
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help=f"End with {ExitCode.PENDING:d} when there is something to do.",
)
@click.option(
    "--changes-only", is_flag=True, help="Leave out tenants for which there is nothing to do."
)
@run_options
@click.pass_context
def command(
    ctx: click.Context, /, detailed_exitcode: bool, changes_only: bool, **options: Any
) -> None:
    """Show what `ensure` would do, and write nothing.

    \b
    Exit codes:
      0    nothing is wrong (with --detailed-exitcode: and there is nothing to do)
      1    something is blocked or cannot be read
      2    the command line or the configuration is wrong
      3    with --detailed-exitcode: there is something to do
      4    a guard would refuse; see --allow
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Ensure

    report = execute(ctx, Ensure(), dry_run=True, changes_only=changes_only, **options)
    code = report.exit_code
    if code is ExitCode.OK and detailed_exitcode and report.planned:
        code = ExitCode.PENDING
    ctx.exit(code)
