#!/usr/bin/env bash
# Telegraf 1.37.2, built by Go with the few plugins that are needed, against a plain HTTP server.
#
# Guess:  one outputs.influxdb_v2 with bucket_tag writes to a bucket a tenant; where a proxy or a server answers
#         503 (429, 502, 504) for one of them, Telegraf keeps what it has for all, or for that one, and tries again.
# Seen:   it keeps the lines of the bucket that was answered 503. What of the same batch it had not sent before
#         that, for all buckets that it had not come to, in no order, is gone: it counts as
#         written, so that the buffer is empty afterwards and no line in the log says so, and the servers that
#         work never get it. The log has the one bucket, "will retry", and the retry succeeds.
# So:     507 or 500 from a proxy for a bucket that has to wait, on which Telegraf keeps its lines and goes on; an
#         output a bucket otherwise. No issue of it was found upstream.
set -euo pipefail
dir=$(mktemp -d)
trap 'for pid in ${telegraf:-} ${server:-}; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; rm -rf "$dir"' EXIT
GOBIN="$dir" go install -tags custom,inputs.influxdb_v2_listener,parsers.influx,outputs.influxdb_v2 github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
cd "$dir"
cat > server.py <<'PY'
import http.server, os, sys, urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        bucket = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["bucket"][0]
        waits = bucket in ("t10", "t20", "t30") and os.path.exists(sys.argv[1])
        status = int(sys.argv[1]) if waits else 204
        with open("got", "a") as file:
            file.write(f"{status} {bucket}\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
mkfifo port
until_it() { for _ in $(seq 300); do if "$@"; then return; fi; sleep 0.1; done; echo "not in time: $*"; cat log; exit 1; }
arrived() { grep -qE "^$1 t[123]0$" got; }
took() { [ "$(curl -s -o answer -w '%{http_code}' "$to" --data-binary @lines)" = 204 ]; }
for number in $(seq 60); do echo "m,tenant=t$number v=$number 1700000000000000000"; done > lines
for status in 503 507; do
  : > got; touch "$status"
  python3 server.py "$status" > port & server=$!
  read -r port < port
  listen=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat > telegraf.conf <<CONF
[agent]
  omit_hostname = true
  flush_interval = "1s"
[[inputs.influxdb_v2_listener]]
  service_address = "127.0.0.1:$listen"
[[outputs.influxdb_v2]]
  urls = ["http://127.0.0.1:$port"]
  bucket_tag = "tenant"
  token = "t"
CONF
  ./telegraf --config telegraf.conf --debug 2> log & telegraf=$!
  to="http://127.0.0.1:$listen/api/v2/write?org=o&bucket=b"
  until_it took
  until_it arrived "$status"
  rm "$status"
  until_it arrived 204
  until_it eval 'tail -1 log | grep -q "fullness: 0 "'
  kill "$telegraf"; wait "$telegraf"; telegraf=
  kill "$server"; wait "$server" || true; server=
  stored=$(grep '^204' got | sort -u | wc -l)
  said=$(grep -ciE 'drop|lost|reject|discard' log || true)
  echo "$status for some of 60 buckets for a while: $stored got their line, lines in the log about lost ones: $said"
  [ "$said" = 0 ]
  if [ "$status" = 507 ]; then [ "$stored" = 60 ]; else [ "$stored" -lt 60 ]; fi
done
echo "as described"
