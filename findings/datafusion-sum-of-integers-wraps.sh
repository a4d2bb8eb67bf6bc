#!/usr/bin/env bash
# datafusion 55.0.0 (Python package), the engine that InfluxDB 3 plans and runs SQL with.
#
# Guess:  a SUM over BIGINT that does not fit is an error, or a wider type as in PostgreSQL.
# Seen:   SUM wraps to a negative number without an error, also over unsigned integers (to a small
#         one), while avg over the same rows is right, because it adds doubles. The operator +
#         wraps for signed integers and widens to a decimal for unsigned ones.
# So:     SUM(CAST(x AS DECIMAL(38, 0))) for counters near their end.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'datafusion==55.0.0'
"$dir/venv/bin/python" - <<'PY'
import sys
import datafusion

context = datafusion.SessionContext()
context.sql("CREATE TABLE s AS VALUES (9223372036854775807), (1)").collect()
context.sql(
    "CREATE TABLE u AS SELECT CAST(column1 AS BIGINT UNSIGNED) AS column1 "
    "FROM (VALUES (18446744073709551615), (2))"
).collect()


def one(query):
    table = context.sql(query).to_arrow_table()
    print(f"{query}: {table.column(0).to_pylist()[0]} ({table.schema.field(0).type})")
    return table.column(0).to_pylist()[0]


sys.exit(
    one("SELECT sum(column1) FROM s") != -(2**63)
    or one("SELECT sum(column1) FROM u") != 1
    or one("SELECT avg(column1) FROM s") != 2.0**62
    or one("SELECT max(column1) + 1 FROM s") != -(2**63)
    or one("SELECT max(column1) + 1 FROM u") != 2**64
    or one("SELECT sum(CAST(column1 AS DECIMAL(38, 0))) FROM s") != 2**63
)
PY
echo "as described"
