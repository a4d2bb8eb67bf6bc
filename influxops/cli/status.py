"""`influxops status`: what each tenant has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import common_options, format_option, timeout_option
from influxops.cli.output import say, say_json
from influxops.model import Severity
from influxops.naming import printable, short

if TYPE_CHECKING:
    from influxops.report import Report

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

    \b
    Exit codes:
      0    each tenant that is shown has its database, and all of it could be read
      1    a tenant has none (unless it is held and acknowledged), or something is wrong or
           cannot be read
    """
    from influxops.cli.lookup import look
    from influxops.cli.session import session
    from influxops.run import Scope
    from influxops.status import tenant_status
    from influxops.words import without_tenant

    with session(context, timeout=timeout, scope=Scope(frozenset(tenants))) as (engine, run):
        report, errors = look(engine, run)
        rows = tenant_status(engine, report, run)
    if output == "json":
        say_json({"version": 1, "tenants": rows})
    elif rows:
        from influxops.cli.tables import fitting, show_table

        cells = [_with_brief({header: _cell(row, header) for header in _HEADERS}) for row in rows]
        headers = fitting(_LAYOUTS, cells)
        show_table(headers, [[row[header] for header in headers] for row in cells])
    for finding in report.findings:
        if finding.kind == "no-tenants":
            say(finding.message, err=output == "json")
    known = _acknowledged(report)
    wrong = [row for row in rows if row["tenant"] not in known and not _good(row)]
    if output == "text":
        for row in rows:
            if row["message"]:
                why = without_tenant(row["message"], row["tenant"])
                label = "ERR" if row in wrong else "INFO"
                say(f"{printable(row['tenant'])}: {why}", label=label, err=True)
    if report.interrupted:
        context.exit(report.exit_code)
    if wrong or errors:
        say(f"influxops: ends with 1: {_why(wrong, errors)}", err=True)
    context.exit(1 if wrong or errors else 0)


def _good(row: Mapping[str, Any]) -> bool:
    return row["exists"] is True and not row["message"]


def _acknowledged(report: Report) -> set[str]:
    """The tenants that are held, and of which somebody has said that this is known."""
    held = set(report.plan.held)
    errors = {f.tenant for f in report.findings if f.severity is Severity.ERROR}
    return held - errors


def _why(wrong: Sequence[Mapping[str, Any]], errors: int) -> str:
    """Say in one line what is not as it should be."""
    missing = sum(row["exists"] is False for row in wrong)
    counts = {
        "without a database": missing,
        "of which something could not be read": len(wrong) - missing,
    }
    parts = [
        f"{number} tenant{'s' if number > 1 else ''} {what}"
        for what, number in counts.items()
        if number
    ]
    if errors:
        parts.append(f"{errors} other error{'s' if errors > 1 else ''}")
    return ", ".join(parts)


def _with_brief(cells: dict[str, str]) -> dict[str, str]:
    """Add `state`, for `exists` and `marker`, and `keeps`, for the two retention periods."""
    state = {"yes": "ok", "no": "missing"}.get(cells["exists"], "unknown")
    if state == "ok" and cells["marker"] == "no":
        state = "no marker"
    actual, desired = cells["retention"], cells["desired"]
    drifts = state == "ok" and desired not in ("unmanaged", actual)
    return {**cells, "state": state, "keeps": f"{actual}, not {desired}" if drifts else actual}


def _cell(row: Mapping[str, Any], header: str) -> str:
    value = row[header]
    if value is None:
        unread = header == "exists" or (header == "telemetry_count" and row["exists"])
        return "?" if unread else "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short(str(value))
