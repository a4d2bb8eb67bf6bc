"""The help of each command, in a terminal of 80 columns."""

from __future__ import annotations

import click
import pytest

from docs.generate.commands import commands
from influxops.cli.app import cli


@pytest.mark.parametrize(
    "command",
    [click.Context(cli, info_name="influxops"), *commands()],
    ids=lambda c: c.command_path,
)
def test_help_fits_a_terminal_and_cuts_no_sentence(command: click.Context) -> None:
    parents = [command]
    while parents[-1].parent is not None:
        parents.append(parents[-1].parent)
    shown: click.Context | None = None
    for each in reversed(parents):
        shown = click.Context(each.command, parent=shown, info_name=each.info_name)
        shown.terminal_width = 80
    assert shown is not None
    lines = command.command.get_help(shown).splitlines()
    assert not [line for line in lines if len(line) > 80]
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]
