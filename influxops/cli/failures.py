"""How a command ends when it cannot go on: one message, an exit code, no traceback."""

from __future__ import annotations

import io

import click

from influxops.cli.output.stdio import say, say_json, speaks_records
from influxops.errors import ExitCode, InfluxopsError

_NAME = "influxops: "


def end_with(error: Exception, *, traceback: bool = False, as_json: bool = False) -> int:
    """Tell an error on standard error; as JSON on standard output, too, where that is read."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        say("interrupted", before=_NAME, err=True)
        return ExitCode.INTERRUPTED
    if isinstance(error, click.ClickException):
        _say_usage(error)
        return error.exit_code
    if isinstance(error, InfluxopsError):
        _say_error(error, traceback=traceback, as_json=as_json)
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
    return ExitCode.FAILED


def _say_usage(error: click.ClickException) -> None:
    if speaks_records():
        say(" ".join(error.format_message().split()), label="error:", err=True)
        return
    shown = io.StringIO()
    error.show(shown)
    for line in shown.getvalue().splitlines():
        say(line.expandtabs(2), err=True)  # click lists choices with tabs


def _say_error(error: InfluxopsError, *, traceback: bool, as_json: bool) -> None:
    from influxops.report.wording import CLI_STYLE

    advice = CLI_STYLE.advice(error.remedy)
    for line in error.message.split("\n"):
        say(line, label="error:", before=_NAME, err=True)
    if advice:
        say(f"hint: {advice}", before=_NAME, err=True)
    if traceback and error.__cause__ is not None:
        _show_traceback(error.__cause__)
    if as_json:
        # A program that reads standard output sees why there is no report.
        told = {
            "kind": error.kind,
            "message": error.message,
            "hint": advice,
            "exit_code": int(error.exit_code),
        }
        say_json({"version": 1, "error": told})


def _show_traceback(error: BaseException) -> None:
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        say(line, err=True)
