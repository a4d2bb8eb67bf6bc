"""What `influxops doctor` looks at in a ledger, and what `influxops ledger status` shows."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from psycopg import sql

from influxops.plugin import Check, Hint, LedgerError, RunContext, pluralize
from influxops_postgres.connection.advisory_locks import HELD
from influxops_postgres.connection.checks import check_server
from influxops_postgres.connection.connection import Connection, Row
from influxops_postgres.connection.errors import explained
from influxops_postgres.connection.pool import connected
from influxops_postgres.ledger import schema
from influxops_postgres.ledger.errors import ledger_error, missing_rights
from influxops_postgres.ledger.settings import PostgresLedgerSettings
from influxops_postgres.ledger.transaction import LedgerSession, reading

_HOLDERS = sql.SQL("""
WITH held AS MATERIALIZED ({held})
SELECT claim_key = ANY (ARRAY(SELECT key FROM held)) AS is_alive, count(*) AS tenants,
       count(DISTINCT claimed_by) AS runs
  FROM {tenants} WHERE namespace = {namespace} AND claimed_by <> '' GROUP BY 1
""")

_STATES = sql.SQL("""
SELECT namespace, state, count(*) AS tenants FROM {tenants} GROUP BY 1, 2 ORDER BY 1, 2
""")

_HISTORY = sql.SQL("""
SELECT count(*) AS entries, min(at) AS first, max(at) AS last,
       (SELECT pg_total_relation_size(tableoid) FROM {history} LIMIT 1) AS bytes
  FROM {history}
""")


def checks(settings: PostgresLedgerSettings, context: RunContext) -> Iterator[Check]:
    """Look at the server, the schema, the rights on it, and the runs that are alive."""
    name = "connection"
    try:
        with connected(settings, context) as connection:
            location = settings.parameters().text
            with explained(
                context, lambda error: ledger_error(error, connection, location, settings)
            ):
                is_writable = yield from _server(connection, location)
                name = "rights"
                grants = missing_rights(connection, settings)
                user = connection.info.user
        if grants:
            message = f"{user} lacks rights on the schema {settings.schema}"
            yield Check("rights", False, message, "; ".join(grants))
            return
        name = "schema"
        with reading(settings, context) as session:
            version = schema.newest()
            yield Check("schema", True, f"{settings.schema} is of version {version}")
            what = "read and write" if is_writable else "read"
            yield Check("rights", True, f"{user} may {what} the ledger")
            if is_writable:
                yield _runs(session)
    except LedgerError as error:
        # Whatever comes first that fails: what comes after could not work either.
        yield Check(name, False, error.message, error.remedy)


def contents(session: LedgerSession) -> tuple[dict[str, dict[str, int]], Row]:
    """Read how much the ledger holds: tenants by namespace and state, and of the history.

    Its row has the number of entries, when the oldest and the newest one was written, and how many
    bytes they have on the server's disk, with their indexes.
    """
    found: dict[str, dict[str, int]] = {}
    tenants, history = session.table("tenants"), session.table("history")
    for row in session.connection.execute(_STATES.format(tenants=tenants)):
        found.setdefault(row["namespace"], {})[row["state"]] = row["tenants"]
    return found, session.connection.execute(_HISTORY.format(history=history)).fetchone() or {}


def _server(connection: Connection, location: str) -> Generator[Check, None, bool]:
    """Look at the server; return whether it can be written to."""
    server = check_server(connection, location)
    yield server.connection
    primary = "have the ledger's section lead to the primary, as a user who may write"
    if server.is_standby:
        yield Check("role", False, "a standby: plans can read it, and no run can write", primary)
    elif server.is_read_only:
        yield Check("role", False, "transactions are read-only here: no run can write", primary)
    else:
        yield Check("role", True, "a primary")
    yield server.clock
    return not (server.is_standby or server.is_read_only)


def _runs(session: LedgerSession) -> Check:
    query = _HOLDERS.format(
        held=HELD,
        tenants=session.table("tenants"),
        namespace=sql.Literal(session.settings.namespace),
    )
    rows = {row["is_alive"]: row for row in session.connection.execute(query)}
    alive, dead = rows.get(True), rows.get(False)
    words = []
    if alive:
        words.append(
            f"{pluralize(alive['runs'], 'run')} at work on {pluralize(alive['tenants'], 'tenant')}"
        )
    if dead:
        words.append(
            f"{pluralize(dead['tenants'], 'tenant')} left by {pluralize(dead['runs'], 'run')} "
            "that died"
        )
    return Check(
        "runs",
        None if dead else True,
        "; ".join(words) or "none at work",
        Hint.command("ensure", "run {}: it settles them") if dead else "",
    )
