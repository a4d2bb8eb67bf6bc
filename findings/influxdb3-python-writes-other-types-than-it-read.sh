#!/usr/bin/env bash
# influxdb3-python 0.21.0 with pandas 3.1.1 and polars 2.1.0, against a Flight server and a plain HTTP server.
#
# Guess:  what query(mode="pandas") gives of a table, write() puts into another database as it was: a boolean is a
#         boolean, an integer an integer; a row that lacks a field lacks it there, too.
# Seen:   it depends on whether any row of that frame lacks the field. Then a boolean is written as the text
#         "True", and an integer as a float (above 2^53 another one), since pandas has read them as objects and as
#         doubles. Both are stored: the first batch decides a column's type for good, and batches that lack
#         nothing are refused from then on, or the other way round. An unsigned integer is always written as a
#         signed one. With mode="polars" only that is left.
# So:     mode="polars", or frame.convert_dtypes() before write(), which cannot bring back large integers.
#         Upstream takes the types that pandas can leave empty since 2024 (its issue 76); a query does not give them.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0' 'pyarrow==26.0.1' 'pandas==3.1.1' 'polars==2.1.0'
"$dir/venv/bin/python" - <<'PY'
import http.server, sys, threading
import pyarrow
from influxdb_client_3 import InfluxDBClient3
from pyarrow import flight

LARGE = 2**53 + 1
FULL = {"time": [1, 2], "open": [True, False], "total": [LARGE, 5], "rooms": [5, 6]}
LACKS = FULL | {"open": [True, None], "total": [LARGE, None]}
SCHEMA = pyarrow.schema(
    [
        ("time", pyarrow.timestamp("ns")),
        ("open", pyarrow.bool_()),
        ("total", pyarrow.int64()),
        ("rooms", pyarrow.uint64()),
    ]
)
answers, written = [], []


class Reads(flight.FlightServerBase):
    def do_get(self, context, ticket):
        return flight.RecordBatchStream(pyarrow.table(answers[-1], SCHEMA))


class Writes(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        written.append(self.rfile.read(int(self.headers["Content-Length"])).decode().split("\n")[0])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def client(port):
    return InfluxDBClient3(host=f"http://127.0.0.1:{port}", token="t", database="d")


reads = Reads("grpc://127.0.0.1:0")
writes = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Writes)
threading.Thread(target=writes.serve_forever, daemon=True).start()
seen = {}
with client(reads.port) as source, client(writes.server_port) as target:
    for name, answer, mode, convert in (
        ("pandas, no row lacks anything", FULL, "pandas", False),
        ("pandas, the second row does", LACKS, "pandas", False),
        ("the same, convert_dtypes()", LACKS, "pandas", True),
        ("polars", LACKS, "polars", False),
    ):
        answers.append(answer)
        frame = source.query("SELECT * FROM m", mode=mode)
        frame = frame.convert_dtypes() if convert else frame
        target.write(frame, data_frame_measurement_name="m", data_frame_timestamp_column="time")
        seen[name] = set(written[-1].split(" ")[1].split(","))
        print(f"{name + ':':32}{written[-1]}")
reads.shutdown()
writes.shutdown()
sys.exit(
    len(written) != 4
    or list(seen.values())
    != [
        {"open=True", f"total={LARGE}i", "rooms=5i"},
        {'open="True"', f"total={float(LARGE)}", "rooms=5i"},
        {"open=True", f"total={LARGE - 1}i", "rooms=5i"},
        {"open=true", f"total={LARGE}i", "rooms=5i"},
    ]
)
PY
echo "as described"
