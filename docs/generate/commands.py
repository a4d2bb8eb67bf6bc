"""The commands and their options, from the command line itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from docs.generate.pages import code, comments, head, table, wrapped
from influxops.cli.app import cli
from influxops.errors import ExitCode

_CODE = re.compile(r"^ +(\d+) +(.*)$")
_COMMON = {"config", "verbose", "quiet", "log_format"}


def page() -> str:
    """Return docs/reference/commands.md."""
    lines = head(
        "Commands",
        "As `influxops COMMAND --help` has them. What they print as JSON is in [its own "
        "page](../commands.md).",
    )
    lines += ["## Options of every command", ""]
    root = click.Context(cli, info_name="influxops", max_content_width=100)
    lines += _options(root, [each for each in cli.params if each.name in _COMMON])
    lines += ["## Exit codes", "", *wrapped("A command that says nothing else below ends with"), ""]
    said = comments(ExitCode)
    lines += table(("code", "when"), ((code(str(int(e))), said[e.name]) for e in ExitCode))
    for ctx in commands():
        lines += [f"## {ctx.command_path}", "", *_described(ctx)]
    return "\n".join(lines).rstrip() + "\n"


def commands() -> Iterator[click.Context]:
    """Yield a context of each command, in the order of the help; a group before its own."""
    yield from _below(click.Context(cli, info_name="influxops", max_content_width=100))


def _below(ctx: click.Context) -> Iterator[click.Context]:
    assert isinstance(ctx.command, click.Group)
    for name in ctx.command.list_commands(ctx):
        command = ctx.command.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, parent=ctx, info_name=name)
        yield below
        if isinstance(command, click.Group):
            yield from _below(below)


def _described(ctx: click.Context) -> list[str]:
    command = ctx.command
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    lines = ["```text", usage, "```", ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = paragraph.removeprefix("\b\n")
        if text == paragraph:
            lines += [*wrapped(" ".join(text.split())), ""]
        elif text.startswith("Exit codes:"):
            lines += table(("code", "when"), _codes(text))
        else:
            lines += ["```text", *text.split("\n"), "```", ""]
    return lines + _options(ctx, [each for each in command.params if each.name not in _COMMON])


def _codes(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in text.split("\n")[1:]:
        if hit := _CODE.match(line):
            found.append((code(hit[1]), hit[2]))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def _options(ctx: click.Context, parameters: list[click.Parameter]) -> list[str]:
    options = (each for each in parameters if isinstance(each, click.Option))
    records = [each.get_help_record(ctx) for each in options]
    rows = [(f"`{record[0]}`", record[1]) for record in records if record]
    return table(("option", "what it does"), rows) if rows else []
