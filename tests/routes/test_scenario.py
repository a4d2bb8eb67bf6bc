"""Four clients write while their tenants are moved, retired and made, and influxops is killed.

The tenant that is retired is judged when its retirement is decided: each of its rows that was
acknowledged is on its server then. What came later goes with its database, and nothing is
acknowledged once that is dropped. What was acknowledged to Telegraf stands in nginx's log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from influxops_demo.environment import running_environment
from influxops_demo.fleet import RoutedFleet
from influxops_demo.nginx import reload
from influxops_demo.routing import show
from tests import clients
from tests.routes.nginx import DOCS, Nginx, authority, needs_nginx, nginx

pytestmark = [pytest.mark.clients, needs_nginx]

_PYTHON = """
import pathlib, sys, time
sys.path.append(sys.argv[1])
from influxdb_client_3 import InfluxDBClient3, SYNCHRONOUS, write_client_options
client = InfluxDBClient3(
    host=sys.argv[2], token="t", database="none", ssl_ca_cert=sys.argv[3],
    write_client_options=write_client_options(write_options=SYNCHRONOUS))
rows = {}
with open("python.acked", "a", buffering=1) as acked:
    while True:
        for name in pathlib.Path("databases").read_text().split():
            number, row = rows.get(name, (0, ""))
            row = row or f"live,writer=python n={number}i {time.time_ns()}"
            rows[name] = number, row
            try:
                client.write(row, database=name)
            except Exception as error:
                continue
            acked.write(f"{name} {number}\\n")
            rows[name] = number + 1, ""
        time.sleep(0.05)
"""
_NODE = """
const fs = require("fs");
const {InfluxDBClient} = require("@influxdata/influxdb3-client");
const [url, folder] = process.argv.slice(1);
(async () => {
  const client = new InfluxDBClient({host: url, token: "t"});
  const rows = {};
  for (;;) {
    for (const name of fs.readFileSync(folder + "/databases", "utf8").split("\\n")) {
      rows[name] ??= [0, ""];
      const now = BigInt(Date.now()) * 1000000n;
      rows[name][1] ||= `live,writer=node n=${rows[name][0]}i ${now}`;
      try { await client.write(rows[name][1], name); } catch (error) { continue; }
      fs.appendFileSync(folder + "/node.acked", `${name} ${rows[name][0]}\\n`);
      rows[name] = [rows[name][0] + 1, ""];
    }
    await new Promise(resolve => setTimeout(resolve, 50));
  }
})();
"""


class Points(threading.Thread):
    """Gives Telegraf a row for each database, and another one a moment later."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.over, self.given = folder, threading.Event(), 0

    def run(self) -> None:
        while True:
            text = "".join(
                f"live,writer=telegraf,database={name} n={self.given}i {time.time_ns()}\n"
                for name in (self.folder / "databases").read_text().split()
            )
            new = self.folder / "points.new"
            new.write_text(text)
            new.rename(self.folder / "points")
            if self.over.wait(0.5):
                return
            self.given += 1


def telegraf(proxy: Nginx) -> list[str]:
    """Configure Telegraf as docs/routing.md does; return the command."""
    (output,) = re.findall(r"```toml\n(\[\[outputs.*?)```", DOCS.read_text(), re.S)
    output = output.replace("https://proxy.example:8443", proxy.url)
    config = proxy.folder / "telegraf.conf"
    config.write_text(
        '[agent]\ninterval = "250ms"\nflush_interval = "250ms"\nomit_hostname = true\n'
        f'[[inputs.file]]\nfiles = ["{proxy.folder}/points"]\ndata_format = "influx"\n'
        f'{output}\n  tls_ca = "{proxy.authority}"\n'
    )
    return [str(clients.telegraf()), "--config", str(config)]


def test_every_acknowledged_row_is_on_its_tenants_server_once() -> None:
    programs = clients.python_client(), clients.node_client(), clients.telegraf()
    with contextlib.ExitStack() as stack:
        demo = stack.enter_context(
            running_environment(wal_flush_interval="50ms", max_databases=None)
        )
        trusted = authority(demo.folder)
        fleet = RoutedFleet(demo, {"SSL_CERT_FILE": trusted})
        fleet.prepare()
        proxy = stack.enter_context(
            nginx(demo.folder, fleet.routes.read_text(), access_log=fleet.log_lines)
        )
        fleet.connect(f"{proxy.url}/influxops-route-version", reload(demo.folder))
        points = Points(demo.folder)
        points.start()
        bare = [sys.executable, "-m", "influxops_demo.bare_writer", "bare"]
        commands = {
            "bare": [*bare, proxy.url, str(demo.folder)],
            "python": [sys.executable, "-c", _PYTHON, str(programs[0]), proxy.url, trusted],
            "node": ["node", "-e", _NODE, "--", proxy.url, str(demo.folder)],
            "telegraf": telegraf(proxy),
        }
        variables = {"SSL_CERT_FILE": trusted, "NODE_EXTRA_CA_CERTS": trusted, "INFLUX_TOKEN": "t"}
        variables["NODE_PATH"] = str(programs[1] / "node_modules")
        shown: list[str] = []

        def given() -> None:
            points.over.set()
            points.join()

        ended = show(
            fleet,
            commands,
            shown.append,
            given,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        logging.getLogger(__name__).info("%s", "\n".join(shown))
        counts = ended.counts
        assert (counts.lost, counts.doubled, counts.elsewhere) == ([], 0, 0)
        assert counts.acknowledged == counts.found
        assert ended.strangers == []
        assert len(fleet.killed) == 2
        # Old copies are dropped after a last look, and all is where it was.
        fleet.run("retire", "--copies")
        after = fleet.judge()
        assert (after.lost, after.doubled, after.elsewhere) == ([], 0, 0)
        assert all(each.secondary_target is None for each in fleet.records().values())
        assert fleet.strangers() == []
