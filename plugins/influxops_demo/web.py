"""What `influxops demo --web` runs: registry, worker, service and console, until Ctrl-C.

The service and the worker are the real commands, in processes of their own.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import click
import psycopg

from influxops.plugin import InfluxopsError
from influxops_demo.environment import (
    DEVICES,
    DemoEnvironment,
    run_command,
    running_environment,
)

#: Each of the demonstration's commands: it ends with its standard input, so that it ends with this
#: process however that ends. Ctrl-C in a terminal is not for it.
_CHILD = """
import os, signal, threading
def follow():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=follow, daemon=True).start()
from influxops.cli.main import main
main()
"""
#: Seconds that a command has to end by itself.
_GRACE = 20.0
#: How often the worker makes a full run: often, for somebody watches.
_FULL_RUNS = "1m"
#: How the service says where it is.
_LISTENING = "listening on "

_SECTIONS = """
[sources.tenants]
kind = "postgres"
table = "tenants"
{place}
[ledger]
kind = "postgres"
{place}
[web.device_values]
model = "TH-200"
firmware = "2.0.0"
"""
_REGISTRY = '[sources.registry]\nkind = "postgres"\n'
#: Sections that share a configuration each say where they are.
_PLACE = """\
host = "{host}"
port = {port}
user = "{user}"
database = "{database}"
password = {{env = "PG_PASS"}}
"""
#: A tenant that has devices exists already, by its id alone.
_TENANTS = (
    "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s) "
    "ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name"
)


def run_service() -> int:
    """Run all of it until Ctrl-C; return the exit code, 1 where the service ended by itself."""
    click.echo("Starting a PostgreSQL and three stand-ins for InfluxDB 3 ...")
    start = time.monotonic()
    with running_environment() as demo:
        _configure(demo)
        click.echo("Making tables, tenants and their databases ...")
        token = _prepare(demo)
        click.echo("Starting the service ...\n")
        with (
            _command(demo, "worker", "-q", "--full-run-every", _FULL_RUNS) as worker,
            _command(demo, "serve", "-q", "--port", "0") as service,
        ):
            url = _where(demo, service)
            _show(demo, url, token, time.monotonic() - start)
            with contextlib.suppress(KeyboardInterrupt):
                _first_to_end(demo, {"service": service, "worker": worker})
                return 1
            click.echo("\nStopping ...")
    click.echo("Everything is stopped and removed.")
    return 0


def _configure(demo: DemoEnvironment) -> None:
    server = demo.postgres
    place = _PLACE.format(
        host=server.host, port=server.port, user=server.user, database=server.database
    )
    text = demo.config.read_text(encoding="utf-8").replace(_REGISTRY, _REGISTRY + place)
    demo.config.write_text(text + _SECTIONS.format(place=place), encoding="utf-8")


def _prepare(demo: DemoEnvironment) -> str:
    """Make all tables, tenants and databases; return an operator's token."""
    run_command(demo.environment, "ledger", "install")
    run_command(demo.environment, "db", "upgrade")
    with psycopg.connect(demo.postgres.conninfo()) as connection:
        names = [(tenant, tenant.replace("-", " ").title()) for tenant in DEVICES]
        connection.cursor().executemany(_TENANTS, names)
    run_command(demo.environment, "queue", "install", "--trigger")
    run_command(demo.environment, "ensure")
    demo.write_telemetry()
    return run_command(
        demo.environment, "token", "create", "--role", "operator_admin", "--name", "demo"
    ).strip()


@contextlib.contextmanager
def _command(demo: DemoEnvironment, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with (
        _log(demo).open("a", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, *arguments],
            env=demo.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_to_end(demo: DemoEnvironment, commands: Mapping[str, subprocess.Popen[str]]) -> None:
    """Wait until one of the commands ends by itself, and say so."""
    handles = {os.pidfd_open(process.pid): name for name, process in commands.items()}
    try:
        ended, _, _ = select.select([*handles], [], [])
    finally:
        for handle in handles:
            os.close(handle)
    name = handles[ended[0]]
    code = commands[name].wait()
    click.secho(f"The {name} ended by itself, with {code}.", fg="red", err=True)
    click.echo(_log(demo).read_text(encoding="utf-8"), err=True)


def _log(demo: DemoEnvironment) -> Path:
    """Return where the commands that run on say what is wrong."""
    return demo.folder / "commands.log"


def _where(demo: DemoEnvironment, service: subprocess.Popen[str]) -> str:
    """Return where the service answers, once it does."""
    output: IO[str] | None = service.stdout
    for line in output or ():
        if line.startswith(_LISTENING):
            return line.removeprefix(_LISTENING).strip()
    message = _log(demo).read_text(encoding="utf-8").strip()
    raise InfluxopsError(f"the service ended with {service.wait()}: {message}")


def _show(demo: DemoEnvironment, url: str, token: str, seconds: float) -> None:
    postgres = demo.postgres
    click.echo(
        f"Up after {seconds:.1f} s: {len(DEVICES)} tenants in a PostgreSQL on "
        f"{postgres.host}:{postgres.port},\ntheir databases on three stand-ins, a worker and the "
        "service. Nothing of yours is touched.\n\nOpen this, and log in with the token of an "
        "operator_admin:\n"
    )
    click.secho(f"  {url}/", bold=True)
    click.echo(f"  {token}\n\nOr ask the API:\n")
    click.echo(f"  curl {url}/operator/tenants -H 'Authorization: Bearer {token}'\n")
    click.secho("Ctrl-C here stops and removes everything.", bold=True)
