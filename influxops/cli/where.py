"""`influxops where`: which server holds a tenant's database."""

from __future__ import annotations

import json

import click

from influxops.cli.options import common_options, format_option, timeout_option


@click.command("where", short_help="Show which server holds a tenant's database.")
@click.argument("tenant")
@format_option
@timeout_option
@common_options
@click.pass_context
def command(context: click.Context, tenant: str, output: str, timeout: float | None) -> None:
    """Show the target, the URL and the database of one tenant.

    Ends with 1 when it has none, and says where it would be made.
    """
    from influxops.cli.lookup import look
    from influxops.cli.session import session
    from influxops.run import Scope

    with session(context, timeout=timeout, scope=Scope(frozenset([tenant]))) as (engine, run):
        report = look(engine, run)
    result = next((each for each in report.tenants if each.tenant == tenant), None)
    if result is None:
        context.exit(report.exit_code or 1)
    exists = result.before is not None
    if output == "json":
        document = {
            "tenant": tenant,
            "target": result.target,
            "url": result.url,
            "database": result.database,
            "exists": exists,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif exists:
        click.echo(f"{result.target}  {result.url}  {result.database}")
    elif result.target is not None:
        click.echo(
            f"{result.database} is not there yet; `influxops ensure` would make it on "
            f"{result.target} ({result.url})",
            err=True,
        )
    else:
        click.echo(f"ERR {result.message}", err=True)
    context.exit(0 if exists else report.exit_code or 1)
