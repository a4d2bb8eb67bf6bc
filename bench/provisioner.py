"""What an application waits for: the cost of `Provisioner`, against a PostgreSQL and stand-ins.

python bench/provisioner.py

A known tenant; a new one, after another and from 100 threads at once; a server that hangs, and an
open circuit, for a registry with 1,000 tenants and one with 100,000. For comparison, what a whole
run for the one tenant takes, as `influxops ensure TENANT` makes it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from influxops import Provisioner
from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.runtime.context import RunContext
from influxops_devserver.postgres import embedded_postgres
from influxops_devserver.testing import running_stand_in
from tests.integration.proxy import Answer, Proxy, Seen, running_proxy
from tests.pg import TestDatabase, new_database


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show(what: str, times: list[float], unit: str = "ms") -> None:
    ordered = sorted(each * (1e6 if unit == "µs" else 1e3) for each in times)
    median, late = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
    line = f"  {what:<42} {median:10.3f} {unit}"
    print(line if len(times) == 1 else f"{line} median, {late:10.3f} {unit} 99 %")


def fill(db: TestDatabase, tenants: int) -> None:
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE device_registry (device_id bigserial, tenant_id text)")
        connection.execute(
            "INSERT INTO device_registry (tenant_id) "
            "SELECT 't' || n FROM generate_series(1, %s) AS n",
            [tenants],
        )
        connection.execute("CREATE INDEX ON device_registry (tenant_id)")
        connection.execute("ANALYZE device_registry")


def at_once(ensure: Callable[[str], object], ids: list[str]) -> list[float]:
    took: list[float] = []

    def work(id_: str) -> None:
        took.append(timed(partial(ensure, id_)))

    threads = [threading.Thread(target=work, args=(id_,)) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def ids(first: int, last: int) -> list[str]:
    return [f"t{number}" for number in range(first, last)]


def measure(db: TestDatabase, folder: Path, tenants: int, *, ledger: bool) -> None:
    print(f"{tenants:,} tenants in the registry, {'with a' if ledger else 'no'} ledger")
    with (
        running_stand_in(max_databases=None, max_tables=None) as server,
        running_proxy(server.url) as proxy,
    ):
        path = folder / "influxops.toml"
        path.write_text(
            '[sources.registry]\nkind = "postgres"\n'
            f'[targets.eu1]\nkind = "influxdb3"\nurl = "{server.url}"\n'
            + ('[ledger]\nkind = "postgres"\n' if ledger else "")
        )
        if ledger:
            program = Path(sys.executable).with_name("influxops")
            install = [str(program), "--config", str(path), "ledger", "install"]
            subprocess.run(install, check=True, capture_output=True)
        healthy(path)
        path.write_text(path.read_text().replace(server.url, proxy.url))
        hanging(path, proxy)


def healthy(path: Path) -> None:
    with Provisioner.from_config(path, full_runs=None, timeout=60.0) as made:
        made.ensure("t1")
        show("existing", [timed(partial(made.ensure, "t1")) for _ in range(10_000)], "µs")
        show("new, one after another", [timed(partial(made.ensure, id_)) for id_ in ids(2, 102)])
        began = time.perf_counter()
        show("new, from 100 threads at once", at_once(made.ensure, ids(200, 300)))
        show("all of these", [time.perf_counter() - began])
        show("700 new by ensure_many", [timed(partial(made.ensure_many, ids(300, 1000)))])
    with Engine(load_config(path)) as engine:
        named = frozenset({"t1"})
        runs = [
            timed(lambda: engine.run(Ensure(), RunContext(tenants=named), tell=False))
            for _ in range(5)
        ]
        show("for comparison: a whole run for one tenant", runs)


def hanging(path: Path, proxy: Proxy) -> None:
    let_go = threading.Event()

    def hold(seen: Seen) -> Answer:
        let_go.wait(60)
        return None

    proxy.before = hold
    with Provisioner.from_config(path, full_runs=None) as made:
        show("a hanging server, the first caller", [timed(partial(made.ensure, "t1"))])
        while not made.health().trouble:
            time.sleep(0.01)
        others = [timed(partial(made.ensure, id_)) for id_ in ids(2, 502)]
        show("its circuit open", others, "µs")
        let_go.set()
        show("it answers again, and all 501 are known", [timed(partial(made.wait, timeout=60))])


def main() -> None:
    with embedded_postgres() as server, tempfile.TemporaryDirectory() as folder:
        for tenants in (1_000, 100_000):
            for ledger in (False, True):
                with new_database(server) as db:
                    os.environ.update(db.environment)
                    fill(db, tenants)
                    measure(db, Path(folder), tenants, ledger=ledger)


if __name__ == "__main__":
    main()
