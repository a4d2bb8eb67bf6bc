"""A report for a person at a terminal: a table, and beneath it what somebody should look at.

What matters stands last, next to the prompt: what is wrong, why, the count, and the next step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from influxops import Report, Severity, TenantResult, TenantState
from influxops_reports.words import Note, Story, count, one_line, quoted, retention_change

#: Rows of the table, and of those right before the run, unless the user wants all.
_ROWS, _OK_ROWS = 40, 10
#: Things told beneath the table, a severity; and tenants named where they share a reason.
_GROUPS, _NAMES = 15, 4
#: Characters of an id that has no database name to stand for it.
_ID = 40

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

    @property
    def line(self) -> str:
        if not self.labels:
            return self.text
        if len(self.labels) == 1:
            return f"{self.labels[0]}: {self.text}"
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
            console.print(Padding(Text(f"Next: {step}", style="bold"), (0, 0)))


def _mood(story: Story) -> str:
    if story.report.exit_code not in (0, 3):
        return "bold red"
    return "yellow" if story.troubled else "bold green"


def _next_steps(story: Story) -> list[str]:
    # The hints stand beneath the errors already.
    steps = story.next_steps(hints=0)
    errors = len(_groups(story, Severity.ERROR)) - len(story.report.plan.refusals)
    if errors > 0:
        what = "the error above" if errors == 1 else f"the {errors:,} errors above"
        steps.append(f"see to {what}, then run it again; a run repeats nothing that is done")
    return steps


# The table


def _show_table(story: Story, console: Console, *, verbose: bool) -> None:
    shown = story.tenants if verbose else _most_telling(story.tenants)
    table = _table(story, shown, with_tenant=True)
    wide = console.options.update(width=1000)
    # Where both do not fit, whole database names are worth more than two halves.
    if table.__rich_measure__(console, wide).maximum > console.width and _names_tell_tenants(shown):
        table = _table(story, shown, with_tenant=False)
    console.print(table)
    rest = story.tenants[:0] if verbose else _rest(story.tenants, shown)
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


def _names_tell_tenants(tenants: Iterable[TenantResult]) -> bool:
    return all(tenant.tenant in tenant.database for tenant in tenants if tenant.database)


def _table(story: Story, tenants: Iterable[TenantResult], *, with_tenant: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    if with_tenant:
        table.add_column("Tenant", overflow="ellipsis", no_wrap=True, min_width=8)
    table.add_column("Database", overflow="ellipsis", no_wrap=True, min_width=10)
    table.add_column("Target", overflow="ellipsis", no_wrap=True, min_width=6)
    table.add_column("What", overflow="ellipsis", no_wrap=True, min_width=10)
    table.add_column("Retention", overflow="ellipsis", no_wrap=True, min_width=9)
    for tenant in tenants:
        style = _STYLES[tenant.state]
        cells = [
            one_line(tenant.database) or ("" if with_tenant else story.label(tenant, _ID)),
            one_line(tenant.target or ""),
            story.did(tenant),
            retention_change(tenant.before, tenant.after),
        ]
        if with_tenant:
            cells.insert(0, _shown_id(tenant.tenant))
        last = len(cells) - 2
        table.add_row(*(Text(cell, style if i == last else "") for i, cell in enumerate(cells)))
    return table


def _shown_id(id_: str) -> str:
    """An id as it is where that is plain to see, else quoted."""
    plain = id_.isprintable() and id_ == id_.strip() and " " not in id_ and 0 < len(id_) <= _ID
    return id_ if plain else quoted(id_, _ID)


# Beneath the table


def _groups(story: Story, severity: Severity) -> list[_Group]:
    """What there is of one severity; tenants that share a reason and a hint are one group."""
    groups: dict[tuple[str, str], _Group] = {}
    for tenant in story.tenants:
        if not story.is_right(tenant) and story.severity(tenant) is severity:
            on = f" on {one_line(tenant.target)}" if tenant.target and tenant.database else ""
            label = story.label(tenant, _ID) + on
            _join(groups, story.why(tenant), one_line(tenant.hint), label)
    for notes in story.by_tenant.values():
        for note in notes:
            if note.severity is severity:
                _join(groups, note.text, note.hint, note.what)
    general = [note for note in story.general if note.severity is severity]
    # What is about a whole target or source explains what is about its tenants: it goes first.
    return [_of_note(note) for note in general] + list(groups.values())


def _join(groups: dict[tuple[str, str], _Group], text: str, hint: str, label: str) -> None:
    groups.setdefault((text, hint), _Group(text, hint)).labels.append(label)


def _of_note(note: Note) -> _Group:
    return _Group(note.text, note.hint)


def _show_groups(
    groups: Sequence[_Group], severity: Severity, console: Console, *, most: int | None
) -> None:
    title, style = _TITLES[severity]
    console.print(Text(title, style=style))
    for group in groups[:most]:
        console.print(Padding(Text(f"- {_short(group.line, most)}"), (0, 0, 0, 2)))
        if group.hint:
            console.print(Padding(Text(f"-> {group.hint}", style="italic"), (0, 0, 0, 4)))
    more = 0 if most is None else len(groups) - most
    if more > 0:
        console.print(Padding(Text(f"... and {more:,} more (-v shows all)"), (0, 0, 0, 2)))
    console.print()


def _short(line: str, most: int | None, characters: int = 600) -> str:
    if most is None or len(line) <= characters:
        return line
    return f"{line[:characters]}... (-v shows all)"
