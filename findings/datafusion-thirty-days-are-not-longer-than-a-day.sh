#!/usr/bin/env bash
# datafusion 55.0.0 (Python package), the engine that InfluxDB 3 plans and runs SQL with.
#
# Guess:  `later - earlier > INTERVAL '1 day'` finds the gaps that are longer than a day, as in
#         PostgreSQL, and INTERVAL '24 hours' says the same.
# Seen:   with '1 day' no gap is longer, not even thirty days or years, and there is no error. The
#         difference of two timestamps is a duration of nanoseconds, cast to an interval whose months
#         and days are 0, and intervals compare by months, then days, then nanoseconds: any day is
#         more than any number of hours. The same holds for weeks, months, BETWEEN, max() and
#         ORDER BY, while '24 hours' is right.
# So:     compare timestamps (later > earlier + INTERVAL '1 day'), or write hours.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'datafusion==55.0.0'
"$dir/venv/bin/python" - <<'PY'
import sys
from datafusion import SessionContext

context = SessionContext()
context.sql(
    "CREATE TABLE gaps AS SELECT CAST(a AS TIMESTAMP) AS earlier, CAST(b AS TIMESTAMP) AS later "
    "FROM (VALUES ('2026-01-01T00:00:00', '2026-01-01T01:00:00'), "
    "('2026-01-01T00:00:00', '2026-01-31T00:00:00'), "
    "('2020-01-01T00:00:00', '2026-01-01T00:00:00')) v(a, b)"
).collect()
seen = {}
for condition in (
    "later - earlier > INTERVAL '1 day'",
    "later - earlier > INTERVAL '1 week'",
    "later - earlier BETWEEN INTERVAL '1 day' AND INTERVAL '40 days'",
    "later - earlier > INTERVAL '24 hours'",
    "later > earlier + INTERVAL '1 day'",
):
    seen[condition] = context.sql(f"SELECT * FROM gaps WHERE {condition}").count()
    print(f"{condition}: {seen[condition]} of 3 rows")
most = context.sql(
    "SELECT max(d) AS most FROM (VALUES (INTERVAL '100 hours'), (INTERVAL '1 day')) v(d)"
).to_arrow_table().to_pylist()[0]["most"]
print("max of 100 hours and 1 day:", most)
sys.exit(list(seen.values()) != [0, 0, 0, 2, 2] or (most.days, most.nanoseconds) != (1, 0))
PY
echo "as described"
