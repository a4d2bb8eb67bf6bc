"""What the pages of the reference share, and all of them."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import textwrap
import tokenize
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


def comments(owner: type) -> dict[str, str]:
    """Return what the comments of a class say of its members: behind each, or `#:` before it."""
    found: dict[str, str] = {}
    before: list[str] = []
    text = textwrap.dedent(inspect.getsource(owner))
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.line[: token.start[1]] == "    ":
            name = token.string
            if before:
                found[name], before = " ".join(before), []
        elif token.type == tokenize.COMMENT:
            if token.string.startswith("#:"):
                before.append(token.string[2:].strip())
            elif before and token.line.lstrip().startswith("#"):
                before.append(token.string[1:].strip())
            elif name:
                found.setdefault(name, token.string[1:].strip())
    return found
