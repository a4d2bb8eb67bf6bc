"""How fast a database is copied to another server, and how much memory that takes.

python bench/copying.py [ROWS]

Two stand-ins; the rows (1,000,000 unless told otherwise) are in three tables, with fields of every
type. Copying is done by a process of its own: rows a second until all of them are copied, until
they were compared, and the peak of its memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import urllib3

from influxops.plugin import CopyRequest, RunContext
from influxops_devserver.testing import running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.settings import InfluxDB3Settings

DATABASE = "telemetry_bench"
_BODY = 20_000
_START = 1_700_000_000_000_000_000


def lines(rows: int) -> Iterator[str]:
    """Yield lines for three tables; a point every ten milliseconds."""
    for number in range(rows):
        at, device = _START + number * 10_000_000, f"device=d{number % 997},site=s{number % 7}"
        match number % 10:
            case 0:
                yield f'events,{device} code={number}u,text="state {number % 13}, ok" {at}'
            case 1 | 2 | 3:
                yield f"status,{device} up={'tf'[number % 2]},level={-number}i {at}"
            case _:
                yield f"telemetry,{device} temp={number / 7},load={number % 100 / 8} {at}"


def fill(url: str, rows: Iterable[str]) -> None:
    """Write rows."""
    pool, body = urllib3.PoolManager(), list[str]()
    path = f"{url}/api/v3/write_lp?db={DATABASE}&precision=nanosecond"

    def send(no_sync: str) -> None:
        answer = pool.request("POST", f"{path}&no_sync={no_sync}", body="\n".join(body).encode())
        assert answer.status == 204, answer.data
        body.clear()

    for line in rows:
        if len(body) >= _BODY:
            send("true")
        body.append(line)
    send("false")


def copy(source: str, target: str) -> None:
    """Copy the database, and print what it took as JSON."""
    began, copied = time.monotonic(), 0.0
    plugins = [
        InfluxDB3Target(name, InfluxDB3Settings.parse({"url": url}))
        for name, url in (("from", source), ("to", target))
    ]
    rows = 0
    for told in plugins[0].influxops_copy(CopyRequest(DATABASE, plugins[1]), RunContext()):
        if told.stage != "copying" and not copied:
            copied, rows = time.monotonic() - began, told.rows
    for plugin in plugins:
        plugin.influxops_close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": rows,
                "copied": copied,
                "compared": time.monotonic() - began,
                "cpu": usage.ru_utime + usage.ru_stime,
                "memory": usage.ru_maxrss / 1024,
            }
        )
    )


def main(rows: int) -> None:
    """Measure and tell."""
    with running_stand_in() as source, running_stand_in() as target:
        began = time.monotonic()
        fill(source.url, lines(rows))
        print(f"filled with {rows:,} rows in {time.monotonic() - began:.1f} s")
        body = {"db": DATABASE}
        urllib3.request("POST", f"{target.url}/api/v3/configure/database", json=body)
        command = [sys.executable, __file__, "--copy", source.url, target.url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["rows"] == rows, found
    for what in ("copied", "compared"):
        print(f"{what} after {found[what]:6.1f} s  {rows / found[what]:10,.0f} rows/s")
    print(f"{found['cpu']:.1f} s of CPU time, {found['memory']:.0f} MiB at most")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--copy"]:
        copy(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
