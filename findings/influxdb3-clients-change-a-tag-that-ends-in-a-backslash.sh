#!/usr/bin/env bash
# influxdb3-python 0.21.0, @influxdata/influxdb3-client 2.1.0 (npm), line-protocol-parser 2.0.1.
#
# Guess:  the clients escape what line protocol needs, so that a tag such as the Windows drive
#         `C:\` arrives as it is, or is refused.
# Seen:   Python puts a space behind a backslash at the end, which then escapes that space: the
#         stored tag is `C: `, another value, without an error. Node leaves the backslash as it is,
#         where it escapes the space before the fields: the line is none any more, and a server
#         refuses it (by /api/v2/write, the clients' default, with all lines of that body).
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0' 'line-protocol-parser==2.0.1'
(cd "$dir" && npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0')
cat > "$dir/line.mjs" <<'JS'
import {Point} from '@influxdata/influxdb3-client'
const point = Point.measurement('disk').setTag('drive', 'C:\\').setFloatField('free', 5)
console.log(point.setTimestamp(1).toLineProtocol())
JS
(cd "$dir" && node line.mjs > node.txt)
"$dir/venv/bin/python" - "$dir/node.txt" <<'PY'
import pathlib, sys
from influxdb_client_3 import Point
from line_protocol_parser import LineFormatError, parse_line

python = Point("disk").tag("drive", "C:\\").field("free", 5.0).time(1).to_line_protocol()
node = pathlib.Path(sys.argv[1]).read_text().rstrip("\n")
read = {}
for name, line in (("Python", python), ("Node", node)):
    try:
        read[name] = parse_line(line)["tags"]["drive"]
    except LineFormatError as error:
        read[name] = f"no line: {error}"
    print(f"{name}: {line!r} is read as {read[name]!r}")
sys.exit(not (read["Python"] == "C: " and read["Node"].startswith("no line")))
PY
echo "as described"
