"""`influxops status`: what each tenant has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import read_options
from influxops.cli.output.stdio import say, say_json
from influxops.cli.selection import NONE, Selection, selection_options
from influxops.domain.finding import FindingKind, Severity
from influxops.domain.plan import TenantStatus
from influxops.domain.record import State
from influxops.domain.text import group_alike, pluralize, quote, summarize, truncate
from influxops.errors import ExitCode

if TYPE_CHECKING:
    from influxops.report.view import ReportView

#: Tables of a tenant that are named.
_NAMED = 3


@click.command("status", short_help="Show what each tenant has.")
@selection_options
@click.option("--orphans", is_flag=True, help="Show recorded tenants that are in no source.")
@read_options
@click.pass_context
def command(
    ctx: click.Context,
    tenants: tuple[str, ...],
    states: tuple[str, ...],
    targets: tuple[str, ...],
    orphans: bool,
    output: str,
    timeout: float | None,
) -> None:
    """Show each tenant's database: where it is, its retention, how much is in it.

    A PATTERN is an id with `*`, `?` or `[…]`; quote it, so that the shell leaves it alone.

    \b
    Exit codes:
      0    each tenant that is shown has its database, and all of it could be read
      1    a tenant has none (unless it is in `[tenants] ignore`), or something
           is wrong or cannot be read
    """
    from influxops.cli.inspect import look, selected
    from influxops.cli.session import session
    from influxops.engine.status import orphan_status, tenant_status

    if orphans and tenants:
        raise click.UsageError("--orphans shows those that are in no source, whatever their id")
    selection = Selection(tenants, states, targets)
    with session(ctx, timeout=timeout, tenants=selection.named or ()) as (engine, context):
        if orphans:
            engine.needs_ledger()
        view, errors = look(engine, context)
        if selection.is_filter:
            view = selected(view, selection)
        rows = (orphan_status if orphans else tenant_status)(engine, view, context)
    if output == "json":
        say_json({"version": 2, "tenants": rows})
    elif not rows and selection.is_filter and not errors:
        say(NONE, err=True)
    elif orphans and (rows or not errors):  # with errors it may be unknown who is in no source
        _show_orphans(rows)
    elif rows:
        _show(view, rows)
    if orphans:
        ctx.exit(view.report.exit_code if view.report.interrupted else int(errors > 0))
    for sentence in () if selection.is_filter else view.asides:
        say(sentence, err=output == "json")
    known = _acknowledged(view)
    wrong = [row for row in rows if row["tenant"] not in known and not _is_good(row)]
    if output == "text":
        _tell_reasons(view, rows, {row["tenant"] for row in wrong})
    if view.report.interrupted:
        ctx.exit(view.report.exit_code)
    if wrong or errors:
        say(f"influxops: ends with 1: {_why(wrong, errors)}", err=True)
    ctx.exit(ExitCode.FAILED if wrong or errors else ExitCode.OK)


def _is_good(row: Mapping[str, Any]) -> bool:
    return row["exists"] is True and not row["message"]


def _acknowledged(view: ReportView) -> set[str]:
    """Return the blocked tenants whose problems are configured as known."""
    return {
        tenant.tenant
        for tenant in view.report.tenants
        if tenant.status is TenantStatus.BLOCKED and view.severity(tenant) is not Severity.ERROR
    }


def _tell_reasons(view: ReportView, rows: Sequence[Mapping[str, Any]], wrong: set[str]) -> None:
    """Say on standard error why tenants are not right, and what to do."""
    shown = (FindingKind.IN_TWO_TARGETS, FindingKind.LOST, FindingKind.GUARD)
    advice = {
        tenant.tenant: view.advice(tenant) for tenant in view.report.tenants if tenant.kind in shown
    }
    told = []
    for row in rows:
        if row["message"]:
            label = "ERR" if row["tenant"] in wrong else "INFO"
            hint = f" ({advice[row['tenant']]})" if row["tenant"] in advice else ""
            told.append((quote(row["tenant"]), (f"{row['message']}{hint}", label)))
    for who, (message, label) in group_alike(told):
        say(f"{who}: {message}", label=label, err=True)


def _why(wrong: Sequence[Mapping[str, Any]], errors: int) -> str:
    """Return in one line what is not as it should be."""
    missing = sum(row["exists"] is False for row in wrong)
    several = sum(bool(row["copies"]) for row in wrong)
    counts = {
        "without a database": missing,
        "with more than one database": several,
        "of which something could not be read": len(wrong) - missing - several,
    }
    parts = [f"{pluralize(number, 'tenant')} {what}" for what, number in counts.items() if number]
    if errors:
        parts.append(pluralize(errors, "other error"))
    return ", ".join(parts)


# The table


def _show(view: ReportView, rows: Sequence[Mapping[str, Any]]) -> None:
    from influxops.cli.output.tables import fitting, show_table

    counts = any(target.capabilities.table_label for target in view.report.targets)
    least = ("tenant", "database", "target", "state", *(("rows",) if counts else ()))
    more = (
        *(("retention",) if view.has_retention else ()),
        *(("last_write", "tables") if counts else ()),
        *(("since",) if view.report.ledger is not None else ()),
    )
    cells = [_cells(row) for row in rows]
    headers = fitting([(*least, *more[:n]) for n in range(len(more), -1, -1)], cells)
    show_table(headers, [[row[header] for header in headers] for row in cells])


def _show_orphans(rows: Sequence[Mapping[str, Any]]) -> None:
    from influxops.cli.output.tables import show_table

    if not rows:
        say("every recorded tenant is in a source, or retired", err=True)
        return
    headers = ("tenant", "database", "target", "state", "rows", "last_write", "since")
    cells = [
        _cells({**row, "exists": None, "retention": None, "desired": None, "copies": ()})
        for row in rows
    ]
    states = [{**cell, "state": row["ledger_state"]} for cell, row in zip(cells, rows, strict=True)]
    for cell, row in zip(states, rows, strict=True):
        if row["rows"] is None and row["ledger_state"] in (State.READY, State.MOVING):
            cell["rows"] = "?"
    show_table(headers, [[row[header] for header in headers] for row in states])


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row as text; its retention period says which one it should have."""
    target = ", ".join(copy["target"] for copy in row["copies"]) or row["target"]
    if not target and row.get("planned_target"):
        target = f"({row['planned_target']})"
    cells = {
        "tenant": truncate(row["tenant"]),
        "database": truncate(row["database"] or "-"),
        "target": target or "-",
        "rows": _number(
            row, row["rows"], at_most=any(table["at_most"] for table in row["tables"] or ())
        ),
        "tables": _tables(row["tables"]),
        "last_write": row["last_write"] or "-",
        "since": (row["created_at"] or "-")[:10],
    }
    keeps, desired = _period(row["retention"]) if row["target"] else "-", _period(row["desired"])
    drifts = row["target"] and row["exists"] and desired not in ("unmanaged", keeps)
    cells["retention"] = f"{keeps}, not {desired}" if drifts else keeps
    return {**cells, "state": _state(row)}


def _state(row: Mapping[str, Any]) -> str:
    """Return what is to be known of a database first: whether it is there, whole, and stays."""
    if row["copies"]:
        return f"on {len(row['copies'])} targets"
    if not row["exists"]:
        return "missing" if row["exists"] is False else "unknown"
    if row["marker"] is False:
        return "no marker"
    return f"moving to {row['moving_to']}" if row["moving_to"] else "ok"


def _period(value: str | None) -> str:
    return {"unknown": "?", None: "kept for ever"}.get(value, str(value))


def _number(row: Mapping[str, Any], number: int | None, *, at_most: bool = False) -> str:
    if number is None:
        return "?" if row["exists"] and not row["copies"] else "-"
    return f"≤{number}" if at_most else str(number)


def _tables(tables: Sequence[Mapping[str, Any]] | None) -> str:
    """Return the names of the tables with the most rows, and how many each has."""
    if not tables:
        return "-"
    ordered = sorted(tables, key=lambda table: -(table["rows"] or 0))
    named = []
    for table in ordered:
        rows = "?" if table["rows"] is None else str(table["rows"])
        named.append(f"{truncate(table['name'])} {'≤' if table['at_most'] else ''}{rows}")
    return summarize(named, _NAMED)
