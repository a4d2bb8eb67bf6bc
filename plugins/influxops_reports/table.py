"""A report for a person at a terminal: a table, and beneath it the findings.

What matters comes last, next to the prompt: what is wrong, why, the count, and the next step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from influxops.plugin import (
    ExitCode,
    FindingGroup,
    Report,
    ReportView,
    Severity,
    TenantPlan,
    TenantStatus,
    one_line,
    pluralize,
    quote,
    truncate,
)

#: Rows of the table, and of those with tenants that were right before the run.
_MAX_ROWS, _MAX_OK_ROWS = 40, 10
#: Groups of one severity beneath the table, and characters of each.
_MAX_GROUPS, _MAX_CHARACTERS = 15, 600
#: Characters of an id that are shown without cutting it.
_MAX_ID = 40
#: Columns of the terminal that each column of the table takes beside its text.
_GAP = 3
#: Characters that are left of an id and of a database's name.
_MINIMUM = (8, 10)

_STYLES = {
    TenantStatus.OK: "dim",
    TenantStatus.CHANGED: "green",
    TenantStatus.PENDING: "cyan",
    TenantStatus.GUARDED: "yellow",
    TenantStatus.BLOCKED: "yellow",
    TenantStatus.UNKNOWN: "yellow",
    TenantStatus.FAILED: "bold red",
}
_TITLES = {
    Severity.INFO: ("Worth knowing", "dim"),
    Severity.WARNING: ("Warnings", "yellow"),
    Severity.ERROR: ("Errors", "bold red"),
}


def show(
    report: Report, console: Console, *, verbose: bool, quiet: bool, changes_only: bool = False
) -> None:
    """Print a report; `verbose` adds all rows and the infos, `quiet` leaves out the table.

    With `changes_only` the table has no rows of tenants that were right already.
    """
    view = ReportView(report)
    rows = [t for t in view.tenants if t.status is not TenantStatus.OK or not changes_only]
    if rows and not quiet:
        _show_table(view, rows, console, verbose=verbose)
    severities = list(Severity) if verbose else [Severity.WARNING, Severity.ERROR]
    for severity in severities:
        groups = view.groups(severity)
        if groups:
            _show_groups(groups, severity, console, verbose=verbose)
    for sentence in view.no_tenants if quiet else view.asides:
        console.print(Text(sentence))
    if report.tenants or view.needs_attention:
        console.print(Text(view.summary(), style=_mood(view)))
        for step in view.next_steps():
            console.print(Text(f"Next: {step}", style="bold"))


def _mood(view: ReportView) -> str:
    if view.report.exit_code is not ExitCode.OK:
        return "bold red"
    return "yellow" if view.needs_attention else "bold green"


# The table


def _show_table(
    view: ReportView, tenants: Sequence[TenantPlan], console: Console, *, verbose: bool
) -> None:
    shown = tenants if verbose else _most_relevant(tenants)
    console.print(_table(view, shown, console.width))
    seen = {id(tenant) for tenant in shown}
    if rest := [tenant for tenant in tenants if id(tenant) not in seen]:
        by_word = Counter(view.action_text(tenant) for tenant in rest)
        words = ", ".join(f"{n:,} {view.of_many(word, n)}" for word, n in by_word.items())
        line = f"... and {pluralize(len(rest), 'more tenant')}: {words} (-v shows all)"
        console.print(Padding(Text(line, style="dim"), (0, 0, 1, 1)))


def _most_relevant(tenants: Sequence[TenantPlan]) -> list[TenantPlan]:
    if len(tenants) <= _MAX_ROWS:
        return list(tenants)
    others = [tenant for tenant in tenants if tenant.status is not TenantStatus.OK][:_MAX_ROWS]
    ok = [tenant for tenant in tenants if tenant.status is TenantStatus.OK]
    return others + ok[: min(_MAX_OK_ROWS, _MAX_ROWS - len(others))]


def _table(view: ReportView, tenants: Sequence[TenantPlan], width: int) -> Table:
    """Return the table: tenant, database and target always, the others as there is room."""
    columns = {
        "Tenant": [_shown_id(tenant.tenant) for tenant in tenants],
        "Database": [truncate(tenant.database) for tenant in tenants],
        "Target": [one_line(tenant.target or "") for tenant in tenants],
        "What": [view.action_text(tenant) for tenant in tenants],
    }
    if view.has_retention:
        columns["Retention"] = [view.retention(tenant) for tenant in tenants]
    widths = {head: max(map(cell_len, (head, *cells))) for head, cells in columns.items()}
    if "Retention" in columns and _excess(widths, width) > 0:
        del columns["Retention"], widths["Retention"]
    # Where whole names do not fit, a database's is worth more: it mostly holds the tenant's.
    for head, minimum in zip(("Tenant", "Database"), _MINIMUM, strict=True):
        widths[head] = max(
            min(widths[head], minimum), widths[head] - max(_excess(widths, width), 0)
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    for head in columns:
        table.add_column(head, width=widths[head], overflow="ellipsis", no_wrap=True)
    for tenant, row in zip(tenants, zip(*columns.values(), strict=True), strict=True):
        style = {"What": _STYLES[tenant.status]}
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(cell, style.get(head, "")) for head, cell in cells))
    return table


def _excess(widths: dict[str, int], width: int) -> int:
    return sum(widths.values()) + _GAP * len(widths) - width


def _shown_id(id_: str) -> str:
    """Return an id as it is where that is plain to see, else quoted."""
    plain = one_line(id_) == id_ == id_.strip() and " " not in id_ and 0 < len(id_) <= _MAX_ID
    return id_ if plain else quote(id_, _MAX_ID)


# Beneath the table


def _show_groups(
    groups: Sequence[FindingGroup], severity: Severity, console: Console, *, verbose: bool
) -> None:
    title, style = _TITLES[severity]
    console.print(Text(title, style=style))
    grid = Table.grid(padding=(0, 1))  # keeps what wraps in line with its own beginning
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    limit = len(groups) if verbose else _MAX_GROUPS
    for group in groups[:limit]:
        line = group.line()
        if len(line) > _MAX_CHARACTERS and not verbose:
            line = f"{line[:_MAX_CHARACTERS]}... (-v shows all)"
        grid.add_row(" -", Text(line))
        if group.advice:
            grid.add_row("", Text(f"-> {group.advice}", style="italic"))
    if len(groups) > limit:
        grid.add_row("", f"... and {len(groups) - limit:,} more (-v shows all)")
    console.print(grid)
    console.print()
