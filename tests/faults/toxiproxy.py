"""A real toxiproxy between ours and the servers: it refuses, resets, cuts and falls silent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import KEPT

_SOURCE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
_PATIENCE = 20.0


class NoToxiproxy(Exception):
    """It cannot be built here."""


def program() -> Path:
    """Return toxiproxy's program, built once from the proxy of Go's modules."""
    built = KEPT / "toxiproxy"
    if not built.exists():
        go = shutil.which("go") or "/usr/local/go/bin/go"
        folder = KEPT / "toxiproxy.new"
        env = {**os.environ, "GOBIN": str(folder)}
        try:
            subprocess.run([go, "install", _SOURCE], env=env, check=True, timeout=1200)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoToxiproxy(f"toxiproxy is built by Go 1.23 or newer: {error}") from None
        (folder / "server").rename(built)
        folder.rmdir()
    return built


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(frozen=True)
class Toxiproxy:
    """A running one, spoken to by its HTTP API."""

    port: int

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def lead(self, name: str, behind: int) -> int:
        """Listen on a free port for what goes to another one of this machine."""
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{behind}"}
        told = self.ask("POST", "/proxies", body)
        return int(told["listen"].rpartition(":")[2])

    def change(self, name: str, **values: Any) -> None:
        """Disable it (`enabled`), or lead it elsewhere (`upstream`): its connections end."""
        self.ask("POST", f"/proxies/{name}", values)

    def poison(self, name: str, kind: str, *, answer: bool = True, **attributes: int) -> None:
        """Add a toxic to all connections, those that there are as well."""
        stream = "downstream" if answer else "upstream"
        toxic = f"{kind}_{stream}"
        body = {"name": toxic, "type": kind, "stream": stream, "attributes": attributes}
        self.ask("POST", f"/proxies/{name}/toxics", body)

    def heal(self, name: str) -> None:
        """Take all toxics away, and let new connections in."""
        for toxic in self.ask("GET", f"/proxies/{name}/toxics"):
            self.ask("DELETE", f"/proxies/{name}/toxics/{toxic['name']}")
        self.change(name, enabled=True)


@contextlib.contextmanager
def toxiproxy() -> Iterator[Toxiproxy]:
    """Run one."""
    port = free_port()
    command = [str(program()), "-host", "127.0.0.1", "-port", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=quiet, stdout=quiet, stderr=quiet, env={"LOG_LEVEL": "fatal"}
    ) as process:
        try:
            proxy = Toxiproxy(port)
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    proxy.ask("GET", "/version")
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
            yield proxy
        finally:
            process.kill()
