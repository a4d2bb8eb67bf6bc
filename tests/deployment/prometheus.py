"""A real Prometheus with the rules of docs/deployment, and a page for a textfile."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.queue.workers import until

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "deployment"
RULES = FILES / "alerts.yml"
PROGRAM, PROMTOOL = shutil.which("prometheus") or "", shutil.which("promtool") or ""
needs_prometheus = pytest.mark.skipif(
    not (PROGRAM and PROMTOOL), reason="Prometheus is not installed: apt-get install prometheus"
)


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes each second."""

    url: str
    began: float

    def ask(self, path: str, **fields: Any) -> Any:
        answer = urllib3.request("GET", f"{self.url}/api/v1/{path}", fields=fields, retries=False)
        assert answer.status == 200, answer.data
        return answer.json()["data"]

    def series(self, query: str) -> dict[str, float]:
        """Return the last number of each series that a query has had since the start."""
        found = {}
        end = time.time()
        asked = {"query": query, "start": self.began, "end": end, "step": 1}
        for each in self.ask("query_range", **asked)["result"]:
            numbers = [float(value) for _, value in each["values"] if value != "NaN"]
            if numbers:
                inside = (f"{k}={v}" for k, v in each["metric"].items() if k != "__name__")
                found[", ".join(sorted(inside))] = numbers[-1]
        return found


@contextlib.contextmanager
def prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus over some jobs, each with the address of its one instance."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [address]}]}
        for job, address in targets.items()
    ]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump({"global": every, "rule_files": [str(RULES)], "scrape_configs": jobs})
    )
    command = [
        PROGRAM,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    running = Prometheus(f"http://127.0.0.1:{port}", time.time())

    def is_scraping() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            ready = urllib3.request("GET", f"{running.url}/-/ready", retries=False)
            if ready.status != 200:
                return False
            found = running.ask("targets")["activeTargets"]
            return len(found) == len(targets) and all(each["health"] == "up" for each in found)
        return False

    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=err, stderr=err)
    try:
        until(is_scraping)
        yield running
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def page_of(file: Path) -> Iterator[str]:
    """Serve a textfile as node_exporter does; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = file.read_bytes() if file.exists() else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
