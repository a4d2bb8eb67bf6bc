"""Reads the tenants: what the registry is like, then the cheapest query that gives its ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import LiteralString

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.plugin import (
    ATTRIBUTES,
    Finding,
    FindingKind,
    Hint,
    Severity,
    SourceError,
    Tenant,
    ignored_attributes,
    meant_attribute,
    pluralize,
    summarize,
    truncate,
)
from influxops_postgres.connection.connection import Row
from influxops_postgres.connection.errors import in_setting
from influxops_postgres.source.settings import PostgresSettings
from influxops_postgres.source.transaction import Session, TextResult

#: From so many rows a tenant on, skip. One skip was measured to cost as much as scanning 40 rows to
#: 230, by machine and cache (bench/cases/registry.py); near that, both take milliseconds.
SKIPPING_PAYS = 100

#: What a query calls the column with the ids.
_ID = "tenant_id"

#: How many tables a hint lists.
_MOST_TABLES = 10

#: A name in a message of PostgreSQL, whatever the quotation marks of its language.
_QUOTED = re.compile(r'["„“«»]\s*(.+?)\s*["“”«»]')

#: How far behind, in seconds, a standby is worth a warning.
LARGE_LAG = 60

# A skip scan finds ids that differ for the index; DISTINCT finds those whose text differs. So it is
# for types and collations for which that is the same thing: not numeric (1.0 = 1.00), not citext.
_TABLE = sql.SQL("""
SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       c.reltuples::float8 AS rows, s.n_distinct::float8 AS distinct,
       a.attnum IS NOT NULL AS has_column,
       coalesce(c.relkind = 'r' AND NOT c.relhassubclass
         AND coalesce(nullif(t.typbasetype, 0), t.oid) = ANY (
               '{text,varchar,bpchar,int2,int4,int8,uuid}'::regtype[])
         AND NOT EXISTS (SELECT FROM pg_collation o
                          WHERE o.oid = a.attcollation AND NOT o.collisdeterministic)
         AND EXISTS (SELECT FROM pg_index i
                       JOIN pg_class x ON x.oid = i.indexrelid
                       JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
                       JOIN pg_opclass k ON k.oid = i.indclass[0]
                       JOIN pg_opfamily f ON f.oid = k.opcfamily
                        AND f.opfname IN ('text_ops', 'bpchar_ops', 'integer_ops', 'uuid_ops')
                      WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisready
                        AND i.indpred IS NULL AND i.indkey[0] = a.attnum
                        AND i.indcollation[0] = a.attcollation), false) AS has_index
  FROM (SELECT to_regclass(%(table)s) AS oid) AS wanted
  LEFT JOIN pg_class c ON c.oid = wanted.oid AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s
        AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
        AND s.attname = a.attname AND NOT s.inherited
""")

# The scan counts the rows of each id on the way, which costs it nothing and tells how many have
# none. COLLATE "C": ids are the same only if each byte is.
_SCAN = sql.SQL('SELECT {column}::text COLLATE "C", count(*) FROM {table} {where} GROUP BY 1')

# The skip scan: a recursive query that asks the index for the next greater id, one descent of the
# tree an id, so that its cost grows with the tenants and not with their devices. It passes over
# NULL, hence the last line.
_SKIP_SCAN = sql.SQL("""
WITH RECURSIVE skip (id) AS (
    (SELECT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{column} FROM {table} AS t
             WHERE t.{column} > skip.id ORDER BY t.{column} LIMIT 1)
      FROM skip WHERE skip.id IS NOT NULL)
SELECT id::text, NULL::bigint FROM skip WHERE id IS NOT NULL
UNION ALL
SELECT NULL, NULL WHERE EXISTS (SELECT FROM {table} WHERE {column} IS NULL)
""")

#: Runs right after the tenants are read, in the same round trip.
AFTER = sql.SQL("SELECT pg_is_in_recovery() AS standby")

# On an idle primary the last replayed transaction grows old although nothing is missing; so a
# standby that is connected and has replayed all that it received is not behind.
_LAG = sql.SQL("""
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)
             AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
       END::float8 AS lag
""")

_TABLES = sql.SQL("""
SELECT n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS visible
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')
   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
   AND n.oid NOT IN (  -- a ledger, whose tables are no registry
       SELECT relnamespace FROM pg_class
        WHERE relname IN ('tenants', 'servers', 'sources', 'history')
        GROUP BY relnamespace HAVING count(*) = 4)
 ORDER BY 2, 1 LIMIT 10000
""")

_COLUMNS = sql.SQL("""
SELECT attname AS name FROM pg_attribute
 WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
""")


class Table(Struct, frozen=True):
    """What PostgreSQL's catalog says of the registry's table."""

    rows: float  # how many rows the planner thinks it has; negative where it was never analyzed
    #: How many ids the planner thinks there are (negative: their share of the rows); None where
    #: it was never analyzed.
    distinct: float | None
    has_index: bool  # whether an index leads with the column, so that a skip scan finds every id

    @property
    def skipping_pays(self) -> bool:
        """Whether a skip scan is right, and cheaper than reading all of it."""
        if not self.has_index or self.distinct is None or self.distinct <= 0:
            return False
        return self.rows >= SKIPPING_PAYS * self.distinct


def identifier(settings: PostgresSettings) -> sql.Identifier:
    """Return the table's name, quoted."""
    return sql.Identifier(*settings.table_parts)


def condition(settings: PostgresSettings, keyword: LiteralString) -> sql.Composable:
    """Return the operator's condition, as it was written, after a keyword; nothing without one."""
    if settings.where is None:
        return sql.SQL("")
    # On lines of its own, so that a comment at its end ends there.
    return sql.SQL(keyword + " (\n{}\n)").format(sql.SQL(settings.where))


def look_up(session: Session) -> Table:
    """Ask the catalog for the table and its column, in one round trip."""
    settings = session.settings
    names = {
        "table": identifier(settings).as_string(session.connection),
        "column": settings.column,
    }
    row = session.row(_TABLE, names)
    if row["name"] is None:
        raise _no_table(session)
    if not row["has_column"]:
        raise _no_column(session, names)
    return Table(row["rows"], row["distinct"], row["has_index"])


def read(session: Session) -> Iterator[Tenant | Finding]:
    """Read all tenants, sorted by id, and what is odd about them."""
    try:
        items, after = _read(session)
    except psycopg.errors.InsufficientPrivilege as error:
        # Where PostgreSQL refuses a query that row-level security filters; the text is translated.
        if error.diag.source_function != "check_enable_rls":
            raise
        session.begin(row_security=True)
        items, after = _read(session)
        items.append(_hidden_finding(session, error))
    yield from items
    if after["standby"]:
        yield _standby_finding(replay_lag(session))


def _read(session: Session) -> tuple[list[Tenant | Finding], Row]:
    if session.settings.query is not None:
        return _read_query(session)
    return _read_table(session, look_up(session))


def replay_lag(session: Session) -> float | None:
    """Return how many seconds a standby is behind; None where it does not know."""
    try:
        with session.connection.transaction():  # some managed services lack these functions
            lag: float | None = session.row(_LAG)["lag"]
            return lag
    except psycopg.errors.DatabaseError:
        session.context.check()
        return None


def ids_query(settings: PostgresSettings, *, skip: bool) -> sql.Composed:
    """Return the query for the ids as text, each with the number of its rows if it is known.

    To `skip` on an index is right only where `Table.has_index` is.
    """
    return (_SKIP_SCAN if skip else _SCAN).format(
        table=identifier(settings),
        column=sql.Identifier(settings.column),
        where=condition(settings, "WHERE"),
    )


def _read_table(session: Session, table: Table) -> tuple[list[Tenant | Finding], Row]:
    settings = session.settings
    skip = table.skipping_pays and settings.where is None
    session.context.log.debug("%s: %s", session.location, "skip scan" if skip else "full scan")
    found = session.texts(ids_query(settings, skip=skip), AFTER)
    ids: list[str] = []
    empty: list[int | None] = []
    for id_, rows in found.rows:
        if id_ is None or not id_.strip():
            empty.append(None if rows is None else int(rows))
        else:
            ids.append(id_)
    items: list[Tenant | Finding] = [Tenant(id_) for id_ in sorted(ids)]
    if empty:
        items.append(_empty_finding(session, empty))
    return items, found.after


def _read_query(session: Session) -> tuple[list[Tenant | Finding], Row]:
    assert session.settings.query is not None
    # As bytes, so that psycopg takes a % in it for what it is.
    found = session.texts(session.settings.query.encode(), AFTER)
    check_columns(session, found.names)
    tenants, empty = tenants_of(found)
    items: list[Tenant | Finding] = [*tenants]
    if empty:
        items.append(_empty_finding(session, [empty]))
    ignored = ignored_attributes((name for name in found.names if name != _ID), "column")
    if ignored is not None:
        items.append(ignored)
    return items, found.after


def tenants_of(found: TextResult) -> tuple[list[Tenant], int]:
    """Return the tenants that a query of one's own gave, sorted, and how many rows have no id."""
    position = found.names.index(_ID)
    attributes = [(i, name) for i, name in enumerate(found.names) if name in ATTRIBUTES]
    tenants: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    empty = 0
    for row in found.rows:
        id_ = row[position]
        if id_ is None or not id_.strip():
            empty += 1
        else:
            values = ((name, row[i]) for i, name in attributes)
            tenants.add((id_, tuple((name, v) for name, v in values if v is not None)))
    return [Tenant(id_, dict(known)) for id_, known in sorted(tenants)], empty


def check_columns(session: Session, names: list[str]) -> None:
    """Refuse a query whose columns do not say what is meant."""

    def refuse(message: str, hint: str) -> SourceError:
        return SourceError(f"{session.location}: {message}", hint=Hint.setting("query", hint))

    if not names:
        raise refuse("the query has no columns", "select tenant_id in {}")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise refuse(
            f"the query has more than one column {truncate(twice[0])}", "rename or drop one in {}"
        )
    if _ID not in names:
        raise refuse(
            f"the query has no column {_ID}, but {summarize([truncate(name) for name in names])}",
            f"call the column with the ids so in {{}}: SELECT … AS {_ID}",
        )
    for name in names:
        if meant := meant_attribute(name):
            raise refuse(
                f"the query has a column {truncate(name)}; is {meant} meant?",
                f"write AS {meant} in {{}}, or AS something that resembles it less",
            )


def _empty_finding(session: Session, counts: list[int | None]) -> Finding:
    settings = session.settings
    known = [number for number in counts if number is not None]
    total = sum(known) if len(known) == len(counts) else None
    rows = "some rows" if total is None else pluralize(total, "row")
    have = "has" if total == 1 else "have"
    if settings.query is not None:
        message = f"{rows} of the query {have} no tenant id"
        hint = "leave them out, or give them one"
    else:
        column = sql.Identifier(settings.column).as_string(session.connection)
        table = identifier(settings).as_string(session.connection)
        condition = f"({column} IS NULL OR {column}::text ~ '^\\s*$')"
        if settings.where is not None:
            condition += f" AND ({settings.where})"
        message = f"{rows} of {settings.table} {have} no {settings.column}"
        hint = f"find them: SELECT * FROM {table} WHERE {condition}"  # shown, not run  # noqa: S608
    return Finding(FindingKind.EMPTY_ID, Severity.ERROR, message, hint)


def _hidden_finding(session: Session, error: psycopg.Error) -> Finding:
    quoted = _QUOTED.search(str(error.diag.message_primary))
    name = quoted[1] if quoted else session.settings.what
    user = session.connection.info.user
    role = sql.Identifier(user).as_string(session.connection)
    return Finding(
        FindingKind.HIDDEN_ROWS,
        Severity.WARNING,
        f"row-level security may hide rows of {name} from {user}, and tenants with them",
        "read a view whose owner sees all of them, or let this user see them: "
        f"ALTER ROLE {role} BYPASSRLS",
    )


def behind(lag: float | None) -> str:
    """Return how many seconds a standby is behind, in words; None where it does not know."""
    return "it does not say how far behind" if lag is None else f"{lag:.1f} s behind"


def _standby_finding(lag: float | None) -> Finding:
    message = f"the tenants are read from a standby, {behind(lag)}"
    if lag is not None and lag > LARGE_LAG:
        return Finding(
            FindingKind.STANDBY,
            Severity.WARNING,
            f"{message}: tenants that are newer than that are missing",
            "read the primary, or see why the standby does not keep up",
        )
    return Finding(FindingKind.STANDBY, Severity.INFO, message)


def _no_table(session: Session) -> SourceError:
    wanted = session.settings.table
    *schema, name = session.settings.table_parts
    tables = session.rows(_TABLES)
    nearest = _nearest_table(schema, name, tables)
    there = nearest or _some_tables(schema, tables)
    hint = Hint.setting(
        "table", f"there is {there.replace('{}', '')}: set {{}}, if it is the right database"
    )
    if not there:
        hint = in_setting(session.settings, "database", "there are no tables in it: check {}")
    return SourceError(f"{session.location} has no table {wanted}", hint=hint)


def _some_tables(schema: list[str], tables: list[Row]) -> str:
    """Return some tables: of the schema, or else those that are searched, or else any."""
    full = [f"{table['schema']}.{table['name']}" for table in tables]
    of_schema = [
        name for name, table in zip(full, tables, strict=True) if [table["schema"]] == schema
    ]
    searched = [table["name"] for table in tables if table["visible"]]
    names = of_schema or searched or full
    return ", ".join(names[:_MOST_TABLES]) + (", …" if len(names) > _MOST_TABLES else "")


def _nearest_table(schema: list[str], name: str, tables: list[Row]) -> str | None:
    from difflib import get_close_matches  # slow to import

    spelt: dict[str, str] = {}
    for table in tables:
        full = f"{table['schema']}.{table['name']}"
        # A table of the same name, where it is not searched, comes before any other spelling.
        if table["name"] == name:
            return full
        spelt[full if schema else table["name"]] = table["name"] if table["visible"] else full
    near = get_close_matches(".".join([*schema, name]), spelt, n=1)
    return spelt[near[0]] if near else None


def _no_column(session: Session, names: dict[str, str]) -> SourceError:
    from difflib import get_close_matches  # slow to import

    settings = session.settings
    columns = [row["name"] for row in session.rows(_COLUMNS, names)]
    near = get_close_matches(settings.column, columns, n=1)
    there = (near[0] if near else ", ".join(columns[:8])).replace("{}", "")
    return SourceError(
        f"{session.location}: {settings.table} has no column {settings.column}",
        hint=Hint.setting("column", f"there is {there}: set {{}}" if there else "set {}"),
    )
