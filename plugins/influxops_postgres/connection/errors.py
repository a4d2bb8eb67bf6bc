"""What PostgreSQL and libpq complain about, in one line and with what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg

from influxops.plugin import Remedy, SourceError

if TYPE_CHECKING:
    from influxops_postgres.connection.settings import ConnectionSettings, PostgresSettings

#: What psycopg and libpq put in front of the reason.
_PREFIX = re.compile(
    r"""- \ host: .*?, \ hostaddr: \ \S+: \ | connection \ failed: \ |
        connection \ to \ server \ (?:at|on \ socket) .*? \ failed: \ | (?:FATAL|ERROR): \ +""",
    re.VERBOSE,
)

#: How a pooler puts what it has to say; PostgreSQL says it of what no driver sends.
PROTOCOL_VIOLATION = "08P01"

#: What a reason for not getting in contains, the setting where that lies, and what to do about
#: it; the first match counts.
_CONNECT_HINTS = (
    ("Connection refused", "host", "check {} and the port; does PostgreSQL run and listen there?"),
    ("No such file or directory", "host", "check {}; does PostgreSQL run there?"),
    ("failed to resolve host", "host", "check {}"),
    ("no password supplied", "password", "set {}, or name this server in the password file"),
    ("password authentication failed", "password", "check {}, and the user's name"),
    ("no pg_hba.conf entry", "", "have this machine and user allowed in the server's pg_hba.conf"),
    ("certificate", "sslrootcert", "check {}, the TLS mode, and the name of the host"),
    ("SSL", "sslmode", "check {}, and whether the server has TLS switched on"),
    ("definition of service", "", "check the name of the service, and the service file"),
    ("too many", "", "try again, or give the server more max_connections"),
    ("remaining connection slots", "", "try again, or give the server more max_connections"),
    ("starting up", "", "try again in a moment"),
    ("shutting down", "", "try again when it is back"),
    ("role ", "user", "check {}"),
    ("database ", "database", "check {}"),
)


#: What a pooler says, and what to do about it.
_POOLER_HINTS = (
    (
        "query_wait_timeout",
        "the pooler in between had no free connection: a run needs two at once; raise its pool "
        "size, or see what keeps its connections",
    ),
    (
        "statement pooling mode",
        "the pooler in between lends connections by the statement: set its pool_mode to "
        "transaction or session, or connect to PostgreSQL itself",
    ),
    ("no more connections allowed", "raise max_client_conn of the pooler in between"),
)
_NO_ANSWER = (
    "see whether the server is well; a pooler in between may have no free connection, of which a "
    "run needs two, or a firewall may have dropped this one"
)


class NoAnswer(psycopg.OperationalError):
    """The server, or what stands in between, said nothing for as long as it may."""


def broken_hint(error: psycopg.Error) -> str:
    """Return what to do where a connection broke, or a pooler refused it."""
    return _NO_ANSWER if isinstance(error, NoAnswer) else _pooler_hint(reason(error)) or "try again"


def broken(error: psycopg.Error) -> str:
    """Return in words what became of a connection that is broken."""
    if error.sqlstate is None and not isinstance(error, NoAnswer):
        return f"the connection broke: {reason(error)}"
    return reason(error)


def _pooler_hint(why: str) -> str:
    return next((hint for part, hint in _POOLER_HINTS if part in why), "")


def in_setting(settings: ConnectionSettings, name: str, text: str) -> Remedy:
    """Return a remedy that lies in a setting, or in the connection string that stands for it.

    Args:
        settings: The section's settings.
        name: The setting; empty where it lies in none.
        text: What to do; `{}` stands for the setting.
    """
    if not name:
        return Remedy.advise(text)
    return Remedy.setting("dsn" if settings.dsn and name not in settings.given else name, text)


def connection_error(
    error: psycopg.Error, place: str, timeout: float | None, settings: ConnectionSettings
) -> SourceError:
    """Return the error that says why there is no connection.

    Args:
        error: What psycopg raised.
        place: Who was to connect where, as `iot@db.example/iotcloud`.
        timeout: The seconds that were waited for each address.
        settings: The section's settings.
    """
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        within = f" within {timeout:g} s" if timeout else ""
        return SourceError(
            f"cannot connect to {place}: no answer{within}",
            hint=in_setting(
                settings,
                "host",
                "check {} and the port; is a firewall in between, or a pooler without a free "
                "connection?",
            ),
        )
    why = "; ".join(_reasons(str(error)))
    hint = next(
        (in_setting(settings, name, text) for part, name, text in _CONNECT_HINTS if part in why),
        _pooler_hint(why),
    )
    return SourceError(f"cannot connect to {place}: {why}", hint=hint)


def query_error(error: psycopg.Error, place: str, settings: PostgresSettings) -> SourceError:
    """Return the error that says why a query failed.

    Args:
        error: What psycopg raised.
        place: Whose query it was, where.
        settings: The section's settings.
    """
    why = reason(error)
    if error.sqlstate in (None, PROTOCOL_VIOLATION):
        return SourceError(f"{place}: {broken(error)}", hint=broken_hint(error))
    hint: str | Remedy = ""
    match error.sqlstate:
        case "57014":
            why, hint = _cancelled(why, settings)
        case "42501":
            hint = _grant(settings, place.partition("@")[0])
        case "40001":
            hint = "read the primary, or raise max_standby_streaming_delay on this standby"
        case "25006":
            why = f"{_what(settings)} tries to write ({why})"
            hint = "sources only read"
        case "42601" if error.diag.source_function == "exec_parse_message":
            # Where PostgreSQL refuses several commands in one; what it says is translated.
            why = f"{_what(settings)} is more than one statement"
            hint = Remedy.setting("query", "write one SELECT in {}, without a semicolon inside")
            if settings.query is None:
                hint = Remedy.setting("where", "write one condition in {}, without a semicolon")
        case state if state[:2] in ("53", "57"):
            hint = "try again when the server has recovered"
        case state:
            why = f"{_what(settings)} fails: {why}"
            hint = _correct(settings, state)
    return SourceError(f"{place}: {why}", hint=hint)


def reason(error: psycopg.Error) -> str:
    """Return what PostgreSQL or libpq says of an error, in one line."""
    return error.diag.message_primary or next(iter(_reasons(str(error))), "unknown error")


def _what(settings: PostgresSettings) -> str:
    """Return what is running, to be read as the subject of a sentence."""
    if settings.query is not None:
        return "the query"
    return f"reading {settings.table}{' with that condition' if settings.where else ''}"


def _cancelled(why: str, settings: PostgresSettings) -> tuple[str, str | Remedy]:
    """Return why a query was cancelled; what the server says of it may be translated."""
    if "user request" in why:
        return "somebody cancelled the query on the server", "run it again"
    hint = Remedy.setting(
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


def _correct(settings: PostgresSettings, state: str) -> Remedy:
    """Return where a mistake in SQL lies: the table's name and column were looked up before."""
    if settings.query is not None:
        return Remedy.setting("query", "correct {}, or the view that it reads; try it in psql")
    if settings.where is not None:
        view = "" if state.startswith("42") else ", or the view that it is put to"
        return Remedy.setting("where", "correct {}" + view + "; try it in psql")
    return Remedy.advise(
        f"if {settings.table} is a view, correct that; "
        f"SELECT {settings.column} FROM {settings.table} in psql shows it"
    )


def _reasons(message: str) -> list[str]:
    """Return each reason once, without who says so and the advice that libpq adds."""
    summary, several, details = message.partition("All failures were:")
    lines = (details if several else summary).strip().splitlines()
    told = (_PREFIX.sub("", line).strip() for line in lines if not line.startswith("\t"))
    return list(dict.fromkeys(line for line in told if line))
