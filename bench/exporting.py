"""The rows of an export, the export itself in a process of its own, and its bare contender.

python bench/exporting.py read URL
python bench/exporting.py export URL FOLDER

The rows are of a fleet: 500 devices that tell every ten seconds what they measure, to the second.
`read` reads them once, each line with `json.loads`, and does nothing else; `export` exports them.
Both print their seconds, without what importing took.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.copying import DATABASE, connections  # noqa: E402

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


def read(url: str) -> float:
    """Read all rows once; return the seconds."""
    began, rest = time.monotonic(), b""
    for chunk in answers(url):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            json.loads(line)
    return time.monotonic() - began


def export(url: str, folder: str) -> float:
    """Export all rows; return the seconds."""
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
    return time.monotonic() - began


def zipped(url: str) -> int:
    """Return the bytes that gzip makes of the JSON lines."""
    packer, size = zlib.compressobj(6, zlib.DEFLATED, 31), 0
    for chunk in answers(url):
        size += len(packer.compress(chunk))
    return size + len(packer.flush())


if __name__ == "__main__":
    print(read(sys.argv[2]) if sys.argv[1] == "read" else export(*sys.argv[2:]))
