"""A real InfluxDB 1.x: Debian's package `influxdb`, or any `influxd` of 1.x that is in PATH."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[subscriber]
enabled = false
[http]
bind-address = "127.0.0.1:{http}"
log-enabled = false
"""


@pytest.fixture(scope="session")
def influxdb1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a server without databases."""
    program = shutil.which("influxd")
    shown = subprocess.check_output([program, "version"], text=True) if program else ""
    if program is None or not shown.startswith("InfluxDB v1"):
        pytest.skip("there is no InfluxDB 1.x here: apt-get install influxdb")
    folder = tmp_path_factory.mktemp("influxdb1")
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        http, rpc = one.getsockname()[1], other.getsockname()[1]
    config = folder / "influxdb.conf"
    config.write_text(_CONFIG.format(folder=folder, http=http, rpc=rpc))
    url = f"http://127.0.0.1:{http}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "-config", config], stdout=log, stderr=log)
    try:
        _await(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/ping", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"it does not answer: {log.read_text()}")
