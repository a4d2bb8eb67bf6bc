"""What PostgreSQL and libpq complain about, in one line and with what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg

from influxops import SourceError

if TYPE_CHECKING:
    from influxops_postgres.settings import PostgresSettings

#: What psycopg and libpq put in front of the reason.
_PREFIX = re.compile(
    r"""- \ host: .*?, \ hostaddr: \ \S+: \ | connection \ failed: \ |
        connection \ to \ server \ (?:at|on \ socket) .*? \ failed: \ | (?:FATAL|ERROR): \ +""",
    re.VERBOSE,
)

#: What a reason for not getting in contains, and what to do about it; the first match counts.
#: Settings come before variables, which speak for no section where several are of this kind.
_ADDRESS = "check `host` and `port` of its section, or PG_HOST and PG_PORT"
_CONNECT_HINTS = (
    ("Connection refused", f"{_ADDRESS}; does PostgreSQL run and listen there?"),
    (
        "No such file or directory",
        "check `host` of its section or PG_HOST; does PostgreSQL run there?",
    ),
    ("failed to resolve host", "check `host` of its section or PG_HOST"),
    (
        "no password supplied",
        "set `password` of its section or PG_PASS, or name this server in the password file",
    ),
    (
        "password authentication failed",
        "check `user` and `password` of its section, or PG_USER and PG_PASS",
    ),
    ("no pg_hba.conf entry", "have this machine and user allowed in the server's pg_hba.conf"),
    ("certificate", "check `sslmode`, `sslrootcert` (PGSSLROOTCERT) and the name in `host`"),
    ("SSL", "check `sslmode` (PGSSLMODE), and whether the server has TLS switched on"),
    ("definition of service", "check PGSERVICE and the service file"),
    ("too many", "try again, or give the server more max_connections"),
    ("remaining connection slots", "try again, or give the server more max_connections"),
    ("starting up", "try again in a moment"),
    ("shutting down", "try again when it is back"),
    ("role ", "check `user` of its section or PG_USER"),
    ("database ", "check `database` of its section or PG_DB"),
)


def connection_error(error: psycopg.Error, place: str, timeout: float | None) -> SourceError:
    """Say why there is no connection.

    Args:
        error: What psycopg raised.
        place: Who was to connect where, as `iot@db.example/iotcloud`.
        timeout: The seconds that were waited for each address.
    """
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        within = f" within {timeout:g} s" if timeout else ""
        return SourceError(
            f"cannot connect to {place}: no answer{within}",
            hint=f"{_ADDRESS}; is a firewall in between?",
        )
    reason = "; ".join(_reasons(str(error)))
    hint = next((hint for needle, hint in _CONNECT_HINTS if needle in reason), "")
    return SourceError(f"cannot connect to {place}: {reason}", hint=hint)


def query_error(error: psycopg.Error, place: str, settings: PostgresSettings) -> SourceError:
    """Say why a query failed.

    Args:
        error: What psycopg raised.
        place: Whose query it was, where.
        settings: The section's settings.
    """
    reason = error.diag.message_primary or next(iter(_reasons(str(error))), "unknown error")
    own = "query" if settings.query is not None else "where"
    user = place.partition("@")[0]
    match error.sqlstate:
        case None:
            return SourceError(f"{place}: the connection broke: {reason}", hint="try again")
        case "57014":
            reason = f"the query took longer than the {settings.statement_timeout:g} s allowed"
            hint = "raise statement_timeout, or make an index on the column with the tenant ids"
        case "42501":
            hint = f"GRANT SELECT ON {settings.table} TO {user}"
            if settings.query is not None:
                hint = f"grant {user} SELECT on what the query reads"
            elif len(settings.table_parts) > 1:
                hint = f"GRANT USAGE ON SCHEMA {settings.table_parts[0]} TO {user}; {hint}"
        case "40001":
            hint = "read the primary, or raise max_standby_streaming_delay on this standby"
        case "25006":
            reason = f"the {own} tries to write ({reason})"
            hint = "sources only read"
        case "42601" if error.diag.source_function == "exec_parse_message":
            # Where PostgreSQL refuses several commands in one; what it says is translated.
            reason = f"the {own} is more than one statement"
            hint = "write one SELECT in `query`, without a semicolon inside"
            if settings.query is None:
                hint = "write one condition in `where`, without a semicolon"
        case state if state[:2] in ("42", "22"):
            reason = f"the {own} fails: {reason}"
            hint = f"correct `{own}`; try it in psql"
        case state if state[:2] in ("53", "57"):
            hint = "try again when the server has recovered"
        case _:
            hint = ""
    return SourceError(f"{place}: {reason}", hint=hint)


def _reasons(message: str) -> list[str]:
    """Give each reason once, without who says so and the advice that libpq adds."""
    summary, several, details = message.partition("All failures were:")
    lines = (details if several else summary).strip().splitlines()
    told = (_PREFIX.sub("", line).strip() for line in lines if not line.startswith("\t"))
    return list(dict.fromkeys(line for line in told if line))
