"""`influxops docs`: the pages of the documentation, which the package holds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.resources import files

import click

from influxops.cli.options import common_options, format_option
from influxops.cli.output.stdio import put, say, say_json
from influxops.domain.text import did_you_mean
from influxops.runtime.stdio import is_terminal

#: A page in the lists of index.md.
_LISTED = re.compile(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)$", re.MULTILINE)

#: What a page says to its authors alone.
_NOTE = re.compile(r"^<!--.*-->\n", re.MULTILINE)


def _pages() -> dict[str, str]:
    """Return the pages by their names, in the order of index.md, then the files they name."""
    root = files("influxops").joinpath("docs")
    found = {}
    for folder in ("", "reference/"):
        for page in root.joinpath(folder).iterdir():
            if page.name.endswith(".md"):
                name = folder + page.name.removesuffix(".md")
                found[name] = _NOTE.sub("", page.read_text(encoding="utf-8"))
    for file in (root.joinpath("report.schema.json"), *root.joinpath("deployment").iterdir()):
        found[file.name] = file.read_text(encoding="utf-8")
    listed = ["index", *_LISTED.findall(found["index"])]
    order = {name: number for number, name in enumerate(listed)}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), "." in name, name))
    return {name: found[name] for name in names}


def _complete(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    return [name for name in _pages() if name.startswith(start)]


@click.command("docs", short_help="Print or search the documentation, or list its pages.")
@click.argument("page", required=False, shell_complete=_complete)
@click.option("--search", metavar="TEXT", help="Show the lines that have it, of all pages or one.")
@format_option
@common_options
@click.pass_context
def command(ctx: click.Context, page: str | None, search: str | None, output: str) -> None:
    """Print a page of the documentation of this version, as Markdown, or list the pages.

    The files that pages name are there, too: units of systemd, alerts, a dashboard. On a
    terminal a page is shown by $PAGER. With --search it ends with 1 where nothing is found.
    """
    pages = _pages()
    if page is not None and page not in pages:
        hint = did_you_mean(page, pages) or "`influxops docs` lists the pages"
        raise click.UsageError(f"there is no page {page!r} ({hint})")
    texts = {name: text for name, text in pages.items() if page in (None, name)}
    if search == "":
        raise click.UsageError("--search takes a text that is not empty")
    if search is not None:
        ctx.exit(_search(search, texts, output))
    titles = {name: _title(text) for name, text in texts.items()}
    if output == "json":
        whole = {"text": texts[page]} if page else {}
        say_json([{"page": name, "title": title, **whole} for name, title in titles.items()])
    elif page and is_terminal(sys.stdout):
        click.echo_via_pager(texts[page])
    elif page:
        put(texts[page].rstrip("\n"))
    else:
        from influxops.cli.output.tables import show_table

        show_table(("page", "title"), titles.items())


def _search(text: str, pages: dict[str, str], output: str) -> int:
    """Show the lines with a text; return the exit code."""
    found = [(name, *hit) for name, page in pages.items() for hit in _hits(text.lower(), page)]
    if output == "json":
        keys = ("page", "section", "line")
        say_json([dict(zip(keys, each, strict=True)) for each in found])
    else:
        for name, section, line in found:
            say(f"{name}: {section}: {line}" if section != line else f"{name}: {line}")
    return 0 if found else 1


def _hits(text: str, page: str) -> Iterator[tuple[str, str]]:
    """Yield the lines that have a text in any case, each after the heading that it is below."""
    heading, is_code = "", False
    for line in page.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("#") and not is_code:
            heading = line = line.lstrip("# -")
        if text in line.lower():
            yield heading, line.strip()


def _title(text: str) -> str:
    """Return what a page, or a file by its first comment, is about."""
    if text.startswith("{"):
        return str(json.loads(text)["title"])
    return text.split("\n", 1)[0].lstrip("# -")
