"""What PostgreSQL complains about when the registry is read, and what to do next."""

from __future__ import annotations

import psycopg

from influxops.plugin import Hint, SourceError
from influxops_postgres.connection.errors import PROTOCOL_VIOLATION, broken, broken_hint, reason
from influxops_postgres.source.settings import PostgresSettings


def query_error(error: psycopg.Error, location: str, settings: PostgresSettings) -> SourceError:
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
        f"if {settings.table} is a view, correct that; "
        f"SELECT {settings.column} FROM {settings.table} in psql shows it"
    )
