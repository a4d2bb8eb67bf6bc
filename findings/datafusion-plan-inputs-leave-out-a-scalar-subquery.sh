#!/usr/bin/env bash
# datafusion 55.0.0 (Python package), the engine that InfluxDB 3 plans and runs SQL with.
#
# Guess:  a walk from LogicalPlan down its inputs() meets every table that a query reads, so that it
#         can tell, or limit, what a query is allowed to touch.
# Seen:   a table that only a scalar subquery reads is not among them, neither in the plan as it was
#         written nor in the optimized one. EXISTS and IN are there once they are optimized, because
#         they have become joins. The text of the same plan (display_indent) does show the scan.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'datafusion==55.0.0'
"$dir/venv/bin/python" - <<'PY'
import sys
from datafusion import SessionContext

context = SessionContext()
context.sql("CREATE TABLE a (v BIGINT)").collect()
context.sql("CREATE TABLE b (v BIGINT)").collect()


def scans(plan):
    found = {plan.to_variant().table_name()} if "TableScan" in plan.display()[:10] else set()
    return found.union(*map(scans, plan.inputs()))


seen = {}
for name, query in {
    "scalar": "SELECT v FROM a WHERE v > (SELECT max(v) FROM b)",
    "exists": "SELECT v FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.v = a.v)",
    "in": "SELECT v FROM a WHERE v IN (SELECT v FROM b)",
}.items():
    frame = context.sql(query)
    written, optimized = frame.logical_plan(), frame.optimized_logical_plan()
    seen[name] = (sorted(scans(written)), sorted(scans(optimized)))
    shown = "TableScan: b" in optimized.display_indent()
    print(f"{name}: as written {seen[name][0]}, optimized {seen[name][1]}, b in the text: {shown}")
    assert shown
sys.exit(seen != {"scalar": (["a"], ["a"]), "exists": (["a"], ["a", "b"]), "in": (["a"], ["a", "b"])})
PY
echo "as described"
