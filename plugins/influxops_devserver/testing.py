"""Stand-ins for tests and for the demo: started, used, ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, Unpack

from influxops_devserver.cli import READY


class StandInFailed(RuntimeError):
    """A stand-in that did not start; the message is what it said."""


@dataclass(frozen=True)
class StandIn:
    """A running stand-in.

    Args:
        url: Where it answers.
        process: Its process.
    """

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """Return the port in its URL."""
        return int(self.url.rpartition(":")[2])

    def stop(self, timeout: float = 15.0) -> int:
        """End it with SIGTERM, which flushes what it holds.

        Args:
            timeout: Seconds after which it is killed.

        Returns:
            Its exit code.
        """
        self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()
        _close(self.process)
        return code

    def kill(self) -> int:
        """End it with SIGKILL, as a crash does, and return its exit code."""
        self.process.kill()
        _close(self.process)
        return self.process.wait()


class StandInOptions(TypedDict, total=False):
    """How a stand-in is started; what is left out is as on a real Core.

    Args:
        data_dir: Where it keeps its data; None keeps nothing.
        host: Address that it listens on.
        port: Port, or 0 for a free one, which is the default.
        max_databases: Limit of databases; None is no limit.
        max_tables: Limit of tables over all databases; None is no limit.
        wal_flush_interval: How long an ordinary write waits at most, as ``50ms`` or ``1s``.
        wal_snapshot_size: With 1, each flush puts the rows of earlier spans of time into files, and
            every third one puts all of them there; with more, every so many flushes and a half.
        gen1_duration: The span of time of a file, as ``1m`` or ``10m``.
        query_file_limit: How many files a query may read.
        unreadable_table: The name of tables whose every query is answered with 500; it may be
            ``system.parquet_files``.
        with_auth: Whether it asks for tokens.
        startup_timeout: Seconds after which one that does not answer is given up.
    """

    data_dir: Path | None
    host: str
    port: int
    max_databases: int | None
    max_tables: int | None
    wal_flush_interval: str
    wal_snapshot_size: int
    gen1_duration: str
    query_file_limit: int
    unreadable_table: str
    with_auth: bool
    startup_timeout: float


@contextlib.contextmanager
def running_stand_in(**options: Unpack[StandInOptions]) -> Iterator[StandIn]:
    """Run a stand-in in a process of its own, and end it when the block is left.

    The block is entered once the stand-in answers requests. It ends too when this process is
    killed.

    Raises:
        StandInFailed: It ended, or did not answer in time.
    """
    stand_in = start_stand_in(outlives=False, **options)
    try:
        yield stand_in
    finally:
        if stand_in.process.poll() is None:
            stand_in.stop()
        _close(stand_in.process)


def start_stand_in(*, outlives: bool = True, **options: Unpack[StandInOptions]) -> StandIn:
    """Start a stand-in that runs until it is stopped.

    Args:
        outlives: Whether it goes on when this process ends without having stopped it.
        **options: As :class:`StandInOptions` tells.

    Raises:
        StandInFailed: It ended, or did not answer in time.
    """
    arguments = [sys.executable, "-m", "influxops_devserver.cli", "--port", "0"]
    startup_timeout = options.get("startup_timeout", 60.0)
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "with_auth":
            arguments += [option] if value else []
        elif name.startswith("max_") and value is None:
            arguments += [option, "unlimited"]
        elif name != "startup_timeout" and value is not None:
            arguments += [option, str(value)]
    if not outlives:
        arguments.append("--until-stdin-ends")
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL if outlives else subprocess.PIPE,
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
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _ready_url(output: IO[str] | None) -> str | None:
    """Return where the server answers, as it says when it does; None when it ends first."""
    for line in output or ():
        if line.startswith(READY):
            return line.removeprefix(READY).split()[0]
    return None
