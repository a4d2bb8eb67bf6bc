#!/usr/bin/env bash
# pyarrow 26.0.1, whose tables are the results of InfluxDB 3's clients, without and with pandas 3.1.1.
#
# Guess:  whether a column of times can be read with to_pylist(), and as which type, depends on the
#         type of the column.
# Seen:   InfluxDB 3 keeps nanoseconds. Such a column is read as datetimes as long as every value is
#         whole microseconds, and one value that is not makes to_pylist() of the whole table raise a
#         ValueError: tests with round times pass, rows of real writers do not. Where pandas is
#         installed, also by another package, the same call without an import of pandas gives
#         Timestamps for all of them. A column of microseconds is datetimes in both cases.
# So:     cast to timestamp("us") with safe=False, or to int64, before to_pylist().
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
cat > "$dir/read.py" <<'PY'
import pyarrow as pa

ROUND = 1767225600123456000


def read(values, type_):
    try:
        rows = pa.table({"time": pa.array(values, type_)}).to_pylist()
        return {type(row["time"]).__name__ for row in rows}
    except ValueError as error:
        assert "Nanosecond" in str(error), error
        return {"ValueError"}


exact = pa.array([ROUND + 1], pa.timestamp("ns"))
print("whole microseconds:", *read([ROUND, ROUND], pa.timestamp("ns")), end="; ")
print("one of them is not:", *read([ROUND, ROUND + 1], pa.timestamp("ns")), end="; ")
print("column of microseconds:", *read([ROUND // 1000], pa.timestamp("us")), end="; ")
print("cast:", type(exact.cast(pa.timestamp("us"), safe=False).to_pylist()[0]).__name__)
PY
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pyarrow==26.0.1'
"$dir/venv/bin/python" "$dir/read.py" | tee "$dir/without"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pandas==3.1.1'
"$dir/venv/bin/python" "$dir/read.py" | tee "$dir/with"
rest='column of microseconds: datetime; cast: datetime'
[ "$(cat "$dir/without")" = "whole microseconds: datetime; one of them is not: ValueError; $rest" ]
[ "$(cat "$dir/with")" = "whole microseconds: Timestamp; one of them is not: Timestamp; $rest" ]
echo "as described"
