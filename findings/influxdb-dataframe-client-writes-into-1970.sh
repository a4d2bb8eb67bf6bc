#!/usr/bin/env bash
# influxdb 5.3.2 (PyPI, the client of InfluxDB 1.x), pandas 3.1.1, against a plain HTTP server.
#
# Guess:  DataFrameClient.write_points writes a row at the time of its index, whatever resolution
#         pandas keeps that index in; or it says that it does not know this pandas.
# Seen:   pandas 3 keeps times that it reads from text, from a range or from seconds in microseconds,
#         and the client writes that number as if it were nanoseconds (or divides it by 10^9 for
#         time_precision="s"): 2026 becomes 21 January 1970, which a server takes, or drops where it
#         does not keep old data. With an index in nanoseconds it is right, and with protocol="json"
#         it is right with either.
# So:     frame.index = frame.index.as_unit("ns") before each write, or pandas below 3.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb==5.3.2' 'pandas==3.1.1'
"$dir/venv/bin/python" -W ignore - <<'PY'
import http.server, sys, threading
import pandas
from influxdb import DataFrameClient

written = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        written.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = DataFrameClient("127.0.0.1", server.server_port, database="d")
text = pandas.to_datetime(["2026-01-01T00:00:00Z"])
indexes = {
    "text": text,
    "range": pandas.date_range("2026-01-01", periods=1, tz="UTC"),
    "seconds": pandas.to_datetime([1767225600], unit="s"),
    "nanoseconds": text.as_unit("ns"),
}
seen = {}
for name, index in indexes.items():
    frame = pandas.DataFrame({"f": [1.5]}, index=index)
    for options in ({}, {"time_precision": "s"}, {"protocol": "json", "time_precision": "n"}):
        client.write_points(frame, "m", **options)
    seen[name] = [int(line.split()[-1]) for line in written[-3:]]
    as_time = pandas.Timestamp(seen[name][0]).isoformat()
    print(f"{name} ({index.dtype}): {seen[name]}, the first of which is {as_time}")
right, seconds = 1767225600 * 10**9, 1767225600
wrong = [right // 1000, seconds // 1000, right]
sys.exit(seen != {"text": wrong, "range": wrong, "seconds": wrong, "nanoseconds": [right, seconds, right]})
PY
echo "as described"
