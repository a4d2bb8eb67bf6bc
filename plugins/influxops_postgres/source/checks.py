"""What `influxops doctor` looks at: all that reading a registry depends on."""

from __future__ import annotations

import time
from collections.abc import Iterator

from psycopg import sql

from influxops.plugin import (
    Check,
    Finding,
    FindingKind,
    RunContext,
    Severity,
    SourceError,
    Tenant,
    pluralize,
)
from influxops_postgres.connection.checks import check_server
from influxops_postgres.connection.errors import in_setting
from influxops_postgres.source.registry import (
    LARGE_LAG,
    Table,
    behind,
    identifier,
    look_up,
    read,
    replay_lag,
)
from influxops_postgres.source.settings import PostgresSettings
from influxops_postgres.source.transaction import Session, reading

#: From so many rows on, a table wants an index on the tenant ids.
_LARGE = 100_000

#: What a finding is about, in a word or two.
_NAMES = {
    FindingKind.EMPTY_ID: "tenant ids",
    FindingKind.HIDDEN_ROWS: "row security",
    FindingKind.UNKNOWN_ATTRIBUTE: "columns",
}

_RIGHTS = sql.SQL("""
SELECT has_column_privilege(c.oid, %(column)s, 'SELECT')
         AND has_schema_privilege(c.relnamespace, 'USAGE') AS may_read
  FROM pg_class c WHERE c.oid = to_regclass(%(table)s)
""")


def checks(settings: PostgresSettings, context: RunContext) -> Iterator[Check]:
    """Look at the server, the table, the rights on it, and the tenants."""
    name = "connection"
    try:
        with reading(settings, context) as session:
            name = "registry"
            yield from _look(session)
    except SourceError as error:
        # Whatever comes first that fails: what comes after could not work either.
        yield Check(name, False, error.message, error.remedy)


def _look(session: Session) -> Iterator[Check]:
    yield from _server(session)
    if session.settings.query is None:
        table = look_up(session)
        yield Check("table", True, f"{session.settings.table} has {session.settings.column}")
        rights = _rights(session)
        yield rights
        if rights.ok is False:
            return
        yield _index(session.settings, table)
    yield from _tenants(session)


def _server(session: Session) -> Iterator[Check]:
    server = check_server(session.connection, session.location)
    yield server.connection
    if server.is_standby:
        yield _standby(replay_lag(session))
    else:
        yield Check("role", True, "a primary")
    yield server.clock


def _standby(lag: float | None) -> Check:
    message = f"a standby, {behind(lag)}; it offers no lock"
    if lag is not None and lag > LARGE_LAG:
        return Check(
            "role",
            False,
            f"{message}, and newer tenants are missing",
            "read the primary, or see why the standby does not keep up",
        )
    return Check("role", None, message, "read the primary where several runs may meet")


def _rights(session: Session) -> Check:
    settings = session.settings
    table = identifier(settings).as_string(session.connection)
    row = session.row(_RIGHTS, {"table": table, "column": settings.column})
    user = session.connection.info.user
    if not row["may_read"]:
        column = sql.Identifier(settings.column).as_string(session.connection)
        return Check(
            "rights",
            False,
            f"{user} may not read {settings.table}.{settings.column}",
            f"GRANT SELECT ({column}) ON {table} TO {user}",
        )
    return Check("rights", True, f"{user} may read {settings.table}")


def _index(settings: PostgresSettings, table: Table) -> Check:
    size = "never analyzed" if table.rows < 0 else f"about {table.rows:,.0f} rows"
    if table.has_index:
        how = "skip scan" if table.skipping_pays and settings.where is None else "not needed"
        return Check("index", True, f"there is one on {settings.column} ({size}): {how}")
    if table.rows < _LARGE or settings.where is not None:
        return Check("index", True, f"none is needed ({size})")
    return Check(
        "index",
        None,
        f"{settings.table} is large ({size}), and no index leads with {settings.column}: "
        "each run reads all of it",
        f"CREATE INDEX CONCURRENTLY ON {settings.table} ({settings.column}); ANALYZE "
        f"{settings.table}",
    )


def _tenants(session: Session) -> Iterator[Check]:
    started = time.monotonic()
    items = list(read(session))
    seconds = time.monotonic() - started
    tenants = sum(isinstance(item, Tenant) for item in items)
    yield Check(
        "tenants",
        True if tenants else None,
        f"{pluralize(tenants, 'tenant')} read in {seconds:.2f} s",
        ""
        if tenants
        else in_setting(session.settings, "database", "is {} the right one, and the table?"),
    )
    for item in items:
        # That it is a standby was reported above.
        if isinstance(item, Finding) and item.kind is not FindingKind.STANDBY:
            ok = False if item.severity is Severity.ERROR else None
            yield Check(_NAMES.get(item.kind, "tenants"), ok, item.message, item.remedy)
