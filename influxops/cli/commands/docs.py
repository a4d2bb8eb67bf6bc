"""`influxops docs`: the pages of the documentation and their files, which the package holds."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import click

from influxops.cli.options import common_options, format_option
from influxops.cli.output.stdio import put, say_json
from influxops.domain.text import did_you_mean


def _pages() -> dict[str, Any]:
    """Return the pages by their names, then the files that go with them."""
    folder = files("influxops").joinpath("docs")
    found = [page for page in folder.iterdir() if page.name.endswith(".md")]
    found = sorted(found, key=str) + sorted(folder.joinpath("deployment").iterdir(), key=str)
    return {page.name.removesuffix(".md"): page for page in found}


def _title(text: str) -> str:
    """Return what a page, or a file by its first comment, is about."""
    if text.startswith("{"):
        return str(json.loads(text)["title"])
    return text.split("\n", 1)[0].lstrip("# -")


def _complete(ctx: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    return [name for name in _pages() if name.startswith(start)]


@click.command("docs", short_help="Print a page of the documentation, or list the pages.")
@click.argument("page", required=False, shell_complete=_complete)
@format_option
@common_options
def command(page: str | None, output: str) -> None:
    """Print a page of the documentation of this version, as Markdown, or list the pages.

    The files that pages name are there, too: units of systemd, alerts, a dashboard.
    """
    pages = _pages()
    if page is not None and page not in pages:
        hint = did_you_mean(page, pages) or "`influxops docs` lists the pages"
        raise click.UsageError(f"there is no page {page!r} ({hint})")
    texts = {name: pages[name].read_text(encoding="utf-8") for name in ([page] if page else pages)}
    titles = {name: _title(text) for name, text in texts.items()}
    if output == "json":
        whole = {"text": texts[page]} if page else {}
        say_json([{"page": name, "title": title, **whole} for name, title in titles.items()])
    elif page:
        put(texts[page].rstrip("\n"))
    else:
        from influxops.cli.output.tables import show_table

        show_table(("page", "title"), titles.items())
