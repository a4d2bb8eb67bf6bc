"""`influxops status`: what each tenant has."""

from __future__ import annotations

import json
from typing import Any

import click

from influxops.cli.options import common_options, format_option, timeout_option

_HEADERS = (
    "tenant",
    "target",
    "database",
    "exists",
    "marker",
    "retention",
    "desired",
    "telemetry_count",
    "last_write",
)
#: What is shown on a terminal too narrow for all of it, down to one word for what several say.
_LAYOUTS = (
    _HEADERS,
    tuple(header for header in _HEADERS if header != "database"),
    ("tenant", "target", "state", "keeps", "telemetry_count", "last_write"),
)


@click.command("status", short_help="Show what each tenant has.")
@click.argument("tenants", nargs=-1, metavar="[TENANT]...")
@format_option
@timeout_option
@common_options
@click.pass_context
def command(
    context: click.Context, tenants: tuple[str, ...], output: str, timeout: float | None
) -> None:
    """Show each tenant's database: where it is, its retention, how much is in it.

    Ends with 1 when a tenant has no database or something cannot be read.
    """
    from influxops.cli.lookup import look
    from influxops.cli.session import session
    from influxops.run import Scope
    from influxops.status import tenant_status

    with session(context, timeout=timeout, scope=Scope(frozenset(tenants))) as (engine, run):
        report = look(engine, run)
        rows = tenant_status(engine, report, run)
    if output == "json":
        click.echo(json.dumps({"version": 1, "tenants": rows}, indent=2, ensure_ascii=False))
    elif rows:
        from influxops.cli.tables import fitting, show_table

        cells = [_with_brief({header: _cell(row[header]) for header in _HEADERS}) for row in rows]
        headers = fitting(_LAYOUTS, cells)
        show_table(headers, [[row[header] for header in headers] for row in cells])
        for row in rows:
            if row["message"]:
                click.echo(f"WARN {row['tenant']}: {row['message']}", err=True)
    for finding in report.findings:
        if finding.kind == "no-tenants":
            click.echo(finding.message, err=output == "json")
    broken = report.exit_code != 0 or not all(row["exists"] is True for row in rows)
    context.exit(report.exit_code or int(broken))


def _with_brief(cells: dict[str, str]) -> dict[str, str]:
    """Add `state`, for `exists` and `marker`, and `keeps`, for the two retention periods."""
    state = {"yes": "ok", "no": "missing"}.get(cells["exists"], "unknown")
    if state == "ok" and cells["marker"] == "no":
        state = "no marker"
    actual, desired = cells["retention"], cells["desired"]
    drifts = state == "ok" and desired not in ("unmanaged", actual)
    return {**cells, "state": state, "keeps": f"{actual}, not {desired}" if drifts else actual}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
