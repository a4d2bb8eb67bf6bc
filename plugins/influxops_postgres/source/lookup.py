"""Looks up single tenants: where an index leads with the column, at a cost that is theirs alone."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from influxops.plugin import Tenant
from influxops_postgres.source.registry import check_columns, condition, identifier, tenants_of
from influxops_postgres.source.transaction import Session, TextResult

_AFTER = sql.SQL("SELECT 1 AS one")

# The literal has no type of its own, so that it takes the column's and an index serves. Ids are
# the same only if each byte is, which the comparison of the column's type does not promise.
_ONE = sql.SQL(
    "SELECT {id} FROM {table} WHERE {column} = {value} AND {id} = {value}::text {where} LIMIT 1"
)
_SOME = sql.SQL("SELECT DISTINCT {id} FROM {table} WHERE {column} = ANY ({values}) {where}")
# Where the ids are no values of the column's type, or that has no such comparison.
_AS_TEXT = sql.SQL("SELECT DISTINCT {id} FROM {table} WHERE {id} = ANY ({values}::text[]) {where}")
_NONE = sql.SQL("SELECT {id} FROM {table} {where} LIMIT 0")
_ID = sql.SQL('{column}::text COLLATE "C"')
_OF_QUERY = sql.SQL(
    "SELECT * FROM (\n{query}\n) AS q WHERE q.tenant_id::text = ANY ({values}::text[]) {limit}"
)


def find(session: Session, ids: Collection[str]) -> list[Tenant]:
    """Return those of some tenants that the registry has; without ids, see that it can be read."""
    # PostgreSQL's text cannot hold a zero byte, so no tenant has one in its id.
    wanted = sorted(id_ for id_ in ids if "\0" not in id_)
    if not wanted:
        _look_at(session)
        return []
    if session.settings.query is not None:
        return _of_query(session, session.settings.query, wanted)
    found = _texts(session, _queries(session, wanted))
    names = {row[0] for row in found.rows}
    return [Tenant(id_) for id_ in wanted if id_ in names]


def _look_at(session: Session) -> None:
    if session.settings.query is not None:
        _of_query(session, session.settings.query, (), "LIMIT 0")
        return
    query = _NONE.format(
        id=_ID.format(column=sql.Identifier(session.settings.column)),
        table=identifier(session.settings),
        where=condition(session.settings, "WHERE"),
    )
    session.texts(query.as_bytes(session.connection), _AFTER)


def _of_query(
    session: Session, query: str, ids: Sequence[str], limit: LiteralString = ""
) -> list[Tenant]:
    given = sql.SQL(query.rstrip().rstrip(";"))
    asked = _OF_QUERY.format(query=given, values=_array(ids), limit=sql.SQL(limit))
    found = session.texts(asked.as_bytes(session.connection), _AFTER)
    check_columns(session, found.names)
    wanted = frozenset(ids)
    tenants, _ = tenants_of(found)
    return [tenant for tenant in tenants if tenant.id in wanted]


def _texts(session: Session, queries: Sequence[sql.Composed]) -> TextResult:
    """Return what the first of some queries gives that the column's type allows."""
    *first, last = queries
    for query in first:
        with (
            contextlib.suppress(psycopg.DataError, psycopg.errors.UndefinedFunction),
            session.connection.transaction(),
        ):
            return session.texts(query.as_bytes(session.connection), _AFTER)
    return session.texts(last.as_bytes(session.connection), _AFTER)


def _queries(session: Session, ids: Sequence[str]) -> list[sql.Composed]:
    settings = session.settings
    column = sql.Identifier(settings.column)
    parts = {
        "id": _ID.format(column=column),
        "table": identifier(settings),
        "column": column,
        "where": condition(settings, "AND"),
    }
    if len(ids) == 1:
        quick = _ONE.format(value=sql.Literal(ids[0]), **parts)
    else:
        quick = _SOME.format(values=_array(ids), **parts)
    return [quick, _AS_TEXT.format(values=_array(ids), **parts)]


def _array(ids: Sequence[str]) -> sql.Literal:
    """Return an array as PostgreSQL reads it, of whatever type the query makes it."""
    quoted = (id_.replace("\\", "\\\\").replace('"', '\\"') for id_ in ids)
    return sql.Literal("{" + ",".join(f'"{id_}"' for id_ in quoted) + "}")
