"""`influxops adopt`: a database becomes a tenant's, whatever created it and whatever its name."""

from __future__ import annotations

from typing import Any

import click

from influxops.cli.options import complete_tenants, ledger_run_options, target_option


@click.command("adopt", short_help="Make a database a tenant's, whatever it is called.")
@click.argument(
    "pairs",
    nargs=-1,
    required=True,
    metavar="TENANT[=DATABASE]...",
    shell_complete=complete_tenants,
)
@target_option("Look for the database on this target only; may be repeated.")
@ledger_run_options
@click.pass_context
def command(ctx: click.Context, /, pairs: tuple[str, ...], **options: Any) -> None:
    """Record a database as a tenant's, although the plan would not choose its name.

    It gets its marker if it lacks one; its name, its data and its retention period stay. From then
    on the recorded name outranks the naming template. What the tenant had before is left alone.

    TENANT alone takes the database that has the tenant's own name: what clients have written after
    the tenant's database was lost, for instance.

    \b
    Exit codes:
      0    the databases are the tenants'
      1    something failed or is blocked; everything else was done
      2    the command line or the configuration is wrong; nothing was done
      4    a guard refused; see --allow
      130  interrupted; what was done stays done
    """
    from influxops.cli.session import execute
    from influxops.engine.operations import Adopt

    names: dict[str, str | None] = {}
    for pair in pairs:
        tenant, equals, name = pair.rpartition("=")
        database = name or None
        if not equals:
            tenant, database = pair, None
        if not tenant or (equals and not database):
            raise click.UsageError(f"{pair!r} is no TENANT or TENANT=DATABASE", ctx)
        if names.setdefault(tenant, database) != database:
            raise click.UsageError(f"the tenant {tenant!r} is to adopt two databases", ctx)
    report = execute(ctx, Adopt(names), tenants=tuple(names), **options)
    ctx.exit(report.exit_code)
