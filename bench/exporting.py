"""How fast a tenant is exported beside a bare read of the same rows, and how large the files are.

python bench/exporting.py [ROWS] [--runs 3]

A stand-in has the rows (1,000,000 unless told otherwise) of a fleet: 500 devices that tell every
ten seconds what they measure, to the second. In turns a process of its own exports them, and
another one reads them once: each line of the same answers with `json.loads`, and nothing else. It
prints the medians, the ratio (at most 1.3), the peak of the export's memory (at most 100 MB), and
the bytes of the files beside what gzip makes of these JSON lines (at most half).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.copying import DATABASE, connections, fill  # noqa: E402

_TABLES = ("status", "telemetry")
_DEVICES, _START = 500, 1_790_000_000


def lines(rows: int) -> Iterator[str]:
    """Yield lines for two tables."""
    chance = random.Random(1)
    warm = [chance.gauss(20, 5) for _ in range(_DEVICES)]
    damp = [chance.uniform(30, 60) for _ in range(_DEVICES)]
    for number in range(rows):
        device, at = number % _DEVICES, _START + number // _DEVICES * 10 + number % 7
        tags, time_ = f"device=dev-{device:04},site=s{device % 12}", f"{at}000000000"
        warm[device] += chance.gauss(0, 0.05)
        damp[device] += chance.gauss(0, 0.1)
        if number // _DEVICES % 5 == 0:
            ok, battery = "tf"[chance.random() > 0.99], 100 - number // 100_000
            yield f'status,{tags} battery={battery}i,ok={ok},mode="auto" {time_}'
        else:
            yield (
                f"telemetry,{tags} humidity={damp[device]:.1f},temperature={warm[device]:.2f} "
                f"{time_}"
            )


def answers(url: str) -> Iterator[bytes]:
    """Yield the rows of all tables as JSON lines, as they come."""
    pool = connections()
    for table in _TABLES:
        body = {"db": DATABASE, "q": f"SELECT * FROM {table}", "format": "jsonl"}
        answer = pool.request("POST", f"{url}/api/v3/query_sql", json=body, preload_content=False)
        assert answer.status == 200, answer.data
        yield from answer.stream(2**16)


def read(url: str) -> dict[str, float]:
    """Read all rows once."""
    began, rows, rest = time.monotonic(), 0, b""
    for chunk in answers(url):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            json.loads(line)
        rows += len(lines)
    return {"rows": rows, "seconds": time.monotonic() - began}


def export(url: str, folder: str) -> dict[str, float]:
    """Export all rows."""
    from influxops.plugin import CopyRequest, RunContext, Secret
    from influxops_influxdb3 import InfluxDB3Target
    from influxops_influxdb3.settings import InfluxDB3Settings

    name = "INFLUXOPS_BENCH_INFLUXDB_TOKEN"
    token = {"token": Secret(env=name)} if os.environ.get(name) else {}
    began = time.monotonic()
    plugin = InfluxDB3Target("eu1", InfluxDB3Settings.parse({"url": url, **token}))
    order = CopyRequest(DATABASE, folder=folder, tenant="bench")
    *_, last = plugin.influxops_export(order, RunContext())
    assert last.done
    seconds = time.monotonic() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"rows": last.rows, "seconds": seconds, "megabytes": usage.ru_maxrss / 1024}


def zipped(url: str) -> int:
    """Return the bytes that gzip makes of the JSON lines."""
    packer, size = zlib.compressobj(6, zlib.DEFLATED, 31), 0
    for chunk in answers(url):
        size += len(packer.compress(chunk))
    return size + len(packer.flush())


def main() -> None:
    from influxops_devserver.testing import running_stand_in

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()

    def run(*arguments: str) -> dict[str, float]:
        command = [sys.executable, __file__, *arguments]
        found: dict[str, float] = json.loads(subprocess.check_output(command))
        assert found["rows"] == options.rows, found
        return found

    with running_stand_in() as server, tempfile.TemporaryDirectory() as base:
        fill(server.url, lines(options.rows))
        bare, ours, memory, files = [], [], 0.0, 0
        for number in range(options.runs):
            bare.append(run("read", server.url)["seconds"])
            folder = Path(base, str(number))
            folder.mkdir()
            found = run("export", server.url, str(folder))
            ours.append(found["seconds"])
            memory = max(memory, found["megabytes"])
            files = sum(path.stat().st_size for path in folder.glob("*.lp.*"))
        json_lines = zipped(server.url)
    took, beside = statistics.median(ours), statistics.median(bare)
    print(f"{options.rows:,} rows: exported in {took:.1f} s, read in {beside:.1f} s")
    print(f"ratio             {took / beside:6.2f}  (at most 1.3)")
    print(f"memory            {memory:6.0f} MB (at most 100)")
    print(f"files / gzip JSON {files / json_lines:6.2f}  (at most 0.5): {files:,} bytes")


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        print(json.dumps(read(sys.argv[2])))
    elif sys.argv[1:2] == ["export"]:
        print(json.dumps(export(*sys.argv[2:4])))
    else:
        main()
