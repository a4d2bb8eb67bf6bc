"""Tables of the commands: rich on a terminal, aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from influxops.cli.output.stdio import put
from influxops.domain.text import one_line
from influxops.runtime.stdio import console, is_terminal

#: Characters of a terminal that a column takes beside its text.
_GAP = 3


def show_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output."""
    lines = [[one_line(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _show_at_terminal(headers, lines)
        return
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    for line in [list(headers), *lines]:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        put("  ".join(cells).rstrip())


def _show_at_terminal(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = console(sys.stdout)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # What names a line stays whole, to be copied, where half the screen is enough for that.
    is_short = max(len(line[0]) for line in [headers, *lines]) <= screen.width // 2
    for number, header in enumerate(headers):
        table.add_column(header, overflow="fold", no_wrap=is_short and number == 0)
    for line in lines:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    with screen.capture() as captured:
        screen.print(table)
    put(captured.get().removesuffix("\n"))


def fitting(layouts: Sequence[Sequence[str]], rows: Sequence[dict[str, str]]) -> Sequence[str]:
    """Choose the columns to show: in a pipe the first layout, on a terminal the first that fits."""
    if not is_terminal(sys.stdout):
        return layouts[0]
    columns = console(sys.stdout).width
    for headers in layouts:
        widths = [max(len(header), *(len(row[header]) for row in rows)) for header in headers]
        if sum(widths) + _GAP * len(headers) <= columns:
            return headers
    return layouts[-1]


_STYLES = {"ok": "green", "no": "red", "FAIL": "bold red", "note": "yellow"}
