"""A read-only transaction on the registry: as few round trips as there are questions.

What PostgreSQL complains about comes with what to do next.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.plugin import Hint, RunContext, SourceError
from influxops_postgres.connection.connection import Connection, Row, statement_limit
from influxops_postgres.connection.errors import PROTOCOL_VIOLATION, broken, broken_hint, reason
from influxops_postgres.connection.pool import IdleConnections, connected
from influxops_postgres.source.settings import PostgresSettings

#: The type char(n), whose padding is no part of the value.
_CHAR = 1042
_INTERVAL = 1186
# As the IntervalStyle `postgres` writes it. Months and years have no match, for they have no
# length: such a text is left as it is, and the engine holds the one tenant that has it.
_FIXED_INTERVAL = re.compile(r"(?=.)(?:(\d+) days?)?(?:(?:^| )(\d+):(\d\d):(\d\d))?", re.ASCII)

_BEGIN = sql.SQL(
    "{rollback}BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
    "SET LOCAL intervalstyle = postgres; SET LOCAL row_security = {row_security}; "
    "SET LOCAL statement_timeout = {limit}"
)


class TextResult(Struct, frozen=True):
    """What a query gave, as text."""

    names: list[str]  # of its columns
    rows: Iterator[tuple[str | None, ...]]
    after: Row  # of the query that ran right after it


class Session(Struct, frozen=True):
    """A read-only transaction in which every statement sees the same data."""

    connection: Connection
    settings: PostgresSettings
    context: RunContext
    location: str  # user, host and database, for messages

    def begin(self, *, row_security: bool) -> None:
        """Begin the transaction, or begin another one instead, in one round trip.

        PostgreSQL refuses a query that row-level security would filter where it may not.
        """
        self.connection.execute(
            _BEGIN.format(
                limit=statement_limit(self.settings, self.context),
                rollback=sql.SQL("" if self._is_idle else "ROLLBACK; "),
                row_security=sql.SQL("on" if row_security else "off"),
            )
        )

    @property
    def _is_idle(self) -> bool:
        return self.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    def row(self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None) -> Row:
        """Return the one row of a query."""
        return self.rows(query, values)[0]

    def rows(
        self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Return the rows of a query, with values of Python's types."""
        self.context.check()
        return self.connection.execute(query, values).fetchall()

    def texts(self, query: sql.Composed | bytes, after: sql.SQL) -> TextResult:
        """Run a query whose values are wanted as PostgreSQL writes them, whatever their types.

        But for an `interval` without months, which becomes whole seconds as `2592000s`, the way
        that influxops reads durations. `after` gives one row; it runs in the same round trip.
        """
        self.context.check()
        # A pipeline sends it by the extended protocol, which takes one statement only: a second
        # one could end the read-only transaction before its result is looked at.
        with self.connection.pipeline():
            cursor = self.connection.execute(query)
            following = self.connection.execute(after)
        result = cursor.pgresult
        if result is None or result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise SourceError(
                f"{self.location}: the query gives no rows",
                hint=Hint.setting("query", "write one SELECT in {}"),
            )
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        types = [result.ftype(column) for column in range(result.nfields)]

        def read(column: int) -> Iterator[str | None]:
            get, type_ = result.get_value, types[column]
            try:
                for row in range(result.ntuples):
                    value = get(row, column)
                    text = None if value is None else value.decode()
                    if type_ == _CHAR and text is not None:
                        text = text.rstrip(" ")
                    elif type_ == _INTERVAL and text is not None:
                        text = _seconds(text)
                    yield text
            except UnicodeDecodeError:
                raise SourceError(
                    f"{self.location}: {value!r} is not UTF-8",
                    hint="the database is SQL_ASCII, so PostgreSQL converts nothing: correct the "
                    "row",
                ) from None

        row = following.fetchone()
        assert row is not None, "it gives one row"
        return TextResult(names, zip(*map(read, range(len(names))), strict=True), row)


def _seconds(interval: str) -> str:
    """Return an interval as whole seconds; one that has months or fractions stays as it is."""
    match = _FIXED_INTERVAL.fullmatch(interval)
    if match is None:
        return interval
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"{86_400 * days + 3_600 * hours + 60 * minutes + seconds}s"


@contextlib.contextmanager
def reading(
    settings: PostgresSettings,
    context: RunContext,
    idle: IdleConnections | None = None,
    *,
    row_security: bool = False,
) -> Iterator[Session]:
    """Open a read-only transaction on a connection of its own."""
    location = settings.parameters().text
    with connected(settings, context, idle) as connection:
        try:
            session = Session(connection, settings, context, location)
            session.begin(row_security=row_security)
            yield session
            connection.execute("COMMIT")
        except psycopg.Error as error:
            context.check()
            raise _query_error(error, location, settings) from error


def _query_error(error: psycopg.Error, location: str, settings: PostgresSettings) -> SourceError:
    """Return the error that says why a query failed; `location` is as `iot@db.example/iotcloud`."""
    why = reason(error)
    if error.sqlstate in (None, PROTOCOL_VIOLATION):
        return SourceError(f"{location}: {broken(error)}", hint=broken_hint(error))
    hint: str | Hint = ""
    match error.sqlstate:
        case "57014":
            why, hint = _cancelled(why, settings)
        case "42501":
            hint = _grant(settings, location.partition("@")[0])
        case "40001":
            hint = "read the primary, or raise max_standby_streaming_delay on this standby"
        case "25006":
            why = f"{_what(settings)} tries to write ({why})"
            hint = "sources only read"
        case "42601" if error.diag.source_function == "exec_parse_message":
            # Where PostgreSQL refuses several commands in one; what it says is translated.
            why = f"{_what(settings)} is more than one statement"
            hint = Hint.setting("query", "write one SELECT in {}, without a semicolon inside")
            if settings.query is None:
                hint = Hint.setting("where", "write one condition in {}, without a semicolon")
        case state if state[:2] in ("53", "57"):
            hint = "try again when the server has recovered"
        case state:
            why = f"{_what(settings)} fails: {why}"
            hint = _correct(settings, state)
    return SourceError(f"{location}: {why}", hint=hint)


def _what(settings: PostgresSettings) -> str:
    """Return what is running, to be read as the subject of a sentence."""
    if settings.query is not None:
        return "the query"
    return f"reading {settings.table}{' with that condition' if settings.where else ''}"


def _cancelled(why: str, settings: PostgresSettings) -> tuple[str, str | Hint]:
    """Return why a query was cancelled; what the server says of it may be translated."""
    if "user request" in why:
        return "somebody cancelled the query on the server", "run it again"
    hint = Hint.setting(
        "statement_timeout", "raise {}, or make an index on the column with the tenant ids"
    )
    if "statement timeout" in why and settings.statement_timeout:
        allowed = f"{settings.statement_timeout:g} s"
        return f"the query took longer than the {allowed} allowed", hint
    return f"the query was cancelled: {why}", hint


def _grant(settings: PostgresSettings, user: str) -> str:
    if settings.query is not None:
        return f"grant {user} SELECT on what the query reads"
    grant = f"GRANT SELECT ON {settings.table} TO {user}"
    if len(settings.table_parts) > 1:
        return f"GRANT USAGE ON SCHEMA {settings.table_parts[0]} TO {user}; {grant}"
    return grant


def _correct(settings: PostgresSettings, state: str) -> Hint:
    """Return where a mistake in SQL lies: the table's name and column were looked up before."""
    if settings.query is not None:
        return Hint.setting("query", "correct {}, or the view that it reads; try it in psql")
    if settings.where is not None:
        view = "" if state.startswith("42") else ", or the view that it is put to"
        return Hint.setting("where", "correct {}" + view + "; try it in psql")
    return Hint.advise(
        f"if {settings.table} is a view, correct that; "  # shown, not run  # noqa: S608
        f"SELECT {settings.column} FROM {settings.table} in psql shows it"
    )
