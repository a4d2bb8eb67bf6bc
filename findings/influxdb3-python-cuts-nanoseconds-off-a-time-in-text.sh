#!/usr/bin/env bash
# influxdb3-python 0.21.0.
#
# Guess:  a Point whose time is given as text with nanoseconds keeps them: the client's precision is
#         `ns` unless another one is asked for, and the line carries nineteen digits.
# Seen:   the text goes through a datetime of Python, which ends at microseconds. Two rows of one
#         series less than a microsecond apart get one time, and the later one replaces the
#         earlier one. Integers keep all digits.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
"$dir/venv/bin/python" - <<'PY'
import sys
from influxdb_client_3 import Point, WritePrecision


def time_of(value):
    line = Point("m").field("f", 1.5).time(value, WritePrecision.NS).to_line_protocol()
    return int(line.rsplit(" ", 1)[1])


first = time_of("2026-01-01T00:00:00.123456001Z")
second = time_of("2026-01-01T00:00:00.123456999Z")
number = time_of(1767225600123456999)
print("…123456001Z →", first)
print("…123456999Z →", second)
print("1767225600123456999 →", number)
sys.exit(not (first == second == 1767225600123456000 and number == 1767225600123456999))
PY
echo "as described"
