#!/usr/bin/env bash
# polars 2.1.0, beside pyarrow 26.0.1.
#
# Guess:  where times of two resolutions meet (rows of InfluxDB 3, which keeps nanoseconds, with a datetime of
#         Python, or with rows that have milliseconds), polars takes the finer one, as pyarrow and pandas
#         do, or refuses, as it does where two such columns are joined.
# Seen:   it takes the coarser one and cuts the rest off, without an error. `time > last` and `time == last`
#         compare microseconds, so the rows that came less than a microsecond after `last` are taken for those that
#         are there already; concat(how="vertical_relaxed" or "diagonal_relaxed") makes milliseconds of all
#         rows when one of its tables has them, and three rows of a series become one time; `time + timedelta`
#         and coalesce() are microseconds.
# So:     cast to the finer unit first: pl.lit(last).cast(pl.Datetime("ns")), column.dt.cast_time_unit("ns").
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'polars==2.1.0' 'pyarrow==26.0.1'
"$dir/venv/bin/python" - <<'PY'
import sys
from datetime import UTC, datetime, timedelta
import pyarrow, pyarrow.compute
import polars as pl

NANOSECONDS = 1_767_225_600_000_000_000  # the first moment of 2026
last = datetime(2026, 1, 1)
assert last.replace(tzinfo=UTC).timestamp() * 10**9 == NANOSECONDS
arrow = pyarrow.table(
    {"time": pyarrow.array([NANOSECONDS + more for more in (0, 1, 999, 1000)], pyarrow.timestamp("ns"))}
)
coarse = pyarrow.table({"time": pyarrow.array([NANOSECONDS // 10**6], pyarrow.timestamp("ms"))})
rows, other = pl.from_arrow(arrow), pl.from_arrow(coarse)
time = pl.col("time")


def rows_with(wanted):
    return rows.filter(wanted).height


later = {
    "pyarrow": pyarrow.compute.sum(pyarrow.compute.greater(arrow["time"], pyarrow.scalar(last))).as_py(),
    "polars": rows_with(time > last),
    "polars, cast": rows_with(time > pl.lit(last).cast(pl.Datetime("ns"))),
}
same = {
    "pyarrow": pyarrow.compute.sum(pyarrow.compute.equal(arrow["time"], pyarrow.scalar(last))).as_py(),
    "polars": rows_with(time == last),
}
together = {
    "pyarrow": len(pyarrow.concat_tables([arrow, coarse], promote_options="permissive")["time"].unique()),
    "polars": pl.concat([rows, other], how="vertical_relaxed")["time"].n_unique(),
}
try:
    joined = rows.join(other, on="time")
except pl.exceptions.SchemaError:
    joined = "refused"
types = [
    pl.concat([rows, other], how="diagonal_relaxed").schema["time"],
    rows.select(time + timedelta(seconds=1)).schema["time"],
    rows.select(pl.coalesce(time, pl.lit(last))).schema["time"],
]
print("later than the first of four rows:", later)
print("at the time of the first:         ", same)
print("times of the four and one of them:", together)
print("concat, +, coalesce, join give:   ", *types, joined)
sys.exit(
    later != {"pyarrow": 3, "polars": 1, "polars, cast": 3}
    or same != {"pyarrow": 1, "polars": 3}
    or together != {"pyarrow": 4, "polars": 1}
    or [type.time_unit for type in types] != ["ms", "us", "us"]
    or joined != "refused"
)
PY
echo "as described"
