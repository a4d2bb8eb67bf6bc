"""`influxops ensure`: every tenant gets its database."""

from __future__ import annotations

import click

from influxops.cli.options import (
    allow_option,
    common_options,
    format_option,
    scope_options,
    timeout_option,
)


@click.command("ensure", short_help="Make sure that every tenant has its database.")
@click.option("--dry-run", is_flag=True, help="Write nothing; the same as `influxops plan`.")
@scope_options
@allow_option
@format_option
@timeout_option
@common_options
@click.pass_context
def command(
    context: click.Context,
    dry_run: bool,
    tenants: tuple[str, ...],
    targets: tuple[str, ...],
    allow: tuple[str, ...],
    output: str,
    timeout: float | None,
) -> None:
    """Make sure that every tenant has its database.

    What is there already is left alone, so that this can be run as often as you like; what is
    missing is created, then read again.

    \b
    Exit codes:
      0    every tenant has its database
      1    something failed or is held; everything else was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      5    another run holds the lock
      130  interrupted; what was done stays done
    """
    from influxops.cli.session import execute

    report = execute(
        context,
        dry_run=dry_run,
        tenants=tenants,
        targets=targets,
        allow=allow,
        output=output,
        timeout=timeout,
    )
    context.exit(report.exit_code)
