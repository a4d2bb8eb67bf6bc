"""The queue's schema: procrastinate's tables, and influxops' own beside them.

procrastinate keeps no note of what it has installed, so the table `installed` has one row for each
step, of either. A schema that is made anew gets procrastinate's as it is now; one that is there,
what came since, in its order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.domain.hint import Remedy
from influxops.errors import LedgerError
from influxops.runtime.sql_migrations import migrations
from influxops_postgres.commit import confirmed
from influxops_queue.settings import LedgerPlace, queue_schema

_PREPARE = sql.SQL("""
SELECT pg_advisory_xact_lock(hashtextextended({name}, 0));
DO $influxops$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {name}) THEN
        CREATE SCHEMA {schema};
    END IF;
END $influxops$;
SET LOCAL search_path = {schema};
SET LOCAL client_min_messages = warning;
CREATE TABLE IF NOT EXISTS installed (
    step text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL DEFAULT session_user
);
""")
_INSTALLED = sql.SQL("SELECT step FROM {schema}.installed")
_IS_THERE = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = {name} AND c.relname = 'installed')"
)
_NOTE = sql.SQL("INSERT INTO {schema}.installed (step) SELECT unnest({steps}::text[])")


class Step(Struct, frozen=True):
    """One step of the schema."""

    name: str  # `influxops 0001 hints`, as it is noted
    text: str  # plain SQL
    covers: tuple[str, ...] = ()  # the steps that need not be run any more


@functools.cache
def own_steps() -> tuple[Step, ...]:
    """Return influxops' own, in their order."""
    own = migrations("influxops_queue")
    return tuple(Step(f"influxops {each.version:04} {each.name}", each.text) for each in own)


@functools.cache
def library_steps() -> tuple[Step, ...]:
    """Return those by which procrastinate brings an older schema up to date, in their order."""
    found = []
    for file in files("procrastinate.sql").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            name = file.name.removesuffix(".sql").replace("_", " ")
            found.append(Step(f"procrastinate {name}", file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda step: step.name))


def missing(installed: frozenset[str]) -> list[Step]:
    """Return the steps that are to be run, where some are done."""
    from procrastinate.schema import SchemaManager

    steps = [step for step in library_steps() if step.name not in installed]
    if len(steps) == len(library_steps()):
        # Nothing is there: the whole schema at once, as it is after all of its steps.
        covers = tuple(step.name for step in steps)
        steps = [Step("procrastinate", SchemaManager.get_schema(), covers)]
    # Our own first: without a ledger nothing is installed.
    return [*(step for step in own_steps() if step.name not in installed), *steps]


def check_installed(connection: psycopg.Connection[Any], settings: LedgerPlace) -> None:
    """Raise unless the schema is this program's.

    Args:
        connection: A connection to the ledger's database.
        settings: The ledger's.

    Raises:
        LedgerError: When it is missing, older or newer; the message says which.
    """
    installed = _installed(connection, settings)
    schema = queue_schema(settings)
    if not installed:
        raise LedgerError(
            f"there is no queue in the schema {schema}",
            hint=Remedy.command("queue install", "run {}, once, as who may make a schema there"),
        )
    _refuse_newer(installed, schema)
    if missing(installed):
        raise LedgerError(
            f"the queue's schema {schema} is older than this influxops",
            hint=Remedy.command("queue install", "run {}: it brings it up to date"),
        )


def install(connection: psycopg.Connection[Any], settings: LedgerPlace) -> Iterator[Step]:
    """Run what is missing, each step in a transaction of its own.

    A value that a step adds to a type cannot be used by another one before it is committed.

    Args:
        connection: A connection to the ledger's database, without a transaction.
        settings: The ledger's.

    Yields:
        Each step, once it is done.

    Raises:
        LedgerError: When a newer program has been there.
    """
    name = queue_schema(settings)
    schema = sql.Identifier(name)
    while True:
        with confirmed(connection):
            # Whoever installs at the same time waits here, and then sees what is done.
            connection.execute(_PREPARE.format(name=name, schema=schema))
            installed = _installed(connection, settings)
            _refuse_newer(installed, name)
            steps = missing(installed)
            if not steps:
                return
            step = steps[0]
            connection.execute(_text(step, settings, connection))
            connection.execute(_NOTE.format(schema=schema, steps=[step.name, *step.covers]))
        yield step


def _text(step: Step, settings: LedgerPlace, connection: psycopg.Connection[Any]) -> bytes:
    if not step.name.startswith("influxops"):
        return step.text.encode()
    names = {
        "schema": sql.Identifier(queue_schema(settings)),
        "ledger": sql.Identifier(settings.schema),
    }
    return sql.SQL(step.text).format(**names).as_bytes(connection)


def _installed(connection: psycopg.Connection[Any], settings: LedgerPlace) -> frozenset[str]:
    name = queue_schema(settings)
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        there = cursor.execute(_IS_THERE.format(name=name)).fetchone()
        if not (there and there[0]):
            return frozenset()
        rows = cursor.execute(_INSTALLED.format(schema=sql.Identifier(name))).fetchall()
    return frozenset(step for (step,) in rows)


def _refuse_newer(installed: frozenset[str], schema: str) -> None:
    known = {step.name for step in (*own_steps(), *library_steps())} | {"procrastinate"}
    unknown = sorted(installed - known)
    if unknown:
        raise LedgerError(
            f"the queue's schema {schema} is newer than this influxops: it has {unknown[-1]}",
            hint="update influxops and procrastinate here",
        )
