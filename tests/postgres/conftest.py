"""A PostgreSQL of the test session's own, and sources that read it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from influxops.plugin import RunContext
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres import (
    PostgresLedger,
    PostgresLedgerSettings,
    PostgresSettings,
    PostgresSource,
)
from influxops_postgres.ledger.transaction import installing
from tests.pg import TestDatabase, new_database, standby_of


class MakeSource(Protocol):
    def __call__(self, **settings: object) -> PostgresSource: ...


class MakeLedger(Protocol):
    def __call__(self, **settings: object) -> PostgresLedger: ...


@pytest.fixture(scope="session")
def server(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    return postgres


@pytest.fixture(scope="session")
def standby(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    with standby_of(server) as standby:
        yield standby


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[TestDatabase]:
    with new_database(server) as database:
        yield database


@pytest.fixture(autouse=True)
def nobodys_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the password file and the variables of the user who runs the tests out of them."""
    for name in os.environ:
        if name.startswith("PG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def where(database: TestDatabase) -> dict[str, object]:
    """Give the settings that lead to a test's database, as text, as variables are."""
    names = {"host": "PG_HOST", "port": "PG_PORT", "database": "PG_DB", "user": "PG_USER"}
    return {name: database.environment[variable] for name, variable in names.items()}


@contextlib.contextmanager
def seeing_all_rows(database: TestDatabase, hint: str) -> Iterator[None]:
    """Give a user the attribute that a hint advises, which counts in all databases of a server."""
    assert hint.endswith(': ALTER ROLE "iot" BYPASSRLS')
    database.execute("ALTER ROLE iot BYPASSRLS", superuser=True)
    try:
        yield
    finally:
        database.execute("ALTER ROLE iot NOBYPASSRLS", superuser=True)


@pytest.fixture
def make_source(database: TestDatabase) -> MakeSource:
    """Make a source that reads the test's database, with settings as text, as variables are."""

    def make(**settings: object) -> PostgresSource:
        values = {**where(database), **settings}
        return PostgresSource("registry", PostgresSettings.parse(values, as_text=values))

    return make


@pytest.fixture
def make_ledger(database: TestDatabase) -> Iterator[MakeLedger]:
    """Make a ledger in the test's database, whose schema may not be there yet."""
    with contextlib.ExitStack() as stack:

        def make(**settings: object) -> PostgresLedger:
            values = {**where(database), **settings}
            made = PostgresLedger("", PostgresLedgerSettings.parse(values, as_text=values))
            stack.callback(made.influxops_close)
            return made

        yield make


@pytest.fixture
def ledger(make_ledger: MakeLedger) -> PostgresLedger:
    """A ledger that is installed and empty."""
    made = make_ledger()
    assert list(installing(made.settings, RunContext()))
    return made
