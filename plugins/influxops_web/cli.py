"""`influxops serve`, `influxops db` and `influxops token`; what they need is imported when run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from influxops.cli.options import Duration
from influxops.domain.text import format_time
from influxops.errors import ConfigError
from influxops.plugin.cli import (
    common,
    common_options,
    configured,
    format_option,
    put,
    report_steps,
    say,
    say_json,
    show_table,
    timeout_option,
)

if TYPE_CHECKING:
    from influxops_web.db.connect import Connection, DatabaseLocation

_LONGEST_NAME = 200


@contextlib.contextmanager
def _database(
    ctx: click.Context, timeout: float | None = None
) -> Iterator[tuple[Connection, DatabaseLocation]]:
    """Yield a connection to the service's database, in autocommit mode."""
    from influxops_web.db.connect import connect, locate_database

    with configured(ctx, timeout=timeout) as (engine, context):
        location = locate_database(engine)
        with connect(location, context) as connection:
            yield connection, location


@click.group("db", short_help="Make the tables of the service in PostgreSQL.")
@common_options
def db() -> None:
    """Make the tables of the HTTP service in PostgreSQL."""


@db.command("upgrade", short_help="Make them, or bring them up to date.")
@format_option
@timeout_option
@common_options
@click.pass_context
def upgrade(ctx: click.Context, output: str, timeout: float | None) -> None:
    """Make the tables of the HTTP service, or bring them to this program's version.

    Running it again changes nothing. A table of tenants or devices that is there stays as it is.
    """
    from influxops_web.db import schema

    with _database(ctx, timeout) as (connection, location):
        found = schema.upgrade(connection, location)
        steps = (f"version {step.version} ({step.name})" for step in found)
        result = f"the tables are of version {schema.newest()}"
        report_steps(ctx, output, steps, location.text, result)


@click.group("token", short_help="Make, list and revoke the tokens of operators.")
@common_options
def token() -> None:
    """Make, list and revoke the tokens of operators, for the HTTP service."""


def _readable(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse a name that no log shows as it is."""
    if not value.isprintable() or len(value) > _LONGEST_NAME:
        raise click.BadParameter(f"one line of at most {_LONGEST_NAME} characters is needed")
    return value


@token.command("create", short_help="Make a token, and print it once.")
@click.option(
    "--role",
    type=click.Choice(["operator", "operator_admin"]),
    required=True,
    help="`operator` reads, `operator_admin` writes, too.",
)
@click.option(
    "--name",
    default="",
    metavar="TEXT",
    callback=_readable,
    help="Whose it is, for the audit log.",
)
@click.option(
    "--expires", type=Duration(), metavar="DURATION", help="How long it is good [default: no end]."
)
@format_option
@timeout_option
@common_options
@click.pass_context
def create(
    ctx: click.Context,
    role: str,
    name: str,
    expires: float | None,
    output: str,
    timeout: float | None,
) -> None:
    """Make a token, and print it, alone, on standard output.

    Only its SHA-256 is stored: nobody can print it again.
    """
    from influxops_web.security import api_keys

    with _database(ctx, timeout) as (connection, location):
        number, made = api_keys.create(connection, location, api_keys.Role(role), name, expires)
    if output == "json":
        say_json({"version": 1, "id": number, "role": role, "name": name, "token": made})
        return
    put(made)
    if not common(ctx).quiet:
        say(f"token {number} of the role {role}: keep it, it is not shown again", err=True)


@token.command("list", short_help="List them.")
@format_option
@timeout_option
@common_options
@click.pass_context
def list_tokens(ctx: click.Context, output: str, timeout: float | None) -> None:
    """List the tokens: their numbers, roles and ends, never the tokens themselves."""
    from influxops.report.document import plain
    from influxops_web.security import api_keys

    with _database(ctx, timeout) as (connection, location):
        found = api_keys.tokens(connection, location)
    now = datetime.now(UTC)
    rows = []
    for each in found:
        end, made = each["expires_at"], each["created_at"]
        ended = end is not None and end <= now
        state = "revoked" if each["revoked_at"] else "expired" if ended else "good"
        about, by = each["id"], each["created_by"]
        rows.append((about, each["role"], each["name"], state, made, by, end))
    names = ("id", "role", "name", "state", "created", "by", "expires")
    if output == "json":
        tokens = [dict(zip(names, row, strict=True)) for row in rows]
        say_json({"version": 1, "tokens": plain(tokens)})
    elif rows:
        show_table(names, [[_cell(cell) for cell in row] for row in rows])
    else:
        say("no token was made (influxops token create --role operator_admin)")


def _cell(value: object) -> str:
    return format_time(value) if isinstance(value, datetime) else str(value or "-")


@token.command("revoke", short_help="Revoke one, and end its sessions.")
@click.argument("number", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@format_option
@timeout_option
@common_options
@click.pass_context
def revoke(ctx: click.Context, number: int, output: str, timeout: float | None) -> None:
    """Revoke a token by its number; its sessions end with it."""
    from influxops_web.security import api_keys

    with _database(ctx, timeout) as (connection, location):
        if not api_keys.revoke(connection, location, number):
            raise ConfigError(
                f"there is no token {number}", hint="`influxops token list` shows them"
            )
    if output == "json":
        say_json({"version": 1, "revoked": number})
    elif not common(ctx).quiet:
        say(f"token {number} is revoked")


@click.command("serve", short_help="Run the HTTP service.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen on; 0 for a free one.",
)
@click.option(
    "--proxy-headers",
    is_flag=True,
    help="Believe a proxy's X-Forwarded-For and X-Forwarded-Proto.",
)
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="The proxies that are believed; may be repeated [default: 127.0.0.1 and ::1].",
)
@common_options
@click.pass_context
def serve(
    ctx: click.Context, host: str, port: int, proxy_headers: bool, proxies: tuple[str, ...]
) -> None:
    """Run the HTTP service: the operators' API, the provisioning API and the console.

    It needs [sources.tenants], a ledger in the same database, and `influxops db upgrade`
    (`influxops docs service`). SIGTERM and Ctrl-C end it once the requests under way are answered.

    \b
    Exit codes:
      0    it was ended
      1    PostgreSQL is away
      2    something is not configured or not installed; the message says what to
           write
    """
    if proxies and not proxy_headers:
        raise ConfigError("--trusted-proxy goes with --proxy-headers")
    from influxops_web.checks import check_extra

    check_extra()
    from influxops_web.server import serve as run

    run(ctx, host, port, proxies or ("127.0.0.1", "::1") if proxy_headers else ())
