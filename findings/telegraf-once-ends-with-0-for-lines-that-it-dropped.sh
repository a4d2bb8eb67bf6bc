#!/usr/bin/env bash
# Telegraf 1.37.2, built by Go with the few plugins that are needed, against a plain HTTP server.
#
# Guess:  `telegraf --once`, as cron runs it, ends with 0 only when what it read was written.
# Seen:   it counts what is left in its buffer. Lines that the server refused for good (400, 404, 422) are not:
#         they are dropped with a line in the log, and it ends with 0. It ends with 1 where it would have
#         tried again (401, 500, 503). InfluxDB 3 answers 400 to a batch for which it has no database
#         left, and to one with a line of another type.
# So:     a job with --once looks for "will be dropped" in the log, or counts rows.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${server:-}" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
GOBIN="$dir" go install -tags custom,inputs.file,parsers.influx,outputs.influxdb_v2 github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
cat > "$dir/server.py" <<'PY'
import http.server, sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
mkfifo "$dir/port"
python3 "$dir/server.py" > "$dir/port" & server=$!
read -r port < "$dir/port"
echo 'm v=1 1700000000000000000' > "$dir/lines"
for status in 204 400 404 422 401 500 503; do
  cat > "$dir/telegraf.conf" <<CONF
[[inputs.file]]
  files = ["$dir/lines"]
  data_format = "influx"
[[outputs.influxdb_v2]]
  urls = ["http://127.0.0.1:$port/$status"]
  bucket = "b"
  token = "t"
CONF
  code=0
  "$dir/telegraf" --config "$dir/telegraf.conf" --once 2> "$dir/log" || code=$?
  dropped=$(grep -c '\[outputs.influxdb_v2\] failed .*will be dropped' "$dir/log" || true)
  echo "$status: ends with $code, lines that say it is dropped: $dropped"
  echo "$status $code $dropped" >> "$dir/seen"
done
[ "$(cat "$dir/seen")" = '204 0 0
400 0 1
404 0 1
422 0 1
401 1 0
500 1 0
503 1 0' ]
echo "as described"
