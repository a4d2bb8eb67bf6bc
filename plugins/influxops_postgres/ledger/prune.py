"""Deletes what is old in the history, but for the last entry of each tenant."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from msgspec import Struct
from psycopg import sql

from influxops.plugin import LedgerError, RunContext
from influxops_postgres.ledger.settings import PostgresLedgerSettings
from influxops_postgres.ledger.transaction import LedgerSession, reading, write

#: Entries that one transaction looks at.
_BATCH: Final = 10_000

_UNTIL = sql.SQL("""
SELECT now.before, coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last,
       session_user AS "user", has_table_privilege(%(table)s, 'DELETE') AS may_delete
  FROM (SELECT clock_timestamp() - make_interval(secs => %(seconds)s) AS before) AS now
  LEFT JOIN {history} ON namespace = %(namespace)s AND at < now.before
 GROUP BY now.before
""")
# Rows are looked up by the indexes: a plan that reads the table would do so for each batch.
_MAY = sql.SQL(
    "SELECT set_config('influxops.prunes_history', 'on', true), "
    "set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
    "set_config('enable_mergejoin', 'off', true)"
)
# By the index of ids; that of namespaces would be read as a whole for each batch.
_BATCH_OF = sql.SQL("""
WITH batch AS MATERIALIZED (
    SELECT id, tenant, coalesce(last_at, at) < %(before)s AS is_old FROM {history}
     WHERE id BETWEEN %(first)s AND %(last)s AND namespace || '' = %(namespace)s
), gone AS MATERIALIZED (
    SELECT id FROM batch WHERE is_old AND (tenant IS NULL OR id < (
        SELECT max(h.id) FROM {history} AS h
         WHERE h.namespace = %(namespace)s AND h.tenant = batch.tenant))
){delete}
SELECT count(*) FILTER (WHERE is_old) AS old, (SELECT count(*) FROM gone) AS gone
  FROM batch
""")
_NOTHING = sql.SQL("")
_DELETE = sql.SQL(", deleted AS (DELETE FROM {history} WHERE id IN (SELECT id FROM gone))")


class Pruned(Struct, frozen=True):
    """What was deleted, or would be."""

    before: datetime  # what is older
    deleted: int
    kept: int  # how many older ones are the last of their tenants


def prune(
    settings: PostgresLedgerSettings, context: RunContext, seconds: float, *, dry_run: bool
) -> Pruned:
    """Delete entries of the namespace that are older, each batch in a transaction of its own."""
    with reading(settings, context) as session:
        table = session.table("history").as_string(session.connection)
        until = _row(session, _UNTIL, {"seconds": seconds, "table": table})
        if not (until["may_delete"] or dry_run):
            user = sql.Identifier(until["user"]).as_string(session.connection)
            raise LedgerError(
                # A sentence.
                f"{session.location}: {until['user']} may not delete from the history",  # noqa: S608
                hint=f"run it as its owner, or: GRANT DELETE ON {table} TO {user}",
            )
    deleted, old = 0, 0
    for first in range(until["first"], until["last"] + 1, _BATCH):
        context.check()
        batch = partial(_prune, until, range(first, first + _BATCH), dry_run)
        if dry_run:
            with reading(settings, context) as session:
                found = batch(session)
        else:
            found = write(settings, context, batch)
        deleted, old = deleted + found["gone"], old + found["old"]
    return Pruned(until["before"], deleted, old - deleted)


def _prune(
    until: dict[str, Any], ids: range, dry_run: bool, session: LedgerSession
) -> dict[str, Any]:
    session.connection.execute(_MAY)
    values = {"before": until["before"], "first": ids[0], "last": min(ids[-1], until["last"])}
    return _row(session, _BATCH_OF, values, _NOTHING if dry_run else _DELETE)


def _row(
    session: LedgerSession, query: sql.SQL, values: dict[str, Any], delete: sql.SQL = _NOTHING
) -> dict[str, Any]:
    history = session.table("history")
    composed = query.format(history=history, delete=delete.format(history=history))
    namespace = {"namespace": session.settings.namespace}
    row = session.connection.execute(composed, {**namespace, **values}).fetchone()
    assert row is not None, "an aggregate gives one row"
    return row
