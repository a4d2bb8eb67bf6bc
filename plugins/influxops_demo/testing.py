"""Starts stand-ins for tests and for the demo, and ends them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from influxops_demo.devserver import READY


class StandInFailed(RuntimeError):
    """A stand-in that did not start; the message is what it said."""


@dataclass(frozen=True)
class StandIn:
    """A running stand-in.

    Args:
        url: where it answers.
        process: its process.
    """

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """The port in its URL."""
        return int(self.url.rpartition(":")[2])

    def stop(self, timeout: float = 15.0) -> int:
        """Ends it with SIGTERM, which flushes what it holds.

        Args:
            timeout: seconds after which it is killed.

        Returns:
            its exit code.
        """
        self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()
        _close(self.process)
        return code

    def kill(self) -> int:
        """Ends it with SIGKILL, as a crash does, and returns its exit code."""
        self.process.kill()
        _close(self.process)
        return self.process.wait()


@contextlib.contextmanager
def running_stand_in(
    *,
    data_dir: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    max_databases: int | None = 5,
    max_tables: int | None = 2_000,
    wal_flush_interval: str = "1s",
    with_auth: bool = False,
    startup_timeout: float = 60.0,
) -> Iterator[StandIn]:
    """Runs a stand-in in a process of its own, and ends it when the block is left.

    The block is entered once the stand-in answers requests.

    Args:
        data_dir: where it keeps its data; None keeps nothing.
        host: address that it listens on.
        port: port, or 0 for a free one.
        max_databases: limit of databases; None is no limit.
        max_tables: limit of tables over all databases; None is no limit.
        wal_flush_interval: how long an ordinary write waits at most, as ``50ms`` or ``1s``.
        with_auth: whether it asks for tokens.
        startup_timeout: seconds after which one that does not answer is given up.

    Raises:
        StandInFailed: it ended, or did not answer in time.
    """
    stand_in = start_stand_in(
        data_dir=data_dir,
        host=host,
        port=port,
        max_databases=max_databases,
        max_tables=max_tables,
        wal_flush_interval=wal_flush_interval,
        with_auth=with_auth,
        startup_timeout=startup_timeout,
    )
    try:
        yield stand_in
    finally:
        if stand_in.process.poll() is None:
            stand_in.stop()
        _close(stand_in.process)


def start_stand_in(
    *,
    data_dir: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    max_databases: int | None = 5,
    max_tables: int | None = 2_000,
    wal_flush_interval: str = "1s",
    with_auth: bool = False,
    startup_timeout: float = 60.0,
) -> StandIn:
    """Starts a stand-in that runs until it is stopped; arguments as :func:`running_stand_in`.

    Raises:
        StandInFailed: it ended, or did not answer in time.
    """
    options = {
        "--host": host,
        "--port": port,
        "--data-dir": data_dir,
        "--max-databases": "unlimited" if max_databases is None else max_databases,
        "--max-tables": "unlimited" if max_tables is None else max_tables,
        "--wal-flush-interval": wal_flush_interval,
    }
    arguments = [sys.executable, "-m", "influxops_demo.devserver"]
    for option, value in options.items():
        if value is not None:
            arguments += [option, str(value)]
    if with_auth:
        arguments.append("--with-auth")
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        # One that hangs is killed, which ends its output and with that the wait for it.
        watchdog = threading.Timer(startup_timeout, process.kill)
        watchdog.start()
        try:
            url = _ready_url(process.stdout)
        finally:
            watchdog.cancel()
        if url is None:
            _close(process)
            code = process.wait()
            complaints.seek(0)
            said = complaints.read().strip() or f"no answer within {startup_timeout:g} s"
            raise StandInFailed(f"the stand-in ended with {code}: {said}")
    return StandIn(url, process)


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()


def _ready_url(output: IO[str] | None) -> str | None:
    """Where the server answers, as its output says when it does; None when that ends first."""
    for line in output or ():
        if line.startswith(READY):
            return line.removeprefix(READY).split()[0]
    return None
