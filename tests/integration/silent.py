"""Clients that connect and say nothing, or stop in a header, and servers for them to meet."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

#: What clients send that never send a whole header.
PARTS = (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
#: Seconds in which what must happen has happened, on a busy machine.
PATIENCE = 30.0


@contextlib.contextmanager
def silent_clients(url: str, number: int) -> Iterator[list[socket.socket]]:
    """Connect as often, and send a part of a header at most."""
    parts = urlsplit(url)
    clients: list[socket.socket] = []
    try:
        for each in range(number):
            client = socket.create_connection((parts.hostname, parts.port), PATIENCE)
            clients.append(client)
            with contextlib.suppress(OSError):  # it may be ended already
                client.sendall(PARTS[each % len(PARTS)])
        yield clients
    finally:
        for client in clients:
            client.close()


def has_ended(client: socket.socket, timeout: float = 0.0) -> bool:
    """Return whether the server has ended a connection, within so many seconds."""
    end = time.monotonic() + timeout
    while True:
        poll = select.poll()
        poll.register(client, select.POLLIN)
        if not poll.poll(max(1000 * (end - time.monotonic()), 0)):
            return False
        try:
            if not client.recv(4096):
                return True
        except OSError:
            return True


def all_ended(clients: list[socket.socket]) -> bool:
    """Wait until the server has ended all of them; return whether it has."""
    end = time.monotonic() + PATIENCE
    return all(has_ended(client, max(end - time.monotonic(), 0.0)) for client in clients)


def is_healthy(url: str) -> bool:
    """Ask for `/healthz` on a connection of its own."""
    with urllib3.PoolManager(retries=False, timeout=PATIENCE) as pool:
        return pool.request("GET", f"{url}/healthz").status == 200


@contextlib.contextmanager
def script(text: str, log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program that prints its URL and serves until its standard input ends."""
    with log.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().split()
            assert line, log.read_text()
            yield process, line[-1]
        finally:
            process.kill()


def processor_time(pid: int) -> float:
    """Give the seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
