"""Servers for tests and for the demo: started, used, ended; `fixtures.py` has them for pytest."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypedDict, Unpack

from influxops_devserver.cli import READY

if TYPE_CHECKING:
    from influxops_devserver.postgres import EmbeddedPostgres

#: Seconds after which a stand-in that does not answer is killed.
_STARTUP = 60.0
#: What starts the process of a stand-in; the tests of influxops fork one instead.
_start: Callable[..., subprocess.Popen[str]] = subprocess.Popen


class StandInFailed(RuntimeError):
    """A stand-in that did not start; the message is what it printed."""


@dataclass(frozen=True)
class StandIn:
    """A running stand-in."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """Return the port in its URL."""
        return int(self.url.rpartition(":")[2])

    def stop(self, timeout: float = 15.0) -> int:
        """End it with SIGTERM, which flushes, or kill it in the end; return its exit code."""
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
    """The options of ``influxops dev-server``; what is left out is as on a real Core."""

    #: None keeps nothing.
    data_dir: Path | None
    #: 0 takes a free one, which is the default.
    port: int
    #: None is no limit, of tables as well.
    max_databases: int | None
    max_tables: int | None
    #: How long an ordinary write waits at most, as ``50ms`` or ``1s``.
    wal_flush_interval: str
    #: With 1, each flush puts the rows of earlier spans of time into files, and every third one
    #: puts all of them there; with more, every so many flushes and a half.
    wal_snapshot_size: int
    #: The span of time of a file, as ``1m`` or ``10m``.
    gen1_duration: str
    query_file_limit: int
    #: Each query of a table of that name is answered with 500; ``system.parquet_files`` is one.
    unreadable_table: str
    with_auth: bool


@contextlib.contextmanager
def running_postgres() -> Iterator[EmbeddedPostgres]:
    """Run a PostgreSQL on a free port of this machine while the block lasts."""
    from influxops_devserver.postgres import embedded_postgres  # slow to import

    with embedded_postgres() as server:
        yield server


@contextlib.contextmanager
def running_stand_in(**options: Unpack[StandInOptions]) -> Iterator[StandIn]:
    """Run a stand-in that answers while the block lasts; it ends with this process, too."""
    stand_in = start_stand_in(outlives=False, **options)
    try:
        yield stand_in
    finally:
        if stand_in.process.poll() is None:
            stand_in.stop()
        _close(stand_in.process)


def start_stand_in(*, outlives: bool = True, **options: Unpack[StandInOptions]) -> StandIn:
    """Start a stand-in; where it `outlives` this process, it runs until it is stopped."""
    arguments = [sys.executable, "-m", "influxops_devserver.cli", "--port", "0"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if name == "with_auth":
            arguments += [option] if value else []
        elif name.startswith("max_") and value is None:
            arguments += [option, "unlimited"]
        elif value is not None:
            arguments += [option, str(value)]
    if not outlives:
        arguments.append("--until-stdin-ends")
    with tempfile.TemporaryFile("w+") as stderr:
        process = _start(
            arguments,
            stdin=subprocess.DEVNULL if outlives else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        # One that hangs is killed, which ends its output and with that the wait for it.
        watchdog = threading.Timer(_STARTUP, process.kill)
        watchdog.start()
        try:
            url = _ready_url(process.stdout)
        finally:
            watchdog.cancel()
        if url is None:
            _close(process)
            code = process.wait()
            stderr.seek(0)
            message = stderr.read().strip() or f"no answer within {_STARTUP:g} s"
            raise StandInFailed(f"the stand-in ended with {code}: {message}")
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
