"""`influxops forget`: a tenant without a database is taken out of the ledger."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import complete_tenants, ledger_run_options


@click.command("forget", short_help="Forget tenants that have no database.")
@click.argument(
    "tenants", nargs=-1, required=True, metavar="TENANT...", shell_complete=complete_tenants
)
@ledger_run_options
@click.pass_context
def command(ctx: click.Context, /, tenants: tuple[str, ...], **options: Any) -> None:
    """Take tenants out of the ledger that are in no source any more and have no database.

    That is so for an id that no database can have and that was registered by mistake, or once a
    retired tenant's database was dropped. The history keeps what happened to them. Where a source
    or a target cannot be read, nothing is forgotten.

    \b
    Exit codes:
      0    they are forgotten
      1    something failed, or speaks against it: a source has the tenant, a
           target its database
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted; what was done stays done
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Forget

    report = execute(ctx, Forget(tenants), tenants=tenants, **options)
    ctx.exit(report.exit_code)
