"""`influxops where`: which server holds a tenant's database."""

from __future__ import annotations

import click

from influxops.cli.options import common_options, format_option, timeout_option
from influxops.cli.output import say, say_json
from influxops.naming import printable, short


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
    from influxops.status import tenant_exists
    from influxops.words import without_tenant

    with session(context, timeout=timeout, scope=Scope(frozenset([tenant]))) as (engine, run):
        report, _ = look(engine, run, leave_out=("over-capacity",))
    result = next((each for each in report.tenants if each.tenant == tenant), None)
    if result is None:
        context.exit(report.exit_code or 1)
    exists = tenant_exists(result, report)
    if output == "json":
        document = {
            "tenant": tenant,
            "target": result.target,
            "url": result.url,
            "database": result.database,
            "exists": exists,
        }
        say_json(document, indent=None)
    elif exists:
        say(f"{result.target}  {result.url}  {result.database}")
    elif result.target is not None:
        full = any(
            finding.kind == "over-capacity" and finding.target == result.target
            for finding in report.findings
        )
        place = f"{result.target} ({result.url})"
        then = f"try {place}, where it may find no place" if full else f"make it on {place}"
        say(f"{short(result.database)} is not there yet; `influxops ensure` would {then}", err=True)
    else:
        why = without_tenant(result.message, tenant)
        say(f"{printable(tenant)}: {why}", label="ERR", err=True)
    context.exit(0 if exists else 130 if report.interrupted else 1)
