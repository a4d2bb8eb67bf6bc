#!/usr/bin/env bash
# influxdb3-python 0.21.0 and @influxdata/influxdb3-client 2.1.0 (npm); Debian 12: influxdb 1.6.7~rc0-1+b13.
#
# Guess:  a Point whose measurement begins with # (say, "#1 boiler") is escaped, as one with a space
#         or a comma in it is, or the client or the server refuses it.
# Seen:   both clients write the # as it is, which makes the line a comment: Node without a word, Python
#         with a SyntaxWarning (once a process, where warnings are shown). The server answers 204, as
#         for a write, and stores nothing of it, without a line in its log. In a batch the other
#         points are stored, and so is a name with a # further on.
# So:     names from people (a device, an order number) go into a tag, or are checked for #.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${server:-}" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'influxdb=1.6.7~rc0-1+b13' 2>/dev/null
dpkg -x influxdb_*.deb .
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0'
read -r port rpc < <(python3 -c '
import socket
a, b = socket.socket(), socket.socket()
for s in (a, b): s.bind(("127.0.0.1", 0))
print(a.getsockname()[1], b.getsockname()[1])')
cat > influxdb.conf <<CONF
reporting-disabled = true
bind-address = "127.0.0.1:$rpc"
[meta]
dir = "$dir/meta"
[data]
dir = "$dir/data"
wal-dir = "$dir/wal"
[http]
bind-address = "127.0.0.1:$port"
log-enabled = false
CONF
./usr/bin/influxd -config influxdb.conf > log 2>&1 & server=$!
for _ in $(seq 300); do if curl -s -o /dev/null "http://127.0.0.1:$port/ping"; then break; fi; sleep 0.1; done
curl -sf -o /dev/null "http://127.0.0.1:$port/query" --data-urlencode 'q=CREATE DATABASE d'
cat > lines.py <<'PY'
from influxdb_client_3 import Point
for name in ("#1 boiler", "boiler #2"):
    print(Point(name).tag("by", "python").field("f", 1.5).time(1).to_line_protocol())
PY
cat > lines.mjs <<'JS'
import {Point} from '@influxdata/influxdb3-client'
for (const name of ['#1 boiler', 'boiler #2']) {
  console.log(Point.measurement(name).setTag('by', 'node').setFloatField('f', 1.5).setTimestamp(1).toLineProtocol())
}
JS
venv/bin/python lines.py > lines 2> python-says
node lines.mjs >> lines 2> node-says
cat lines
echo "warnings: Python $(grep -c SyntaxWarning: python-says), Node $(wc -l < node-says)"
[ "$(grep -c SyntaxWarning: python-says) $(wc -l < node-says)" = '1 0' ]
[ "$(grep -c '^#1\\ boiler,by=' lines)" = 2 ]
grep '^#' lines > hash
for batch in hash lines; do
  status=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/write?db=d" --data-binary "@$batch")
  stored=$(curl -s "http://127.0.0.1:$port/query?db=d" --data-urlencode 'q=SHOW SERIES' |
    python3 -c 'import json, sys; print([v[0] for s in json.load(sys.stdin)["results"][0].get("series", []) for v in s["values"]])')
  echo "$(wc -l < "$batch") lines, $(grep -c '^#' "$batch") of them with # in front: status $status, series stored: $stored"
  echo "$status $stored" >> seen
done
echo "lines about it in the server's log: $(grep -ci 'boiler\|comment' log || true)"
[ "$(cat seen)" = "$(printf '%s\n' '204 []' "204 ['boiler\\\\ #2,by=node', 'boiler\\\\ #2,by=python']")" ]
[ "$(grep -ci 'boiler\|comment' log)" = 0 ]
echo "as described"
