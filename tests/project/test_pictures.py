"""The picture of a run, made of what the program prints.

With UPDATE_SCREENSHOTS=1 it is written again; look at it before a commit.
"""

from __future__ import annotations

import html
import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "run.svg"
COLUMNS = 96
TENANTS = ("acme", "alpine-hydro", "borealis-wind", "brewline", "fjordtrack", "metro-lifts")


def test_the_picture_of_a_run_shows_what_the_program_prints(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry(*TENANTS)
    servers = {"eu1": stand_in(), "us1": stand_in()}
    cli.config(targets_toml({**servers}, '[placement]\npolicy = "spread"\n'))
    shown = "".join(
        f"\x1b[1m$ influxops {command}\x1b[0m\n{at_terminal(cli, command)}\n"
        for command in ("plan", "ensure")
    )
    for name, server in servers.items():
        shown = shown.replace(server.url, f"https://{name}.example:8181")
    picture = drawn(re.sub(r"in \d+\.\d s", "in 0.4 s", shown))
    if os.environ.get("UPDATE_SCREENSHOTS"):
        PICTURE.write_text(picture, encoding="utf-8")
    assert texts(PICTURE.read_text(encoding="utf-8")) == texts(picture)
    assert "http://" not in picture.replace("http://www.w3.org/", "")  # nothing is loaded


def at_terminal(cli: Cli, command: str) -> str:
    """What standard output of a command is at a terminal; the rest is not of this picture."""
    shown = cli.at_terminal(command, columns=COLUMNS, err=False)
    assert shown.code == 0, shown.all
    return shown.out


def drawn(text: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text.rstrip()))
    picture = console.export_svg(title="influxops", unique_id="run")
    # A font of the reader's own, not one from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return re.sub(r"font-family: ?Fira Code,? ?", "font-family: ", picture)


def texts(picture: str) -> list[str]:
    """What a picture says, line by line."""
    return [html.unescape(each) for each in re.findall(r">([^<>]+)</text>", picture)]
