"""A real PostgreSQL for tests: one server for a test session, a fresh database for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from influxops_devserver.postgres import (
    EmbeddedPostgres,
    embedded_postgres,
    ended_with_this_process,
    make_work_dir,
    start_cluster,
)
from tests.integration.command import Cli

_numbers = itertools.count(1)
#: A folder in memory, and the bytes that have to be free in it.
_MEMORY, _ROOM = "/dev/shm", 1 << 30
#: The databases of tests that have ended, by the folder of their server.
_left: dict[Path, list[str]] = {}
#: Databases in which commands were run, by the folder of their server and the commands.
_installed: dict[tuple[Path, tuple[str, ...]], str] = {}
#: Superusers' connections, by the folder of their server: one serves all of its databases.
_superusers: dict[Path, psycopg.Connection] = {}


@dataclass(frozen=True)
class TestDatabase:
    """One database of a test's own; its owner is the server's ordinary user `iot`."""

    __test__ = False

    server: EmbeddedPostgres
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make influxops read this database."""
        return {**self.server.environment, "PG_DB": self.name}

    @property
    def conninfo(self) -> str:
        return self.server.conninfo(self.name)

    @property
    def superuser_conninfo(self) -> str:
        return self.server.superuser_conninfo(self.name)

    def execute(self, *statements: LiteralString, superuser: bool = False) -> None:
        """Run statements, each in a transaction of its own."""
        conninfo = self.superuser_conninfo if superuser else self.conninfo
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def registry(self, *ids: str | None) -> None:
        """Make the table `device_registry`, with one device for each of these tenant ids."""
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(
                "CREATE TABLE device_registry (device_id bigserial PRIMARY KEY, tenant_id text)"
            )
            connection.cursor().executemany(
                "INSERT INTO device_registry (tenant_id) VALUES (%s)", [(id_,) for id_ in ids]
            )


def in_memory() -> str | None:
    """Return the folder whose files are in memory, where it has room for a server; else None.

    A database is copied there in a quarter of the time.
    """
    with contextlib.suppress(OSError):
        told = os.statvfs(_MEMORY)
        has_room = told.f_bavail * told.f_frsize > _ROOM and not told.f_flag & os.ST_NOEXEC
        if has_room and os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY
    return None


@contextlib.contextmanager
def postgres_server(
    options: Mapping[str, str] | None = None, *, folder: str | None = None
) -> Iterator[EmbeddedPostgres]:
    """Run a server without autovacuum, so that statistics are what a test made them.

    Its passwords are weak on purpose, because each connection pays for their strength.
    """
    given = {"autovacuum": "off", "scram_iterations": "1", **(options or {})}
    with embedded_postgres(options=given, folder=folder or in_memory()) as server:
        yield server


def _superuser(server: EmbeddedPostgres) -> psycopg.Connection:
    with contextlib.suppress(KeyError, psycopg.OperationalError):  # a test may have ended it
        _superusers[server.work_dir].execute("SELECT 1")
        return _superusers[server.work_dir]
    connection = psycopg.connect(server.superuser_conninfo(), autocommit=True)
    _superusers[server.work_dir] = connection
    return connection


def make_database(server: EmbeddedPostgres, template: str = "template1") -> TestDatabase:
    """Make an empty database, or a copy of one, for as long as the server runs."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _superuser(server).execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
            *map(sql.Identifier, (name, server.user, template))
        )
    )
    return TestDatabase(server, name)


def installed(server: EmbeddedPostgres, *commands: str) -> str:
    """Return a database in which commands have installed what they do, for copies of it."""
    if (server.work_dir, commands) not in _installed:
        made = make_database(server)
        with tempfile.TemporaryDirectory() as folder:
            cli = Cli(Path(folder), made.environment)
            cli.config(
                '[sources.registry]\nkind = "postgres"\n[ledger]\nkind = "postgres"\n'
                '[targets.eu1]\nkind = "influxdb3"\nurl = "http://127.0.0.1:9"\n'
            )
            for command in commands:
                done = cli(*command.split())
                assert done.code == 0, done.all
        _installed[server.work_dir, commands] = made.name
    return _installed[server.work_dir, commands]


@contextlib.contextmanager
def new_database(server: EmbeddedPostgres, template: str = "template1") -> Iterator[TestDatabase]:
    """Make an empty database, or a copy of one, and end what is still connected to it afterwards.

    It is dropped with the next one, by when they have gone: PostgreSQL looks after them every 100
    milliseconds only.
    """
    dropped = _left.setdefault(server.work_dir, [])
    made = make_database(server, template)
    try:
        yield made
    finally:
        connection = _superuser(server)
        while dropped:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(dropped.pop())))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [made.name]
        )
        dropped.append(made.name)


@contextlib.contextmanager
def standby_of(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Run a hot standby that streams from a server."""
    work_dir = make_work_dir(in_memory())
    try:
        data_dir = work_dir / "data"
        conninfo = primary.superuser_conninfo()
        backup = ("-D", str(data_dir), "-d", conninfo, "--write-recovery-conf")
        primary.run("pg_basebackup", *backup, "--checkpoint=fast", "--no-sync")
        port = start_cluster(primary.programs, work_dir, data_dir, {"fsync": "off"})
        standby = replace(primary, port=port, data_dir=data_dir, work_dir=work_dir)
    except BaseException:
        shutil.rmtree(work_dir, ignore_errors=True)
        raise
    try:
        with ended_with_this_process(standby):
            yield standby
    finally:
        standby.stop()
