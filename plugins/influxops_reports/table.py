"""A report for a person at a terminal: a table, and beneath it what somebody should look at.

What matters stands last, next to the prompt: what is wrong, why, the count, and the next step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from influxops import Report, Severity, TenantResult, TenantState, one_line, printable, short
from influxops_reports.words import Note, Story, count, retention_change

#: Rows of the table, and of those right before the run, unless the user wants all.
_ROWS, _OK_ROWS = 40, 10
#: Things told beneath the table, a severity; and tenants named where they share a reason.
_GROUPS, _NAMES = 15, 4
#: Characters of an id that are shown without cutting it.
_ID = 40
#: Columns of the terminal that each column of the table takes beside its text.
_GAP = 3

_STYLES = {
    TenantState.OK: "dim",
    TenantState.CHANGED: "green",
    TenantState.PENDING: "cyan",
    TenantState.REFUSED: "yellow",
    TenantState.HELD: "yellow",
    TenantState.UNKNOWN: "yellow",
    TenantState.FAILED: "bold red",
}
_TITLES = {
    Severity.INFO: ("Worth knowing", "dim"),
    Severity.WARNING: ("Warnings", "yellow"),
    Severity.ERROR: ("Errors", "bold red"),
}


@dataclass
class _Group:
    """Tenants that are not right for the same reason, or one note."""

    text: str
    hint: str
    labels: list[str] = field(default_factory=list)
    on: str = ""

    @property
    def line(self) -> str:
        if not self.labels:
            return self.text
        if len(self.labels) == 1:
            return f"{self.labels[0]}{self.on}: {self.text}"
        shown = ", ".join(self.labels[:_NAMES])
        more = len(self.labels) - _NAMES
        names = f"{shown} and {more:,} more" if more > 0 else shown
        return f"{count(len(self.labels), 'tenant')}: {self.text} ({names})"


def show(report: Report, console: Console, *, verbose: bool, quiet: bool) -> None:
    """Print a report.

    Args:
        report: The report.
        console: Where to.
        verbose: Whether to show each row and each thing that is merely worth knowing.
        quiet: Whether to leave out the table and all that is well.
    """
    story = Story(report)
    if report.tenants and not quiet:
        _show_table(story, console, verbose=verbose)
    severities = list(Severity) if verbose else [Severity.WARNING, Severity.ERROR]
    for severity in severities:
        groups = _groups(story, severity)
        if groups:
            _show_groups(groups, severity, console, most=None if verbose else _GROUPS)
    for sentence in story.no_tenants:
        console.print(Text(sentence))
    if report.tenants or story.troubled:
        console.print(Text(story.summary(), style=_mood(story)))
        for step in _next_steps(story):
            console.print(Text(f"Next: {step}", style="bold"))


def _mood(story: Story) -> str:
    if story.report.exit_code not in (0, 3):
        return "bold red"
    return "yellow" if story.troubled else "bold green"


def _next_steps(story: Story) -> list[str]:
    # The hints stand beneath the errors already.
    steps = story.next_steps(hints=0)
    errors = len(_groups(story, Severity.ERROR))
    if errors and not story.report.interrupted:
        what = "the error above" if errors == 1 else f"the {errors:,} errors above"
        steps.append(f"see to {what}, then run it again; what is done is not done twice")
    return steps


# The table


def _show_table(story: Story, console: Console, *, verbose: bool) -> None:
    shown = story.tenants if verbose else _most_telling(story.tenants)
    console.print(_table(story, shown, console.width))
    rest = [] if verbose else _rest(story.tenants, shown)
    if rest:
        by_word = Counter(story.did(tenant) for tenant in rest)
        words = ", ".join(f"{number:,} {word}" for word, number in by_word.items())
        line = f"... and {count(len(rest), 'more tenant')}: {words} (-v shows all)"
        console.print(Padding(Text(line, style="dim"), (0, 0, 1, 1)))


def _most_telling(tenants: Sequence[TenantResult]) -> list[TenantResult]:
    if len(tenants) <= _ROWS:
        return list(tenants)
    others = [tenant for tenant in tenants if tenant.state is not TenantState.OK][:_ROWS]
    fine = [tenant for tenant in tenants if tenant.state is TenantState.OK]
    return others + fine[: min(_OK_ROWS, _ROWS - len(others))]


def _rest(tenants: Sequence[TenantResult], shown: Sequence[TenantResult]) -> list[TenantResult]:
    seen = {id(tenant) for tenant in shown}
    return [tenant for tenant in tenants if id(tenant) not in seen]


def _table(story: Story, tenants: Sequence[TenantResult], width: int) -> Table:
    heads = ["Tenant", "Database", "Target", "What", "Retention"]
    rows = [
        [
            _shown_id(tenant.tenant),
            short(tenant.database),
            one_line(tenant.target or ""),
            story.did(tenant),
            retention_change(tenant.before, tenant.after),
        ]
        for tenant in tenants
    ]
    widths = [max(map(cell_len, cells)) for cells in zip(heads, *rows, strict=True)]
    for_names = width - sum(widths[2:]) - _GAP * len(heads)
    if sum(widths[:2]) > for_names and _names_tell_tenants(tenants):
        # Where both do not fit, whole database names are worth more than two halves.
        heads = heads[1:]
        rows = [
            [row[1] or story.label(tenant), *row[2:]]
            for tenant, row in zip(tenants, rows, strict=True)
        ]
        widths = [max(map(cell_len, cells)) for cells in zip(heads, *rows, strict=True)]
        widths[0] = min(widths[0], max(10, for_names + _GAP))
    elif sum(widths[:2]) > for_names:
        widths[0] = min(widths[0], max(8, for_names * 2 // 5))
        widths[1] = min(widths[1], max(10, for_names - widths[0]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    for head, cells in zip(heads, widths, strict=True):
        table.add_column(head, width=cells, overflow="ellipsis", no_wrap=True)
    for tenant, row in zip(tenants, rows, strict=True):
        what = len(row) - 2
        style = _STYLES[tenant.state]
        table.add_row(*(Text(cell, style if i == what else "") for i, cell in enumerate(row)))
    return table


def _names_tell_tenants(tenants: Iterable[TenantResult]) -> bool:
    return all(tenant.tenant in tenant.database for tenant in tenants if tenant.database)


def _shown_id(id_: str) -> str:
    """An id as it is where that is plain to see, else quoted."""
    plain = id_.isprintable() and id_ == id_.strip() and " " not in id_ and 0 < len(id_) <= _ID
    return id_ if plain else printable(id_, _ID)


# Beneath the table


def _groups(story: Story, severity: Severity) -> list[_Group]:
    """What there is of one severity; tenants that share a reason and a hint are one group."""
    groups: dict[tuple[str, str], _Group] = {}
    for tenant in story.tenants:
        if tenant.state is TenantState.REFUSED and tenant.tenant in story.guards:
            continue  # the guard's own words say it
        if not story.is_right(tenant) and story.severity(tenant) is severity:
            group = _join(groups, story.why(tenant), one_line(tenant.hint), story.label(tenant))
            group.on = f" on {one_line(tenant.target)}" if tenant.target else ""
    for notes in story.by_tenant.values():
        for note in notes:
            if note.severity is severity:
                _join(groups, note.text, note.hint, note.what)
    general = [note for note in story.general if note.severity is severity]
    # What is about a whole target or source explains what is about its tenants: it goes first.
    return [_of_note(note) for note in general] + list(groups.values())


def _join(groups: dict[tuple[str, str], _Group], text: str, hint: str, label: str) -> _Group:
    group = groups.setdefault((text, hint), _Group(text, hint))
    group.labels.append(label)
    return group


def _of_note(note: Note) -> _Group:
    return _Group(note.text, note.hint)


def _show_groups(
    groups: Sequence[_Group], severity: Severity, console: Console, *, most: int | None
) -> None:
    title, style = _TITLES[severity]
    console.print(Text(title, style=style))
    grid = Table.grid(padding=(0, 1))  # keeps what wraps in line with its own beginning
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for group in groups[:most]:
        grid.add_row(" -", Text(_short(group.line, most)))
        if group.hint:
            grid.add_row("", Text(f"-> {group.hint}", style="italic"))
    more = 0 if most is None else len(groups) - most
    if more > 0:
        grid.add_row("", f"... and {more:,} more (-v shows all)")
    console.print(grid)
    console.print()


def _short(line: str, most: int | None, characters: int = 600) -> str:
    if most is None or len(line) <= characters:
        return line
    return f"{line[:characters]}... (-v shows all)"
