#!/usr/bin/env bash
# Debian 12: influxdb 1.6.7~rc0-1+b13 (InfluxDB 1.x), by its HTTP API.
#
# Guess:  ALTER RETENTION POLICY … DURATION sets how long data is kept, and a duration that the
#         server takes in CREATE DATABASE … WITH DURATION it also takes there; the length of the
#         shards follows, or stays as it is.
# Seen:   the same period that is taken when a database is created is refused when it is altered,
#         because the shards keep the length that went with the old period: to go from for ever to
#         one day takes SHARD DURATION as well. When a database is created, shards that would be
#         too short become one hour long without a message, and too long ones are refused. CREATE
#         DATABASE can be repeated only without WITH, or with exactly what is there.
# So:     state both durations; read back what was stored; an error comes with status 200.
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
for _ in $(seq 100); do if curl -s -o /dev/null "http://127.0.0.1:$port/ping"; then break; fi; sleep 0.1; done
ask() { # statement, what its answer holds
  answer=$(curl -s -w ' (%{http_code})' "http://127.0.0.1:$port/query" --data-urlencode "q=$1" | tr -d '\n')
  printf '%s\n   %s\n' "$1" "$answer"
  case $answer in *"$2"*'(200)') ;; *) exit 1 ;; esac
}
ask 'CREATE DATABASE new WITH DURATION 1d' '{"results":[{"statement_id":0}]}'
ask 'CREATE DATABASE old' '{"results":[{"statement_id":0}]}'
ask 'ALTER RETENTION POLICY autogen ON old DURATION 1d' 'retention policy duration must be greater than the shard duration'
ask 'ALTER RETENTION POLICY autogen ON old DURATION 1d SHARD DURATION 1h' '{"results":[{"statement_id":0}]}'
ask 'CREATE DATABASE short WITH DURATION 1d SHARD DURATION 1m' '{"results":[{"statement_id":0}]}'
ask 'SHOW RETENTION POLICIES ON short' '["autogen","24h0m0s","1h0m0s",1,true]'
ask 'CREATE DATABASE long WITH DURATION 1h SHARD DURATION 1d' 'retention policy duration must be greater than the shard duration'
ask 'CREATE DATABASE new WITH DURATION 1d' '{"results":[{"statement_id":0}]}'
ask 'CREATE DATABASE new' '{"results":[{"statement_id":0}]}'
ask 'CREATE DATABASE new WITH DURATION 2d' 'retention policy conflicts with an existing policy'
echo "as described"
