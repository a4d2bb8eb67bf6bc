#!/usr/bin/env bash
# Debian 12: influxdb 1.6.7~rc0-1+b13 (InfluxDB 1.x), by its HTTP API.
#
# Guess:  a continuous query computes what the same SELECT computes when it is asked.
# Seen:   the server keeps the query as text that it makes of what it has parsed, and numbers in it
#         get three decimals: sum(wh) * 0.0001 is kept as sum(wh) * 0.000, so that each result is 0,
#         and percentile(wh, 99.9999) as percentile(wh, 100.000), the maximum. CREATE answers without
#         an error or a message. Numbers without a point stay as they are.
# So:     write / 10000 in place of * 0.0001, and read SHOW CONTINUOUS QUERIES after each CREATE; a
#         program that prints what the Go parser (influxql v1.1.0) has read gets the same numbers.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${server:-}" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'influxdb=1.6.7~rc0-1+b13' 2>/dev/null
dpkg -x influxdb_*.deb .
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
ask() { curl -s "http://127.0.0.1:$port/query?db=d" --data-urlencode "q=$1"; }
values() { python3 -c 'import json, sys; print(json.load(sys.stdin)["results"][0]["series"][0]["values"][0][1:])'; }
every='RESAMPLE EVERY 1s FOR 10m'
[ "$(ask 'CREATE DATABASE d')" = '{"results":[{"statement_id":0}]}' ]
for query in 'times * 0.0001' 'over / 10000'; do
  read -r name factor <<< "$query"
  select="SELECT sum(wh) $factor AS mwh, percentile(wh, 99.9999) AS top INTO $name FROM m GROUP BY time(1m)"
  [ "$(ask "CREATE CONTINUOUS QUERY $name ON d $every BEGIN $select END")" = '{"results":[{"statement_id":0}]}' ]
done
curl -sf "http://127.0.0.1:$port/write?db=d&precision=s" --data-binary "m wh=5000 $(($(date +%s) - 120))"
ask 'SHOW CONTINUOUS QUERIES' | grep -oE 'sum\(wh\) [^A]*AS mwh, percentile\([^)]*\)' | tee kept
[ "$(cat kept)" = "$(printf '%s\n' 'sum(wh) * 0.000 AS mwh, percentile(wh, 100.000)' 'sum(wh) / 10000 AS mwh, percentile(wh, 100.000)')" ]
for _ in $(seq 300); do
  if ask 'SELECT mwh FROM times' | grep -q mwh && ask 'SELECT mwh FROM over' | grep -q mwh; then break; fi
  sleep 0.1
done
asked=$(ask 'SELECT sum(wh) * 0.0001 FROM m' | values)
times=$(ask 'SELECT mwh FROM times' | values)
over=$(ask 'SELECT mwh FROM over' | values)
echo "asked: $asked; stored with * 0.0001: $times; stored with / 10000: $over"
[ "$asked $times $over" = '[0.5] [0] [0.5]' ]
echo "as described"
