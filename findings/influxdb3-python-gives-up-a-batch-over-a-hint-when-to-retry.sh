#!/usr/bin/env bash
# influxdb3-python 0.21.0, urllib3 2.8.0, against a plain HTTP server.
#
# Guess:  a batching client repeats a write that was answered 429 or 503 up to max_retries times; a
#         Retry-After that it cannot use (1.5 or 1s, which some rate limiters send though RFC 9110
#         has whole seconds and dates only) leaves it with the delay of its own options.
# Seen:   without the header, or with whole seconds, it does. With such a value urllib3 raises
#         InvalidHeader where it was about to wait, so that nothing is repeated and the batch is
#         lost at the first 503; max_retries has no say. error_callback gets the InvalidHeader.
# So:     a proxy before InfluxDB sends whole seconds or none; raise_on_status=False does not help.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0' 'urllib3==2.8.0'
"$dir/venv/bin/python" - 2> "$dir/log" <<'PY' || { cat "$dir/log"; exit 1; }
import http.server, sys, threading
import urllib3
from influxdb_client_3 import InfluxDBClient3, WriteOptions, write_client_options


class Busy(http.server.BaseHTTPRequestHandler):
    hint, requests = None, 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Busy.requests += 1
        self.send_response(503 if Busy.requests == 1 else 204)
        if Busy.requests == 1 and Busy.hint:
            self.send_header("Retry-After", Busy.hint)
        self.end_headers()


def write(url):
    errors = []
    options = write_client_options(
        write_options=WriteOptions(batch_size=1, flush_interval=10, retry_interval=100, max_retries=5),
        error_callback=lambda conf, data, error: errors.append(type(error).__name__),
    )
    with InfluxDBClient3(url, database="d", token="t", write_client_options=options) as client:
        client.write("m f=1")
    return Busy.requests, errors


def post(url):
    retry = urllib3.Retry(5, allowed_methods=["POST"], status_forcelist=[503], raise_on_status=False)
    try:
        return urllib3.PoolManager().request("POST", url, body=b"m f=1", retries=retry).status
    except urllib3.exceptions.HTTPError as error:
        return type(error).__name__


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
seen = {}
for hint in (None, "1", "1.5", "1s"):
    Busy.hint, Busy.requests = hint, 0
    requests, errors = write(url)
    Busy.requests = 0
    seen[hint] = (requests, errors, post(url))
    print(f"Retry-After {hint}: requests {requests}, errors {errors}; urllib3 alone: {seen[hint][2]}")
lost = (1, ["InvalidHeader"], "InvalidHeader")
sys.exit(seen != {None: (2, [], 204), "1": (2, [], 204), "1.5": lost, "1s": lost})
PY
echo "as described"
