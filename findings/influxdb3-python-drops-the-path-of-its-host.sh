#!/usr/bin/env bash
# influxdb3-python 0.21.0 and @influxdata/influxdb3-client 2.1.0 (npm), against a plain HTTP server.
#
# Guess:  a host such as https://proxy.example/eu1 (a reverse proxy with a path a server) is either
#         used with its path, or refused,
#         by the vendor's clients, by all of them alike.
# Seen:   Node uses the path; Python drops it without an error. Its writes then go to the root of
#         that proxy, to the server that answers there, and InfluxDB 3 creates the database that a
#         write names: they succeed, at another server than those of the Node programs.
# So:     one host name or port for each server, no path, as long as Python programs write.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
(cd "$dir" && npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0')
cat > "$dir/write.mjs" <<'JS'
import {InfluxDBClient} from '@influxdata/influxdb3-client'
const client = new InfluxDBClient({host: process.argv[2], token: 't', database: 'telemetry_acme'})
await client.write('boiler f=1')
await client.close()
JS
cat > "$dir/run.py" <<'PY'
import http.server, subprocess, sys, threading
from influxdb_client_3 import SYNCHRONOUS, InfluxDBClient3, WriteOptions, write_client_options

asked = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        asked.append(self.path.partition("?")[0])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for path in ("", "/eu1", "/eu1/"):
    host = f"http://127.0.0.1:{server.server_address[1]}{path}"
    options = write_client_options(write_options=SYNCHRONOUS)
    with InfluxDBClient3(host, database="telemetry_acme", token="t", write_client_options=options) as client:
        client.write("boiler f=1")
    subprocess.run(["node", "write.mjs", host], check=True, cwd=sys.argv[1], timeout=60)
    print(f"host with {path or 'no path'}: Python asks {asked[-2]}, Node {asked[-1]}")
write = "/api/v2/write"
sys.exit(asked != [write, write, write, "/eu1" + write, write, "/eu1" + write])
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir"
echo "as described"
