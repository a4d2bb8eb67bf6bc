"""What a plugin's own command needs of the command line, beside `influxops.plugin`.

A command is a click command in the entry-point group `influxops.commands`. All commands are
imported to be listed, so import in the function that runs what is slow to import.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from influxops.cli.options import (
    Duration,
    common,
    common_options,
    complete_tenants,
    format_option,
    timeout_option,
)
from influxops.cli.output.stdio import put, say, say_json
from influxops.cli.output.tables import show_table
from influxops.domain.text import pluralize
from influxops.errors import ConfigError

if TYPE_CHECKING:
    from influxops.config.plugin_settings import LedgerSettings
    from influxops.engine.engine import Engine
    from influxops.runtime.context import RunContext

__all__ = [
    "Duration",
    "common",
    "common_options",
    "complete_tenants",
    "configured",
    "configured_ledger",
    "format_option",
    "how_to_install",
    "put",
    "report_steps",
    "say",
    "say_json",
    "show_table",
    "timeout_option",
]

S = TypeVar("S", bound="LedgerSettings")


@contextlib.contextmanager
def configured(
    ctx: click.Context, timeout: float | None = None, *, endless: bool = False
) -> Iterator[tuple[Engine, RunContext]]:
    """Yield the configuration's engine, and the context of a run that signals end.

    Without a `timeout` it has the configuration's; none, if it is `endless`.
    """
    from influxops.cli.session import session

    with session(ctx, timeout=timeout, endless=endless) as found:
        yield found


@contextlib.contextmanager
def configured_ledger(
    ctx: click.Context, kind: type[S], timeout: float | None = None
) -> Iterator[tuple[S, RunContext]]:
    """Yield the settings of the configured ledger, and the context of a run; refuse other kinds."""
    from influxops.cli.session import session

    with session(ctx, timeout=timeout) as (engine, context):
        ledger = engine.ledger
        if ledger is None:
            raise ConfigError(
                "no ledger is configured",
                hint='write a section [ledger] with `kind = "postgres"`',
            )
        with ledger.error_boundary():
            settings = ledger.settings
            if not isinstance(settings, kind):
                raise ConfigError(f"the configured ledger is of another kind, {ledger.kind}")
            yield settings, context


def report_steps(
    ctx: click.Context, output: str, steps: Iterable[str], location: str, result: str
) -> None:
    """Print what is installed, each step once it was done, and the result; or all as JSON."""
    installed = []
    silent = output == "json" or common(ctx).quiet
    for step in steps:
        installed.append(step)
        if not silent:
            say(f"installed {step}")
    if output == "json":
        say_json({"version": 1, "location": location, "installed": installed})
    elif not silent:
        what = f"{pluralize(len(installed), 'step')} done" if installed else "nothing to do"
        say(f"{location}: {what}, {result}")


def how_to_install(extra: str) -> str:
    """Return the command that adds extras, with commas, to this installation.

    The package is on no index; pip notes down the folder or the file that it installed.
    """
    import importlib.metadata  # slow to import, and seldom needed
    import json
    import shlex

    found = importlib.metadata.distribution("influxops").read_text("direct_url.json")
    origin = json.loads(found or "{}")
    url = origin.get("url", "")
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install -e {shlex.quote(url.removeprefix('file://') + '[' + extra + ']')}"
    if url:
        return f"pip install {shlex.quote(f'influxops[{extra}] @ {url}')}"
    return f"pip install '.[{extra}]' in a checkout of influxops"
