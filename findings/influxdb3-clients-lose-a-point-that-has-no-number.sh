#!/usr/bin/env bash
# influxdb3-python 0.21.0, @influxdata/influxdb3-client 2.1.0 (npm).
#
# Guess:  a value that line protocol cannot hold (NaN of a sensor that is unplugged, infinity of a
#         division by zero) is an error where the point is made, as it is in Node.
# Seen:   Python leaves the field out and says nothing. Where it was the only one, the point is an
#         empty text; in a list of points it is as if it had never been there. A point with other
#         fields is written without it, and where that row is there already, the old value stays.
# So:     count what is written, or look for such values before a point is made.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
(cd "$dir" && npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0')
cat > "$dir/line.mjs" <<'JS'
import {Point} from '@influxdata/influxdb3-client'
for (const value of [NaN, Infinity]) {
  try {
    console.log(Point.measurement('room').setFloatField('t', value).setTimestamp(1).toLineProtocol())
  } catch (error) {
    console.log(`throws: ${error.message}`)
  }
}
JS
(cd "$dir" && node line.mjs > node.txt)
"$dir/venv/bin/python" - "$dir/node.txt" <<'PY'
import math, pathlib, sys
from influxdb_client_3 import Point

node = pathlib.Path(sys.argv[1]).read_text().splitlines()
alone = [Point("room").field("t", value).time(1).to_line_protocol() for value in (math.nan, math.inf)]
beside = Point("room").field("t", math.nan).field("door", True).time(1).to_line_protocol()
print("Python, alone:           ", alone)
print("Python, beside a boolean:", repr(beside))
print("Node:                    ", node)
sys.exit(
    alone != ["", ""]
    or beside != "room door=true 1"
    or not all(line.startswith("throws") for line in node)
)
PY
echo "as described"
