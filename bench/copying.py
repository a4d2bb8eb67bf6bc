"""How fast a database is copied to another server, and how much memory that takes.

python bench/copying.py [ROWS]

Two stand-ins; the rows (1,000,000 unless told otherwise) are in three tables, with fields of every
type. Copying is done by a process of its own: rows a second until all of them are copied, until
they were compared, and the peak of its memory. Beside it is a bare copy of the same rows, by
another process: read once, written once, nothing checked. A copy with writers paused is to take at
most 1.5 times as long; what both asked is counted, since the servers share this machine.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import urllib3

from influxops.plugin import CopyRequest, RunContext
from influxops_devserver.testing import running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.settings import InfluxDB3Settings

DATABASE = "telemetry_bench"
_BODY = 20_000
#: The fields of each table, and how line protocol has them.
FIELDS: dict[str, dict[str, Callable[[Any], str]]] = {
    "events": {"code": "{}u".format, "text": '"{}"'.format},
    "status": {"up": lambda value: "ft"[value], "level": "{}i".format},
    "telemetry": {"temp": repr, "load": repr},
}
_START = 1_700_000_000_000_000_000


def tables(groups: int) -> Iterator[tuple[str, dict[str, Callable[[Any], str]]]]:
    """Yield the tables, three a group, and how line protocol has the fields of each."""
    for group in range(groups):
        for name, fields in FIELDS.items():
            yield f"{name}{group or ''}", fields


def lines(rows: int, groups: int = 1) -> Iterator[str]:
    """Yield lines for three tables a group; a point every ten milliseconds."""
    for number in range(rows):
        at, group = _START + number * 10_000_000, number // 10 % groups or ""
        device = f"{group},device=d{number % 997},site=s{number % 7}"
        match number % 10:
            case 0:
                yield f'events{device} code={number}u,text="state {number % 13}, ok" {at}'
            case 1 | 2 | 3:
                yield f"status{device} up={'tf'[number % 2]},level={-number}i {at}"
            case _:
                yield f"telemetry{device} temp={number / 7},load={number % 100 / 8} {at}"


def connections() -> urllib3.PoolManager:
    """Give connections that send the token of real servers, where there is one."""
    token = os.environ.get("INFLUXOPS_BENCH_INFLUXDB_TOKEN")
    return urllib3.PoolManager(headers={"Authorization": f"Bearer {token}"} if token else {})


def fill(url: str, rows: Iterable[str]) -> None:
    """Write rows."""
    pool, body = connections(), list[str]()
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


def bare(source: str, target: str, groups: int = 1) -> None:
    """Copy the database without a check, and print what it took as JSON."""
    began, pool, body = time.monotonic(), connections(), list[str]()
    path = f"{target}/api/v3/write_lp?db={DATABASE}&precision=nanosecond"
    rows = requests = barriers = 0

    def send(no_sync: str) -> None:
        answer = pool.request("POST", f"{path}&no_sync={no_sync}", body="\n".join(body).encode())
        assert answer.status == 204, answer.data
        body.clear()

    for table, writers in tables(groups):
        query = {"db": DATABASE, "q": f"SELECT * FROM {table}", "format": "jsonl"}
        url = f"{source}/api/v3/query_sql"
        answer = pool.request("POST", url, json=query, preload_content=False)
        requests += 1
        for text in answer:
            row = json.loads(text)
            fields = ",".join(f"{name}={write(row[name])}" for name, write in writers.items())
            moment, _, fraction = row["time"].partition(".")
            seconds = int(datetime.fromisoformat(f"{moment}+00:00").timestamp())
            at = f"{seconds}{fraction.ljust(9, '0')}"
            if len(body) >= _BODY:
                send("true")
                requests += 1
            body.append(f"{table},device={row['device']},site={row['site']} {fields} {at}")
            rows += 1
    send("false")
    requests, barriers = requests + 1, barriers + 1
    _tell(rows=rows, requests=requests, barriers=barriers, took=time.monotonic() - began)


class _Requests(logging.Handler):
    """Counts requests, as the client's log has them."""

    requests = 0

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.requests += "/api/v3/" in message or "/ping" in message


def _tell(**found: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(json.dumps({**found, "cpu": cpu, "memory": memory}))


def copy(source: str, target: str, paused: str) -> None:
    """Copy the database, and print what it took as JSON."""
    counted, log = _Requests(), logging.getLogger("bench")
    log.addHandler(counted)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    barriers, write = [0], Client.write

    def counting(*arguments: Any, no_sync: bool = False, **more: Any) -> None:
        barriers[0] += not no_sync
        write(*arguments, no_sync=no_sync, **more)

    Client.write = counting  # type: ignore[method-assign]
    began, copied = time.monotonic(), 0.0
    plugins = [
        InfluxDB3Target(name, InfluxDB3Settings.parse({"url": url}))
        for name, url in (("from", source), ("to", target))
    ]
    rows = size = 0
    order = CopyRequest(DATABASE, plugins[1], paused=paused == "paused")
    for told in plugins[0].influxops_copy(order, RunContext(log=log)):
        size = told.bytes
        if told.stage != "copying" and not copied:
            copied, rows = time.monotonic() - began, told.rows
    for plugin in plugins:
        plugin.influxops_close()
    took = time.monotonic() - began
    rows = rows or told.rows
    _tell(
        rows=rows,
        requests=counted.requests,
        barriers=barriers[0],
        bytes=size,
        copied=copied or took,
        took=took,
    )


def run(what: str, source: str, rows: int) -> dict[str, float]:
    """Copy to a fresh server, by a process of its own."""
    with running_stand_in() as target:
        body = {"db": DATABASE}
        urllib3.request("POST", f"{target.url}/api/v3/configure/database", json=body)
        command = [sys.executable, __file__, f"--{what}", source, target.url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    assert found["rows"] == rows, found
    print(
        f"{what:<7} {found['took']:7.1f} s  {rows / found['took']:10,.0f} rows/s  "
        f"{found['requests']:4.0f} requests  {found['barriers']:3.0f} barriers  "
        f"{found['cpu']:5.1f} s of CPU time  {found['memory']:4.0f} MiB at most"
    )
    return found


def main(rows: int) -> None:
    """Measure and tell."""
    with running_stand_in() as source:
        began = time.monotonic()
        fill(source.url, lines(rows))
        print(f"filled with {rows:,} rows in {time.monotonic() - began:.1f} s")
        beside, paused = (run(what, source.url, rows) for what in ("bare", "paused"))
        print(f"paused / bare: {paused['took'] / beside['took']:.2f} (at most 1.5)")
        found = run("in-use", source.url, rows)
        print(f"in-use: copied after {found['copied']:.1f} s, compared after {found['took']:.1f} s")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--bare", source, target, *groups]:
            bare(source, target, *map(int, groups))
        case ["--paused" | "--in-use" as what, source, target]:
            copy(source, target, what.removeprefix("--"))
        case arguments:
            main(int(arguments[0]) if arguments else 1_000_000)
