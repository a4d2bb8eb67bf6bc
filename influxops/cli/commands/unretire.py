"""`influxops unretire`: a tenant that is retiring is kept after all."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import complete_tenants, ledger_run_options


@click.command("unretire", short_help="Keep tenants that are retiring.")
@click.argument(
    "tenants", nargs=-1, required=True, metavar="TENANT...", shell_complete=complete_tenants
)
@ledger_run_options
@click.pass_context
def command(ctx: click.Context, /, tenants: tuple[str, ...], **options: Any) -> None:
    """Keep the databases of tenants that are retiring, as long as they are not dropped.

    \b
    Exit codes:
      0    they are kept
      1    something failed or is blocked: what was dropped cannot be kept
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted; what was done stays done
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Unretire

    report = execute(ctx, Unretire(tenants), tenants=tenants, **options)
    ctx.exit(report.exit_code)
