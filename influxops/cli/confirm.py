"""Asking a person at a terminal before what is hard to undo; a script is never asked."""

from __future__ import annotations

import sys

import click

from influxops.cli.output.stdio import say, speaks_records
from influxops.domain.text import one_line
from influxops.errors import ExitCode
from influxops.runtime.stdio import is_terminal

yes_option = click.option(
    "-y",
    "--yes",
    is_flag=True,
    help="Do not ask; without a terminal on standard input, output and error nothing is asked.",
)


def confirm(ctx: click.Context, question: str, *, yes: bool) -> None:
    """Ask whether to go on, and end the command where a person says no."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if yes or speaks_records() or not all(is_terminal(stream) for stream in streams):
        return
    if not click.confirm(one_line(question), err=True):
        say("nothing was done", before="influxops: ", err=True)
        ctx.exit(ExitCode.INTERRUPTED)
