"""How a command ends when it cannot go on: one message, an exit code, no traceback."""

from __future__ import annotations

import click

from influxops.errors import InfluxopsError

#: What a shell expects after SIGINT.
INTERRUPTED = 130


def end_with(error: Exception) -> int:
    """Tell an error on standard error.

    Args:
        error: What ended the command.

    Returns:
        The exit code.
    """
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        click.echo("influxops: interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, InfluxopsError):
        lines = error.message.splitlines() or [""]
        for line in lines:
            click.echo(f"influxops: {click.style('error', fg='red')}: {line}", err=True)
        if error.hint:
            click.echo(f"influxops: hint: {error.hint}", err=True)
        return error.exit_code
    click.echo(
        f"influxops: {click.style('error', fg='red')}: this is a fault in influxops: "
        f"{type(error).__name__}: {error}",
        err=True,
    )
    click.echo(
        "influxops: hint: set INFLUXOPS_TRACEBACK=1, run it again, and report what it shows",
        err=True,
    )
    _traceback(error)
    return 1


def _traceback(error: Exception) -> None:
    import os

    if os.environ.get("INFLUXOPS_TRACEBACK"):
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
