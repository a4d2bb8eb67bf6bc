"""``influxops dev-server``: a stand-in for InfluxDB 3, for development and tests.

Only what reads the command line is imported here; the server and all it needs come when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influxops.plugin.cli import how_to_install
from influxops_devserver.durations import parse_duration
from influxops_devserver.limits import Limits
from influxops_devserver.requirements import STAND_IN, missing

if TYPE_CHECKING:
    from influxops_devserver.http.app import StandInSettings

READY = "Ready: "
"""How the line starts that says where the server answers; printed once it does."""


class _Failure(click.ClickException):
    exit_code = 2


def _limit(_: click.Context, __: click.Parameter, value: str) -> int | None:
    if value == "unlimited":
        return None
    if not value.isdecimal() or len(value) > 18:
        raise click.BadParameter(f"{value!r} is neither a number nor 'unlimited'")
    return int(value) or None


def _nanoseconds(_: click.Context, __: click.Parameter, value: str) -> int:
    """Reads a duration as the server's own options have it."""
    try:
        nanoseconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no duration like 1s or 250ms: {error}") from None
    if nanoseconds < 10**6:
        raise click.BadParameter("at least 1ms")
    return nanoseconds


@click.command("dev-server", context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port", default=8181, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where databases and rows are kept. Without it, nothing is kept.",
    show_default=False,
)
@click.option(
    "--max-databases",
    default="5",
    metavar="NUMBER",
    callback=_limit,
    help="0 or 'unlimited' is no limit.",
)
@click.option(
    "--max-tables",
    default="2000",
    metavar="NUMBER",
    callback=_limit,
    help="Over all databases together; 0 or 'unlimited' is no limit.",
)
@click.option(
    "--wal-flush-interval",
    default="1s",
    metavar="DURATION",
    callback=_nanoseconds,
    help="How long a write waits at most until it is durable.",
)
@click.option(
    "--wal-snapshot-size",
    default=600,
    type=click.IntRange(1),
    help="After so many flushes and a half, rows older than the newest file's time are in files.",
)
@click.option(
    "--gen1-duration",
    default="10m",
    metavar="DURATION",
    callback=_nanoseconds,
    help="How much time the rows of a file are apart at most.",
)
@click.option(
    "--query-file-limit",
    default=432,
    type=click.IntRange(1),
    help="How many files a query may read.",
)
@click.option("--unreadable-table", hidden=True, help="A table whose every query is to fail.")
@click.option("--with-auth", is_flag=True, help="Ask for a token, as a real server does.")
@click.option(
    "--until-stdin-ends",
    is_flag=True,
    hidden=True,
    help="End with the standard input: a pipe from a process ends with that process.",
)
def command(
    host: str,
    port: int,
    max_databases: int | None,
    max_tables: int | None,
    query_file_limit: int,
    until_stdin_ends: bool,
    **behaviour: Any,
) -> None:
    """Run a stand-in for InfluxDB 3, for development and tests.

    It is not InfluxDB: it answers the part of the API that influxops uses, as a recorded InfluxDB
    3 Core did, with Core's limits of databases and tables. Never point production at it.
    """
    absent = missing(*STAND_IN)
    if absent:
        raise _Failure(
            f"dev-server needs {', '.join(absent)}, not installed: {how_to_install('demo')}"
        )
    from influxops_devserver.http.app import StandInSettings
    from influxops_devserver.server import listen, serve, url_of
    from influxops_devserver.storage.documents import DataDirectoryError

    limits = Limits(max_databases, max_tables, query_file_limit)
    settings = StandInSettings(limits=limits, **behaviour)
    try:
        listener = listen(host, port)
    except OSError as error:
        raise _Failure(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another one with --port"
        ) from None
    welcome = _welcome(url_of(listener), settings)
    try:
        serve(settings, listener, lambda: click.echo(welcome), until_stdin_ends=until_stdin_ends)
    except DataDirectoryError as error:
        raise _Failure(str(error)) from None
    except OSError as error:
        path = error.filename or settings.data_dir
        raise _Failure(f"cannot use {path}: {error.strerror}") from None


def _welcome(url: str, settings: StandInSettings) -> str:
    limits = settings.limits
    kept = f"Data in {settings.data_dir}" if settings.data_dir else "Keeps nothing when it ends"
    lines = [
        "This is a stand-in for InfluxDB 3, for development and tests. It is not InfluxDB.",
        f"{kept}. WAL flush every {settings.wal_flush_interval / 10**9:g} s. "
        f"Limits: {limits.databases or 'no'} databases, {limits.tables or 'no'} tables.",
        "",
        f"  export INFLUXDB_URL={url}",
    ]
    if settings.with_auth:
        lines += [
            "",
            "Requests need a token. The first one is issued once, so keep it:",
            f"  curl -X POST {url}/api/v3/configure/token/admin -w '\\n'",
            '  export INFLUXDB_TOKEN=apiv3_...   # what that answers as "token"',
        ]
    lines += ["", f"{READY}{url} (Ctrl-C ends it)"]
    return "\n".join(lines)


if __name__ == "__main__":
    command()
