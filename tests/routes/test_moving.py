"""Moves of tenants whose clients write through nginx, which is asked whether they are led on."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops.reconcile.move.probes import why_not_yet
from influxops.runtime.context import RunContext
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.integration.test_moving import fill
from tests.pg import TestDatabase
from tests.queue.workers import until
from tests.routes.nginx import Nginx, authority, file_of, needs_nginx, nginx, recorders

pytestmark = [needs_nginx, pytest.mark.stand_in]

#: So many rows are moved; more are a matter of patience.
ROWS = int(os.environ.get("INFLUXOPS_TEST_ROUTED_ROWS", "5000"))
#: Seconds from the last cut-over to the end of its move.
_AFTER_CUT_OVER = """
SELECT extract(epoch FROM max(at) FILTER (WHERE event = 'retiring')
                        - max(at) FILTER (WHERE event = 'moved')) FROM influxops.history
"""


def probe(proxy: Nginx) -> str:
    return f"https://localhost:{proxy.port}/influxops-route-version"


def test_a_request_of_an_old_worker_is_seen_until_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority(tmp_path))
    context, name = RunContext(), "telemetry_acme"
    with recorders("eu1", "eu2") as servers:
        routes = file_of({name: "eu1", "other": "eu1"}, servers, version=1)
        with nginx(tmp_path, routes) as proxy:

            def why(version: int, left: str = "eu1", database: str = name) -> str:
                return why_not_yet([probe(proxy)], version, database, left, context)

            assert why(1) == ""
            assert "has version 1 of the routes, not 2" in why(2)
            servers["eu1"].hold()
            answers: list[int] = []
            path = f"/api/v3/write_lp?db={name}"
            write = threading.Thread(
                target=lambda: answers.append(proxy.ask(path, b"m v=1").status)
            )
            write.start()
            until(lambda: servers["eu1"].held)
            proxy.routes.write_text(file_of({name: "eu2", "other": "eu1"}, servers, version=2))
            proxy.reload()
            # It is in a worker of before, which has other routes: the new ones do not lead there.
            assert proxy.ask(path, b"m v=2").json["server"] == "eu2"
            assert "still has a request for eu1" in why(2)
            assert why(2, database="other") == why(2, left="eu2") == ""
            assert proxy.version() == 2
            servers["eu1"].release()
            write.join()
            assert answers == [200]
            until(lambda: not why(2))


class Client(threading.Thread):
    """A client that writes rows through a proxy, one after the other, and repeats what failed."""

    def __init__(self, proxy: Nginx, number: int) -> None:
        super().__init__(daemon=True)
        self.proxy, self.number = proxy, number
        self.over = threading.Event()
        self.written = 0

    def run(self) -> None:
        while not self.over.is_set():
            line = f"live,device=d{self.number} n={self.written}i {time.time_ns()}"
            path = "/api/v3/write_lp?db=telemetry_acme&precision=nanosecond"
            if self.proxy.ask(path, line.encode()).status == 204:
                self.written += 1


def test_a_tenant_is_moved_there_and_back_under_writes_without_waiting_for_clients(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    servers = {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}
    db.registry("acme")
    places = file_of({"telemetry_acme": "eu1"}, servers, version=0)
    with nginx(tmp_path, places) as proxy:
        values: dict[str, Any] = {
            "kind": "routes",
            "format": "nginx",
            "path": str(proxy.routes),
            "on_change": ["kill", "-HUP", str(proxy.process.pid)],
        }
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        cli.config(
            targets_toml(
                dict(servers),
                # Who waits for clients is stuck.
                '[ledger]\nkind = "postgres"\ncache_ttl = "1h"\n'
                f'[routing]\nprobes = ["{probe(proxy)}"]\n[reporters.proxy]\n{lines}\n',
            )
        )
        env = {"SSL_CERT_FILE": authority(tmp_path)}
        assert cli("ledger", "install").code == 0
        assert cli("ensure").code == 0
        began = time.monotonic()
        fill(servers["eu1"], "telemetry_acme", ROWS)
        for table in ("telemetry", "status", "events"):
            servers["eu1"].rows("telemetry_acme", f"SELECT * FROM {table}")
        bare = time.monotonic() - began  # written once, and read once
        clients = [Client(proxy, number) for number in range(4)]
        for client in clients:
            client.start()
        for options, place in ((["--to", "eu2"], "eu2"), (["--back"], "eu1")):
            began = time.monotonic()
            done = cli("move", "acme", *options, env=env, timeout=300)
            assert done.code == 0, done.all
            assert "WARN" not in done.out
            seconds = time.monotonic() - began
            with psycopg.connect(db.conninfo) as connection:
                found = connection.execute("SELECT state, target FROM influxops.tenants").fetchone()
                (after,) = connection.execute(_AFTER_CUT_OVER).fetchone() or (0,)
            assert found == ("ready", place)
            logging.getLogger(__name__).info(
                "%d rows to %s in %.1f s, %.1f s of them after the cut-over; bare: %.1f s",
                ROWS,
                place,
                seconds,
                after,
                bare,
            )
        for client in clients:
            client.over.set()
            client.join()
        rows = servers["eu1"].rows("telemetry_acme", "SELECT device, n FROM live")
        there = sorted((row["device"], row["n"]) for row in rows)
        assert there == [(f"d{c.number}", n) for c in clients for n in range(c.written)]
        assert all(client.written > 5 for client in clients)
        assert servers["eu2"].rows("telemetry_acme", "SELECT n FROM live LIMIT 1")
