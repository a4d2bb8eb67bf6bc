#!/usr/bin/env bash
# Telegraf 1.37.2, built by Go with the few plugins that are needed, against a plain HTTP server.
#
# Guess:  lines of line protocol in a file have times of their own, to the nanosecond, and arrive with them.
# Seen:   every time is rounded to the precision of the agent, which follows its interval: a second with the
#         default of 10 s. Lines of one series within a second get one time, and are one row in InfluxDB,
#         without a word in the log. With interval = "100ms" it is milliseconds.
# So:     precision = "1ns" in [agent] wherever lines are read that have times.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${server:-}" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
GOBIN="$dir" go install -tags custom,inputs.file,parsers.influx,outputs.influxdb_v2 github.com/influxdata/telegraf/cmd/telegraf@v1.37.2
cat > "$dir/server.py" <<'PY'
import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        with open("got", "ab") as file:
            file.write(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
cd "$dir"
mkfifo port
python3 server.py > port & server=$!
read -r port < port
printf 'm v=%si 170000000000%s\n' 1 0000001 2 3456789 3 9999999 > lines
times() {
  : > got
  cat > telegraf.conf <<CONF
[agent]
  omit_hostname = true
  $1
[[inputs.file]]
  files = ["lines"]
  data_format = "influx"
[[outputs.influxdb_v2]]
  urls = ["http://127.0.0.1:$port"]
  bucket = "b"
  token = "t"
  content_encoding = "identity"
CONF
  ./telegraf --config telegraf.conf --once 2>> log
  cut -d' ' -f3 got | paste -sd ' '
}
echo "$(cut -d' ' -f3 lines | paste -sd ' ') in the file"
for setting in '' 'interval = "100ms"' 'precision = "1ns"'; do
  seen=$(times "$setting")
  echo "$seen with ${setting:-the defaults}"
  echo "$seen" >> seen
done
about=$(grep -ci 'precision\|round\|timestamp' log || true)
echo "lines about it in the log: $about"
[ "$about" = 0 ]
[ "$(cat seen)" = '1700000000000000000 1700000000000000000 1700000000000000000
1700000000000000000 1700000000003000000 1700000000010000000
1700000000000000001 1700000000003456789 1700000000009999999' ]
echo "as described"
