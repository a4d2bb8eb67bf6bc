"""How a command ends when it cannot go on: one message, an exit code, no traceback."""

from __future__ import annotations

import io

import click

from influxops.cli.output import say
from influxops.errors import InfluxopsError

#: What a shell expects after SIGINT.
INTERRUPTED = 130

_NAME = "influxops: "


def end_with(error: Exception, *, traceback: bool = False) -> int:
    """Tell an error on standard error.

    Args:
        error: What ended the command.
        traceback: Whether to show where a fault, of influxops or of a plugin, happened.

    Returns:
        The exit code.
    """
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        say("interrupted", before=_NAME, err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            say(line, err=True)
        return error.exit_code
    if isinstance(error, InfluxopsError):
        for line in error.message.split("\n"):
            say(line, label="error:", before=_NAME, err=True)
        if error.hint:
            say(f"hint: {error.hint}", before=_NAME, err=True)
        if traceback and error.__cause__ is not None:
            _show_traceback(error.__cause__)
        return error.exit_code
    say(
        f"this is a fault in influxops: {type(error).__name__}: {error}",
        label="error:",
        before=_NAME,
        err=True,
    )
    if traceback:
        _show_traceback(error)
    else:
        say("hint: run it again with -vv, and report what it shows", before=_NAME, err=True)
    return 1


def _show_traceback(error: BaseException) -> None:
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        say(line, err=True)
