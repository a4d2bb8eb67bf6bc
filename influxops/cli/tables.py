"""Tables of the commands: rich on a terminal, aligned text in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from influxops.cli.output import put
from influxops.naming import one_line


def show_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output.

    Args:
        headers: One a column.
        rows: Cells as text; what would move the cursor is taken out.
    """
    lines = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for header in headers:
            table.add_column(header, overflow="fold")
        for line in lines:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
        console = Console()
        with console.capture() as captured:
            console.print(table)
        put(captured.get().removesuffix("\n"))
        return
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    for line in [list(headers), *lines]:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        put("  ".join(cells).rstrip())


def fitting(layouts: Sequence[Sequence[str]], rows: Sequence[Mapping[str, str]]) -> Sequence[str]:
    """Choose the columns to show: in a pipe the first layout, on a terminal the first that fits.

    Args:
        layouts: Headers, the most telling layout first.
        rows: Cells by header.

    Returns:
        One of the layouts; the last one where none fits.
    """
    if not sys.stdout.isatty():
        return layouts[0]
    columns = shutil.get_terminal_size().columns
    for headers in layouts:
        widths = [max(len(header), *(len(row[header]) for row in rows)) for header in headers]
        if sum(widths) + 3 * len(headers) <= columns:
            return headers
    return layouts[-1]


_STYLES = {"ok": "green", "no": "red", "FAIL": "bold red", "note": "yellow"}
