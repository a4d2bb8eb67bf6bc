"""Reads the tenants: what the registry is like, then the cheapest query that gives its ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from influxops import Finding, Severity, SourceError, Tenant
from influxops_postgres.session import Row, Session
from influxops_postgres.settings import PostgresSettings

#: From so many rows a tenant on, hop. One hop was measured to cost as much as scanning 40 rows to
#: 230, by machine and cache (bench/postgres_hop.py); near that, either way takes milliseconds.
HOP_PAYS = 100

#: How many tables a hint lists.
_MOST_TABLES = 10

#: How far behind, in seconds, a standby is worth a warning.
LARGE_LAG = 60

# Hopping finds ids that differ for the index; DISTINCT finds those whose text differs. Only types
# and collations for which that is the same thing may hop: not numeric (1.0 = 1.00), not citext.
_TABLE = sql.SQL("""
SELECT pg_is_in_recovery() AS standby,
       n.nspname AS schema, c.relname AS name, c.relkind AS kind,
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

# A recursive query that asks the index for the next greater id, one descent of the tree an id:
# its cost grows with the tenants, not with their devices. It passes over NULL, hence the last line.
_HOP = sql.SQL("""
WITH RECURSIVE hop (id) AS (
    (SELECT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (SELECT t.{column} FROM {table} AS t
             WHERE t.{column} > hop.id ORDER BY t.{column} LIMIT 1)
      FROM hop WHERE hop.id IS NOT NULL)
SELECT id::text, NULL::bigint FROM hop WHERE id IS NOT NULL
UNION ALL
SELECT NULL, NULL WHERE EXISTS (SELECT FROM {table} WHERE {column} IS NULL)
""")

_STANDBY = sql.SQL("SELECT pg_is_in_recovery() AS standby")

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
 ORDER BY 2, 1 LIMIT 10000
""")

_COLUMNS = sql.SQL("""
SELECT attname AS name FROM pg_attribute
 WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
""")


@dataclass(frozen=True, slots=True)
class Table:
    """What PostgreSQL's catalog says of the registry's table.

    Args:
        standby: Whether the server is a standby.
        rows: How many rows the planner thinks it has; negative where it was never analyzed.
        distinct: How many ids the planner thinks there are (negative: their share of the rows),
            None where it was never analyzed.
        has_index: Whether an index leads with the column, so that hopping gives the right ids.
    """

    standby: bool
    rows: float
    distinct: float | None
    has_index: bool

    @property
    def hopping_pays(self) -> bool:
        """Whether hopping along the index is right, and cheaper than a scan."""
        if not self.has_index or self.distinct is None or self.distinct <= 0:
            return False
        return self.rows >= HOP_PAYS * self.distinct


def identifier(settings: PostgresSettings) -> sql.Identifier:
    """Give the table's name, quoted."""
    return sql.Identifier(*settings.table_parts)


def look_up(session: Session) -> Table:
    """Ask the catalog for the table and its column, in one round trip.

    Raises:
        SourceError: When one of them is missing; the hint names the nearest there is.
    """
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
    return Table(row["standby"], row["rows"], row["distinct"], row["has_index"])


def read(session: Session) -> Iterator[Tenant | Finding]:
    """Read all tenants, sorted by id, and what is odd about them.

    Raises:
        SourceError: When the table or the column is missing, or the own query has no column.
    """
    if session.settings.query is not None:
        standby: bool = session.row(_STANDBY)["standby"]
        yield from _read_query(session)
    else:
        table = look_up(session)
        standby = table.standby
        yield from _read_table(session, table)
    if standby:
        yield _standby_finding(replay_lag(session))


def replay_lag(session: Session) -> float | None:
    """Ask a standby how many seconds it is behind; None where it does not know."""
    import psycopg

    try:
        with session.connection.transaction():  # some managed services lack these functions
            lag: float | None = session.row(_LAG)["lag"]
            return lag
    except psycopg.errors.DatabaseError:
        session.run.check()
        return None


def ids_query(settings: PostgresSettings, *, hop: bool) -> sql.Composed:
    """Give the query for the ids as text, each with the number of its rows if it is known.

    Args:
        settings: Which table, column and condition.
        hop: Whether to hop along an index; right only where `Table.has_index` is.
    """
    where: sql.Composable = sql.SQL("")
    if settings.where is not None:
        # On lines of its own, so that a comment at its end ends there.
        condition = sql.Composed([_verbatim(settings.where)])
        where = sql.SQL("WHERE (\n{}\n)").format(condition)
    return (_HOP if hop else _SCAN).format(
        table=identifier(settings), column=sql.Identifier(settings.column), where=where
    )


def _verbatim(text: str) -> sql.SQL:
    """Take a condition as the operator wrote it: the one text that is not quoted."""
    return sql.SQL(text)


def _read_table(session: Session, table: Table) -> Iterator[Tenant | Finding]:
    settings = session.settings
    hop = table.hopping_pays and settings.where is None
    session.run.log.debug("%s: %s", session.place, "hops along the index" if hop else "scans")
    _, rows = session.texts(ids_query(settings, hop=hop))
    ids: list[str] = []
    empty: list[int | None] = []
    for id_, count in rows:
        if id_ is None or not id_.strip():
            empty.append(None if count is None else int(count))
        else:
            ids.append(id_)
    for id_ in sorted(ids):
        yield Tenant(id_)
    if empty:
        yield _empty_finding(session, empty)


def _read_query(session: Session) -> Iterator[Tenant | Finding]:
    assert session.settings.query is not None
    # As bytes, so that psycopg takes a % in it for what it is.
    names, rows = session.texts(session.settings.query.encode())
    if not names:
        raise SourceError(f"{session.place}: the query has no columns", hint="select tenant_id")
    position = names.index("tenant_id") if "tenant_id" in names else 0
    others = [(i, name) for i, name in enumerate(names) if i != position]
    found: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    empty = 0
    for row in rows:
        id_ = row[position]
        if id_ is None or not id_.strip():
            empty += 1
        else:
            attributes = ((name, row[i]) for i, name in others)
            found.add((id_, tuple((name, v) for name, v in attributes if v is not None)))
    for id_, known in sorted(found):
        yield Tenant(id_, dict(known))
    if empty:
        yield _empty_finding(session, [empty])


def _empty_finding(session: Session, counts: list[int | None]) -> Finding:
    settings = session.settings
    known = [count for count in counts if count is not None]
    total = sum(known) if len(known) == len(counts) else None
    rows = "some rows" if total is None else "1 row" if total == 1 else f"{total} rows"
    have = "has" if total == 1 else "have"
    if settings.query is not None:
        message = f"{rows} of the query {have} no tenant id"
        hint = "leave them out of the query, or give them one"
    else:
        column = sql.Identifier(settings.column).as_string(session.connection)
        table = identifier(settings).as_string(session.connection)
        condition = f"({column} IS NULL OR {column}::text ~ '^\\s*$')"
        if settings.where is not None:
            condition += f" AND ({settings.where})"
        message = f"{rows} of {settings.table} {have} no {settings.column}"
        hint = f"find them: SELECT * FROM {table} WHERE {condition}"
    return Finding("empty-id", Severity.ERROR, message, hint)


def behind(lag: float | None) -> str:
    """Say how far behind a standby is.

    Args:
        lag: Seconds, None where it does not know.
    """
    return "it does not say how far behind" if lag is None else f"{lag:.1f} s behind"


def _standby_finding(lag: float | None) -> Finding:
    message = f"the tenants are read from a standby, {behind(lag)}"
    if lag is not None and lag > LARGE_LAG:
        return Finding(
            "standby",
            Severity.WARNING,
            f"{message}: tenants that are newer than that are missing",
            "read the primary, or see why the standby does not keep up",
        )
    return Finding("standby", Severity.INFO, message)


def _no_table(session: Session) -> SourceError:
    wanted = session.settings.table
    *schema, name = session.settings.table_parts
    tables = session.rows(_TABLES)
    nearest = _nearest_table(schema, name, tables)
    there = nearest or _some_tables(schema, tables)
    hint = f"there is {there}: set `table`, or check `database` or PG_DB"
    if not there:
        hint = "there are no tables in it: check `database` or PG_DB"
    return SourceError(f"{session.place} has no table {wanted}", hint=hint)


def _some_tables(schema: list[str], tables: list[Row]) -> str:
    """List the tables of the schema, or else those that are searched, or else any, but not all."""
    full = [f"{table['schema']}.{table['name']}" for table in tables]
    of_schema = [
        name for name, table in zip(full, tables, strict=True) if [table["schema"]] == schema
    ]
    searched = [table["name"] for table in tables if table["visible"]]
    names = of_schema or searched or full
    return ", ".join(names[:_MOST_TABLES]) + (", …" if len(names) > _MOST_TABLES else "")


def _nearest_table(schema: list[str], name: str, tables: list[Row]) -> str | None:
    spelt: dict[str, str] = {}
    for table in tables:
        full = f"{table['schema']}.{table['name']}"
        # A table of the same name, where it is not searched, comes before any other spelling.
        if table["name"] == name:
            return full
        spelt[full if schema else table["name"]] = table["name"] if table["visible"] else full
    near = difflib.get_close_matches(".".join([*schema, name]), spelt, n=1)
    return spelt[near[0]] if near else None


def _no_column(session: Session, names: dict[str, str]) -> SourceError:
    settings = session.settings
    columns = [row["name"] for row in session.rows(_COLUMNS, names)]
    near = difflib.get_close_matches(settings.column, columns, n=1)
    there = near[0] if near else ", ".join(columns[:8])
    return SourceError(
        f"{session.place}: {settings.table} has no column {settings.column}",
        hint=f"there is {there}: set `column`" if there else "set `column`",
    )
