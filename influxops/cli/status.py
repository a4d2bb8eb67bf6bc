"""`influxops status`: what each tenant has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import common_options, format_option, timeout_option

if TYPE_CHECKING:
    from influxops.model import DatabaseStats, Report

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
#: What is shown where all that does not fit the terminal; JSON always has everything.
_NARROWER = (
    tuple(header for header in _HEADERS if header != "database"),
    ("tenant", "target", "state", "retention", "telemetry_count", "last_write"),
)


@click.command("status")
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

    with session(context, timeout=timeout, scope=Scope(frozenset(tenants))) as (engine, run):
        report = look(engine, run)
        names: dict[str, list[str]] = {}
        for result in report.tenants:
            if result.before is not None and result.target is not None:
                names.setdefault(result.target, []).append(result.database)
        rows = _rows(report, engine.describe(names, run))
    if output == "json":
        click.echo(json.dumps({"version": 1, "tenants": rows}, indent=2, ensure_ascii=False))
    elif rows:
        from influxops.cli.tables import show_table

        cells = [{header: _cell(row[header]) for header in _HEADERS} for row in rows]
        show_table(_HEADERS, [*map(_brief, cells)], _NARROWER)
        for row in rows:
            if row["message"]:
                click.echo(f"WARN {row['tenant']}: {row['message']}", err=True)
    for finding in report.findings:
        if finding.kind == "no-tenants":
            click.echo(finding.message, err=output == "json")
    broken = report.exit_code != 0 or not all(row["exists"] is True for row in rows)
    context.exit(report.exit_code or int(broken))


def _rows(report: Report, stats: dict[tuple[str, str], DatabaseStats]) -> list[dict[str, Any]]:
    from influxops.document import plain
    from influxops.model import TenantState

    rows = []
    for result in report.tenants:
        found = result.before
        known = stats.get((result.target or "", result.database))
        exists = None if result.state is TenantState.UNKNOWN else found is not None
        message = (known.message if known else "") or (
            result.message if result.state is not TenantState.REFUSED else ""
        )
        rows.append(
            {
                "tenant": result.tenant,
                "target": result.target if found else None,
                "url": result.url if found else None,
                "database": result.database,
                "exists": exists,
                "marker": plain(found.marker) if found else False if exists is False else None,
                "retention": _retention(found.retention if found else None) if found else None,
                "desired": _retention(report.plan.retentions.get(result.tenant)),
                "telemetry_count": known.telemetry_count if known else None,
                "last_write": plain(known.last_write) if known else None,
                "message": message,
            }
        )
    return rows


def _retention(value: Any) -> str:
    from influxops.durations import format_duration
    from influxops.model import UNKNOWN, UNMANAGED

    if value is UNKNOWN or value is UNMANAGED:
        return str(value.value)
    return "none" if value is None else format_duration(value)


def _brief(cells: dict[str, str]) -> dict[str, str]:
    """Add what says in one word what `exists` and `marker` say in two."""
    if cells["exists"] != "yes":
        state = "missing" if cells["exists"] == "no" else "unknown"
    else:
        state = "no marker" if cells["marker"] == "no" else "ok"
    return {**cells, "state": state}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
