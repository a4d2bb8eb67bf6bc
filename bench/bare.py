"""What influxops is measured beside: the same requests, sent by psycopg and urllib3.

python bench/bare.py look | make | count | turn

`look` sends the three requests of a run with nothing missing. `make` reads the tenants, then makes
all databases, prints the seconds that making them took, and looks whether they are there. `count`
looks, then asks each database for its rows and the time of the last one, four at a time. `turn`
writes each tenant's marker in the ordinary way, one after the other, as scripts do.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import urllib3

URL = os.environ["INFLUXDB_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ.get('INFLUXDB_TOKEN', '')}"}
SQL = "SELECT database_name, retention_period_ns FROM system.databases WHERE deleted = false"
TABLES = "SELECT database_name FROM system.tables WHERE table_name = '_init' AND deleted = false"


def tenants() -> list[str]:
    e = os.environ
    with psycopg.connect(
        host=e["PG_HOST"],
        port=e["PG_PORT"],
        user=e["PG_USER"],
        password=e["PG_PASS"],
        dbname=e["PG_DB"],
    ) as pg:
        query = "SELECT DISTINCT tenant_id FROM device_registry ORDER BY 1"
        return [tenant for (tenant,) in pg.execute(query)]


def send(pool: urllib3.PoolManager, method: str, path: str, body: str | None = None) -> bytes:
    answer = pool.request(method, URL + path, headers=HEADERS, body=body)
    assert answer.status < 300, answer.data
    return answer.data


def read(pool: urllib3.PoolManager) -> str:
    send(pool, "GET", "/ping")
    query = (
        f"SELECT d.*, t.database_name AS marked FROM ({SQL}) d LEFT JOIN ({TABLES}) t"
        " ON d.database_name = t.database_name"
    )
    body = json.dumps({"db": "_internal", "q": query, "format": "json"})
    return send(pool, "POST", "/api/v3/query_sql", body).decode()


def make(pool: urllib3.PoolManager, ids: list[str], *, in_turn: bool) -> None:
    hour = int(time.time()) // 3600 * 3600 * 10**9

    def write(tenant: str, sync: str = "&no_sync=true") -> None:
        line = f"_init,source=provisioning,tenant={tenant} value=1i,initialized=1i {hour}"
        send(pool, "POST", f"/api/v3/write_lp?db=telemetry_{tenant}{sync}", line)

    if in_turn:
        for tenant in ids:
            write(tenant, "")
        return
    with ThreadPoolExecutor(2) as two:
        list(two.map(write, ids[:-1]))
    write(ids[-1], "")


def count(pool: urllib3.PoolManager, ids: list[str]) -> None:
    def ask(tenant: str) -> list[dict[str, object]]:
        query = "SELECT COUNT(*) AS count, MAX(time) AS last FROM telemetry"
        body = json.dumps({"db": f"telemetry_{tenant}", "q": query, "format": "json"})
        return list(json.loads(send(pool, "POST", "/api/v3/query_sql", body)))

    with ThreadPoolExecutor(4) as four:
        for (found,) in four.map(ask, ids):
            assert found["count"]


def main() -> None:
    pool, ids = urllib3.PoolManager(maxsize=4), tenants()
    if sys.argv[1] == "look":
        held = {row["database_name"] for row in json.loads(read(pool))}
        assert held >= {f"telemetry_{tenant}" for tenant in ids}
        return
    if sys.argv[1] == "count":
        read(pool)
        count(pool, ids)
        return
    start = time.perf_counter()
    make(pool, ids, in_turn=sys.argv[1] == "turn")
    print(time.perf_counter() - start)
    assert read(pool).count('"marked":') == len(ids)


if __name__ == "__main__":
    main()
