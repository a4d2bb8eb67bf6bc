"""What a plugin's own command needs of the command line, beside `influxops.plugin`.

A command is a click command in the entry-point group `influxops.commands`. All commands are
imported to be listed, so import in the function that runs what is slow to import.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from influxops.cli.options import (
    Duration,
    common,
    common_options,
    format_option,
    timeout_option,
)
from influxops.cli.output.stdio import put, say, say_json
from influxops.cli.output.tables import show_table
from influxops.errors import ConfigError

if TYPE_CHECKING:
    from influxops.config.plugin_settings import LedgerSettings
    from influxops.engine.engine import Engine
    from influxops.runtime.context import RunContext

__all__ = [
    "Duration",
    "common",
    "common_options",
    "configured",
    "configured_ledger",
    "format_option",
    "how_to_install",
    "put",
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

    Args:
        timeout: Seconds, None for what the configuration says.
        endless: Whether it may take as long as it takes where no time is given.
    """
    from influxops.cli.session import session

    with session(ctx, timeout=timeout, endless=endless) as found:
        yield found


@contextlib.contextmanager
def configured_ledger(
    ctx: click.Context, kind: type[S], timeout: float | None = None
) -> Iterator[tuple[S, RunContext]]:
    """Yield the settings of the configured ledger, and the context of a run.

    What the block raises becomes the ledger's own error: secrets taken out, and settings named as
    the author of the configuration wrote them.

    Args:
        timeout: Seconds, None for what the configuration says.

    Raises:
        ConfigError: When there is none, or one of another kind.
    """
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
