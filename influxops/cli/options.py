"""The options that every command takes, before or after its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Common:
    """What the common options say.

    Args:
        config: The configuration file; None for the default.
        verbose: How often `-v` was given.
        quiet: Whether `-q` was given.
        log_format: `text` or `json`.
        output: How the result is written, where a command has a choice: `text` or `json`.
    """

    config: str | None = None
    verbose: int = 0
    quiet: bool = False
    log_format: str = "text"
    output: str = "text"


def common(context: click.Context) -> Common:
    """Give the common options of this command line."""
    root = context.find_root()
    root.obj = root.obj or Common()
    assert isinstance(root.obj, Common)
    return root.obj


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    source = context.get_parameter_source(parameter.name or "")
    if source is not click.core.ParameterSource.DEFAULT:
        setattr(common(context), parameter.name or "", value)


def _keep_log_format(context: click.Context, parameter: click.Parameter, value: str) -> None:
    _keep(context, parameter, value)
    if value == "json":
        from influxops.cli.output import speak_records
        from influxops.cli.records import Records

        speak_records(Records().line)  # from here on, before there are secrets and a run


def _keep_and_give(context: click.Context, parameter: click.Parameter, value: str) -> str:
    _keep(context, parameter, value)
    return value


def common_options(command: Command) -> Command:
    """Add `--config`, `-v`, `-q` and `--log-format` to a command."""
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            is_eager=True,  # what is wrong with the other options is a record, too
            help="How standard error is written: lines, or one JSON record a line.",
            expose_value=False,
            callback=_keep_log_format,
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="Say nothing when all is well.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "-v",
            "--verbose",
            count=True,
            help="Say more; twice for every request.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "-c",
            "--config",
            type=click.Path(dir_okay=False),
            help="The configuration file [default: $INFLUXOPS_CONFIG, ./influxops.toml].",
            expose_value=False,
            callback=_keep,
        ),
    ):
        command = option(command)
    return command


class Duration(click.ParamType[float]):
    """A duration on the command line: `90s`, `15m`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read seconds, or a duration with units."""
        from influxops.durations import parse_duration

        try:
            seconds = float(value) if str(value).strip().isdigit() else parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail("it must be more than nothing", param, ctx)
        return float(seconds)


timeout_option = click.option(
    "--timeout",
    type=Duration(),
    metavar="DURATION",
    help="How long this may take, for instance 90s or 10m [default: run.timeout, 15m].",
)

format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    callback=_keep_and_give,
    help="How the result is written to standard output.",
)


_SCOPE_AND_GUARDS = (
    click.option(
        "--tenant",
        "tenants",
        multiple=True,
        metavar="ID",
        help="Write for this tenant only; may be repeated.",
    ),
    click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="NAME",
        help="Write to this target only; may be repeated.",
    ),
    click.option(
        "--allow",
        multiple=True,
        metavar="GUARD",
        help="Let a guard pass: unreachable, shorter-retention, empty-source; may be repeated.",
    ),
)


def run_options(command: Command) -> Command:
    """Add what `ensure` and `plan` share, as `influxops.cli.session.execute` takes it."""
    command = timeout_option(format_option(common_options(command)))
    for option in reversed(_SCOPE_AND_GUARDS):
        command = option(command)
    return command
