"""What the pages of the reference share, and all of them."""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "reference"


def names() -> list[str]:
    """Return the modules of this folder that make a page each."""
    found = (each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in ("__main__", "pages"))


def generated() -> dict[str, str]:
    """Return each page's Markdown, by its name."""
    modules = {name: importlib.import_module(f"docs.generate.{name}") for name in names()}
    return {name: module.page() for name, module in modules.items()}


def head(title: str, *paragraphs: str) -> list[str]:
    """Return how a page begins."""
    return [f"# {title}", "", *(line for text in paragraphs for line in (*wrapped(text), ""))]


def wrapped(text: str) -> list[str]:
    """Return the lines of a paragraph."""
    return textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, and an empty one."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [*("| " + " | ".join(map(_cell, line)) + " |" for line in lines), ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(*texts: str) -> str:
    """Return texts as code, with commas in between."""
    return ", ".join(f"`{text}`" for text in texts)
