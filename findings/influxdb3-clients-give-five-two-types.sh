#!/usr/bin/env bash
# influxdb3-python 0.21.0 and @influxdata/influxdb3-client 2.1.0 (npm), the vendor's clients.
#
# Guess:  the same point, with the number five as a field, is the same line of line protocol
#         whichever client writes it.
# Seen:   Python writes an integer (`5i`), Node a float (`5`). A column keeps the type of its first
#         write, so in a fleet with both kinds of writers one of them has its writes refused,
#         and which one depends on who wrote first to that tenant's database.
# So:     writers say the type: Python 5.0, or Node setIntegerField.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
(cd "$dir" && npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0')
python_line=$("$dir/venv/bin/python" -c '
from influxdb_client_3 import Point
print(Point("boiler").tag("site", "a").field("rooms", 5).time(1).to_line_protocol())')
cat > "$dir/line.mjs" <<'JS'
import {Point} from '@influxdata/influxdb3-client'
const point = Point.measurement('boiler').setTag('site', 'a').setField('rooms', 5).setTimestamp(1)
console.log(point.toLineProtocol())
JS
node_line=$(cd "$dir" && node line.mjs)
echo "Python: $python_line"
echo "Node:   $node_line"
[ "$python_line" = 'boiler,site=a rooms=5i 1' ]
[ "$node_line" = 'boiler,site=a rooms=5 1' ]
echo "as described"
