"""The queue's schema: procrastinate's tables, and influxops' own beside them.

procrastinate keeps no note of what it has installed, so the table `installed` has one row for each
step, of either. A new schema gets procrastinate's as it is now; an existing one gets the steps that
are newer, in their order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import tuple_row

from influxops.domain.hint import Hint
from influxops.errors import LedgerError
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection import migrations
from influxops_queue.db.settings import queue_schema

_TABLE = sql.SQL("""
SET LOCAL client_min_messages = warning;
CREATE TABLE IF NOT EXISTS installed (
    step text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL DEFAULT session_user
);
""")
_INSTALLED = sql.SQL("SELECT step FROM {schema}.installed")
_NOTE = sql.SQL("INSERT INTO {schema}.installed (step) SELECT unnest({steps}::text[])")


class Step(Struct, frozen=True):
    """One step of the schema."""

    name: str  # `influxops 0001 hints`, as it is noted
    text: str  # plain SQL
    covers: tuple[str, ...] = ()  # the steps that need not be run any more


@functools.cache
def own_steps() -> tuple[Step, ...]:
    """Return influxops' own, in their order."""
    own = migrations.migrations("influxops_queue.db")
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


def check_installed(connection: psycopg.Connection[Any], settings: PostgresLedgerSettings) -> None:
    """Raise unless the schema is this program's."""
    schema = queue_schema(settings)
    installed = _installed(connection, schema)
    if not installed:
        raise LedgerError(
            f"there is no queue in the schema {schema}",
            hint=Hint.command("queue install", "run {}, once, as who may make a schema there"),
        )
    _refuse_newer(installed, schema)
    if missing(installed):
        raise LedgerError(
            f"the queue's schema {schema} is older than this influxops",
            hint=Hint.command("queue install", "run {}: it brings it up to date"),
        )


def install(
    connection: psycopg.Connection[Any], settings: PostgresLedgerSettings
) -> Iterator[Step]:
    """Run what is missing, each step in a transaction of its own, and yield each that is done."""
    name = queue_schema(settings)
    schema, key = sql.Identifier(name), sql.SQL("hashtextextended({}, 0)").format(name)

    def next_step() -> Step | None:
        # Other installations wait here, and then see what is done.
        connection.execute(migrations.prepare(key, name) + _TABLE)
        installed = _installed(connection, name)
        _refuse_newer(installed, name)
        return next(iter(missing(installed)), None)

    def run(step: Step) -> None:
        connection.execute(_text(step, settings, connection))
        connection.execute(_NOTE.format(schema=schema, steps=[step.name, *step.covers]))

    return migrations.upgrade(connection, next_step, run)


def _text(
    step: Step, settings: PostgresLedgerSettings, connection: psycopg.Connection[Any]
) -> bytes:
    if not step.name.startswith("influxops"):
        return step.text.encode()
    names = {
        "schema": sql.Identifier(queue_schema(settings)),
        "ledger": sql.Identifier(settings.schema),
    }
    return sql.SQL(step.text).format(**names).as_bytes(connection)


def _installed(connection: psycopg.Connection[Any], schema: str) -> frozenset[str]:
    if not migrations.has_table(connection, schema, "installed"):
        return frozenset()
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_INSTALLED.format(schema=sql.Identifier(schema))).fetchall()
    return frozenset(step for (step,) in rows)


def _refuse_newer(installed: frozenset[str], schema: str) -> None:
    known = {step.name for step in (*own_steps(), *library_steps())} | {"procrastinate"}
    unknown = sorted(installed - known)
    if unknown:
        raise LedgerError(
            f"the queue's schema {schema} is newer than this influxops: it has {unknown[-1]}",
            hint="update influxops and procrastinate here",
        )
