#!/usr/bin/env bash
# influxdb3-python 0.21.0, against plain HTTP servers.
#
# Guess:  two batching clients, each with WriteOptions of its own, for two servers have nothing in common: while
#         one repeats what its server answers with 503, the other goes on writing.
# Seen:   WriteOptions(write_scheduler=ThreadPoolScheduler(max_workers=1)) is a default, which Python makes
#         once: all clients of a process send from one thread, and the delay before a try again is
#         slept there. What is written to the server that works arrives once the other write has been given
#         up; with the options' own defaults (5 tries, 5 s and twice as long each time) that is minutes.
#         Nothing is logged of the write that waits, and its write() returned at once.
# So:     give each WriteOptions a write_scheduler of its own.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
"$dir/venv/bin/python" - 2> "$dir/log" <<'PY' || { cat "$dir/log"; exit 1; }
import http.server, sys, threading
from influxdb_client_3 import InfluxDBClient3, WriteOptions, write_client_options
from reactivex.scheduler import ThreadPoolScheduler


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        requests.append(self.server.status)
        self.send_response(self.server.status)
        self.end_headers()
        asked.set()

    def log_message(self, *args):
        pass


def url(status):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status = status
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def client(url, **own):
    options = WriteOptions(flush_interval=10, retry_interval=1000, max_retries=2, **own)
    options = write_client_options(write_options=options)
    return InfluxDBClient3(url, database="d", token="t", write_client_options=options)


busy, works, seen = url(503), url(204), {}
for name in ("default", "own"):
    requests, asked = [], threading.Event()
    one, other = (
        client(each, **({"write_scheduler": ThreadPoolScheduler(max_workers=1)} if name == "own" else {}))
        for each in (busy, works)
    )
    one.write("m f=1")
    asked.wait(60)
    other.write("m f=1")
    one.close(), other.close()
    seen[name] = requests
    print(f"write_scheduler {name}: {requests}")
sys.exit(seen != {"default": [503, 503, 503, 204], "own": [503, 204, 503, 503]})
PY
echo "as described"
