"""The rows of a move, and its bare contender, which knows nothing of influxops.

python bench/copying.py SOURCE TARGET GROUPS

It copies the database to another server: each row is read once and written once, and nothing is
checked. The rows are in three tables a group, with fields of every type.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import urllib3

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
    """Copy the database without a check."""
    pool, body = connections(), list[str]()
    path = f"{target}/api/v3/write_lp?db={DATABASE}&precision=nanosecond"

    def send(no_sync: str) -> None:
        answer = pool.request("POST", f"{path}&no_sync={no_sync}", body="\n".join(body).encode())
        assert answer.status == 204, answer.data
        body.clear()

    for table, writers in tables(groups):
        query = {"db": DATABASE, "q": f"SELECT * FROM {table}", "format": "jsonl"}
        url = f"{source}/api/v3/query_sql"
        answer = pool.request("POST", url, json=query, preload_content=False)
        assert answer.status == 200, answer.data
        for text in answer:
            row = json.loads(text)
            fields = ",".join(f"{name}={write(row[name])}" for name, write in writers.items())
            moment, _, fraction = row["time"].partition(".")
            seconds = int(datetime.fromisoformat(f"{moment}+00:00").timestamp())
            at = f"{seconds}{fraction.ljust(9, '0')}"
            if len(body) >= _BODY:
                send("true")
            body.append(f"{table},device={row['device']},site={row['site']} {fields} {at}")
    send("false")


if __name__ == "__main__":
    bare(sys.argv[1], sys.argv[2], int(sys.argv[3]))
