"""Telegraf, the Python and the Node client write through the nginx of docs/routing.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clients
from tests.queue.workers import until
from tests.routes.nginx import DOCS, Nginx, Recorder, file_of, needs_nginx, nginx, recorders
from tests.routes.test_nginx import ALLOWED

pytestmark = [pytest.mark.clients, needs_nginx]

_PYTHON = """
import json, sys
sys.path.append(sys.argv[1])
from influxdb_client_3 import InfluxDBClient3, SYNCHRONOUS, write_client_options
for name in sys.argv[4:]:
    client = InfluxDBClient3(
        host=sys.argv[2], token="t", database=name, ssl_ca_cert=sys.argv[3],
        write_client_options=write_client_options(write_options=SYNCHRONOUS))
    try:
        client.write("m v=1")
        print(200)
    except Exception as error:
        print(error.response.status)
"""
_NODE = """
const {InfluxDBClient} = require("@influxdata/influxdb3-client");
(async () => {
  for (const name of process.argv.slice(2)) {
    const client = new InfluxDBClient({host: process.argv[1], token: "t"});
    try { await client.write("m v=1", name); console.log(200); }
    catch (error) { console.log(error.statusCode); }
    await client.close();
  }
})();
"""
PLACES = {ALLOWED: "eu1", "telemetry_beta": "eu2", "telemetry_lost": None}
ASKED = (ALLOWED, "telemetry_beta", "telemetry_lost", "telemetry_nobody")


@pytest.fixture
def servers() -> Iterator[dict[str, Recorder]]:
    with recorders("eu1", "eu2") as found:
        yield found


@pytest.fixture
def proxy(servers: dict[str, Recorder], tmp_path: Path) -> Iterator[Nginx]:
    with nginx(tmp_path, file_of(PLACES, servers)) as running:
        yield running


def names(server: Recorder) -> set[str]:
    """Give the databases that a server was asked to write to, as they stood in its URLs."""
    return {re.split("(?:db|bucket)=", path)[1].split("&")[0] for path, _ in server.seen}


@pytest.mark.parametrize("client", ["python", "node"])
def test_a_client_reaches_the_server_of_each_database_and_sees_why_it_does_not(
    proxy: Nginx, servers: dict[str, Recorder], client: str
) -> None:
    if client == "python":
        command = [sys.executable, "-c", _PYTHON, str(clients.python_client()), proxy.url]
        command += [str(proxy.authority), *ASKED]
        folder = proxy.folder
    else:
        folder = clients.node_client()
        command = ["node", "-e", _NODE, "--", proxy.url, *ASKED]
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(proxy.authority)}
    ended = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout.split() == ["200", "200", "503", "404"], ended.stderr[-2000:]
    assert (names(servers["eu1"]), names(servers["eu2"])) == ({ALLOWED}, {"telemetry_beta"})


def test_telegraf_keeps_what_has_no_server_and_holds_nothing_else_up(
    proxy: Nginx, servers: dict[str, Recorder]
) -> None:
    (output,) = re.findall(r"```toml\n(\[\[outputs.*?)```", DOCS.read_text(), re.S)
    output = output.replace("https://proxy.example:8443", proxy.url)
    points = proxy.folder / "points"
    points.write_text("".join(f"m,database={name} v=1\n" for name in ASKED))
    config = proxy.folder / "telegraf.conf"
    config.write_text(
        '[agent]\ninterval = "200ms"\nflush_interval = "200ms"\nomit_hostname = true\n'
        f'[[inputs.file]]\nfiles = ["{points}"]\ndata_format = "influx"\n'
        f'{output}\n  tls_ca = "{proxy.authority}"\n'
    )

    def rows(name: str) -> int:
        return sum(server.rows[name] for server in servers.values())

    with (proxy.folder / "telegraf.log").open("wb") as log:
        command = [str(clients.telegraf()), "--config", str(config)]
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "INFLUX_TOKEN": "t"}
        )
        try:
            until(lambda: rows(ALLOWED) >= 20 and rows("telemetry_beta") >= 20)
            assert abs(rows(ALLOWED) - rows("telemetry_beta")) < 10  # neither was held up
            assert rows("telemetry_lost") == 0
            found = {**PLACES, "telemetry_lost": "eu2"}
            proxy.routes.write_text(file_of(found, servers, version=2))
            proxy.reload()
            until(lambda: rows("telemetry_lost") >= rows(ALLOWED) - 10)
        finally:
            process.terminate()
            process.wait(60)
    assert rows("telemetry_nobody") == 0
    said = (proxy.folder / "telegraf.log").read_text()
    assert "telemetry_nobody (will be dropped: 404" in said
    assert "telemetry_lost (will be dropped" not in said
