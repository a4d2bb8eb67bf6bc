"""`influxops docs`: the pages of the documentation, wherever influxops is installed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.command import PROGRAM, Cli

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("arguments", [("docs",), ("docs", "--format", "json")])
def test_each_page_is_listed_with_its_title_in_the_order_of_the_site(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    pages = {str(path.relative_to(DOCS)).removesuffix(".md") for path in DOCS.rglob("*.md")}
    done = cli(*arguments)
    listed = (
        [each["page"] for each in done.json]
        if "json" in arguments
        else [line.split()[0] for line in done.lines[1:]]
    )
    files = {"report.schema.json", *(file.name for file in (DOCS / "deployment").iterdir())}
    assert {*listed} == pages | files
    order = re.findall(r"^- \[.*\((.*)\.md\)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert listed[: len(order) + 1] == ["index", *dict.fromkeys(order)]


@pytest.mark.parametrize("name", ["ledger", "reference/guards"])
def test_a_page_is_printed_as_it_is(cli: Cli, name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert cli("docs", name).out == text
    assert cli("docs", name, "--format", "json").json[0]["text"] == text


def test_what_a_page_says_to_its_authors_is_not_shown(cli: Cli) -> None:
    assert "<!--" in (DOCS / "quickstart.md").read_text(encoding="utf-8")
    assert "<!--" not in cli("docs", "quickstart").out


def test_the_nearest_page_is_suggested(cli: Cli) -> None:
    slip = cli("docs", "ledgr")
    assert (slip.code, "did you mean ledger?" in slip.err) == (2, True)


def test_on_a_terminal_a_page_is_shown_by_the_pager(cli: Cli, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged; cat\n")
    pager.chmod(0o755)
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [str(PROGRAM), "docs", "ledger"],
        env=cli.environment({"PAGER": str(pager), "TERM": "xterm"}),
        stdin=inside,
        stdout=inside,
    ):
        os.close(inside)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the last one that had it open has gone
            while part := os.read(terminal, 1 << 16):
                shown += part
    os.close(terminal)
    assert shown.startswith(b"paged")
    assert b"# The ledger in PostgreSQL" in shown


def test_a_word_is_looked_for_in_all_pages_or_in_one(cli: Cli) -> None:
    found = cli("docs", "--search", "RETIRE_AFTER")
    assert found.code == 0
    assert {line.split(":")[0] for line in found.lines} >= {"lifecycle", "reference/configuration"}
    assert all("retire_after" in line.lower() for line in found.lines)
    one = cli("docs", "ledger", "--search", "pgbouncer", "--format", "json").json
    assert {(each["page"], each["section"]) for each in one} == {("ledger", "Which run lives")}
    assert cli("docs", "--search", "no such word").code == 1
    assert cli("docs", "--search", "").code == 2
