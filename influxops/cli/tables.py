"""Tables of the commands: rich on a terminal, aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click


def show_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output.

    Args:
        headers: One a column.
        rows: Cells as text; what would move the cursor is taken out.
    """
    lines = [[_plain(cell) for cell in row] for row in rows]
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
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    for line in [list(headers), *lines]:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


_STYLES = {"ok": "green", "no": "red", "FAIL": "bold red", "note": "yellow"}


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
