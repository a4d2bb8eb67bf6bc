"""What the tests of copying share: two servers, and what is in them."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from influxops.plugin import CopyProgress, CopyRequest, RunContext
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.devserver.api import Api

_numbers = itertools.count(1)


def new_database() -> str:
    """Return the name of a database that no other test uses."""
    return f"telemetry_{os.getpid()}_{next(_numbers)}"


def target(name: str, url: str, **settings: Any) -> InfluxDB3Target:
    return InfluxDB3Target(name, InfluxDB3Settings.parse({"url": url} | settings))


@dataclass
class Pair:
    """A database on one server, and one of the same name on another that is to get its rows."""

    source: Api
    copy: Api
    settings: dict[str, Any] = field(default_factory=dict)
    database: str = field(default_factory=new_database)

    def make(self, retention: str | None = None) -> None:
        """Make the databases."""
        for api in (self.source, self.copy):
            assert api.create(self.database, retention).status == 200
            assert api.write(self.database, "_init,source=provisioning value=1i").status == 204

    def write(self, *lines: str) -> None:
        write(self.source, self.database, *lines)

    def write_to_copy(self, *lines: str) -> None:
        write(self.copy, self.database, *lines)

    def run(self, context: RunContext | None = None, **order: Any) -> Generator[CopyProgress]:
        """Copy, as a process that has just been started does."""
        ours = target("eu1", self.source.url, **self.settings)
        theirs = target("eu2", self.copy.url, **self.settings)
        try:
            yield from ours.influxops_copy(
                CopyRequest(self.database, theirs, **order),
                context or RunContext(dry_run=order.get("dry_run", False)),
            )
        finally:
            ours.influxops_close()
            theirs.influxops_close()

    def all(self, context: RunContext | None = None, **order: Any) -> CopyProgress:
        """Copy until it is done, and return the last word."""
        *_, last = self.run(context, **order)
        assert last.done or order.get("dry_run")
        return last

    def assert_equal(self) -> None:
        """Check that both sides hold the same tables and rows, apart from the marker."""
        assert contents(self.copy, self.database) == contents(self.source, self.database)


def write(api: Api, database: str, *lines: str) -> None:
    answer = api.write(database, "\n".join(lines), precision="nanosecond")
    assert answer.status == 204, answer.data


def contents(api: Api, database: str) -> dict[str, tuple[str, list[str]]]:
    """Return the series key and the rows of each table."""
    tables = api.sql(
        "_internal",
        "SELECT table_name, series_key_columns FROM system.tables WHERE deleted = false "
        f"AND database_name = '{database}' AND table_name <> '_init'",
    )
    found = {}
    for table in tables:
        name = table["table_name"].replace('"', '""')
        rows = api.query(database, f'SELECT * FROM "{name}"', format="jsonl").data.decode()
        found[table["table_name"]] = (table["series_key_columns"], sorted(rows.splitlines()))
    return found


@contextlib.contextmanager
def cutting(url: str, *, after: int) -> Iterator[str]:
    """Put a wire before a server that is cut once, when it has carried so many bytes of answers."""
    host, port = url.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left, ends, threads = [after], [listener], list[threading.Thread]()

    def carry(source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8192):
                if counts and left[0] > 0:
                    left[0] -= len(data)
                    if left[0] <= 0:
                        break
                sink.sendall(data)
        for end in (source, sink):
            _shut(end)

    def start(work: Callable[..., None], *args: Any) -> None:
        threads.append(threading.Thread(target=work, args=args))
        threads[-1].start()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                ends.extend((client, server))
                start(carry, client, server, False)
                start(carry, server, client, True)

    start(serve)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        _shut(listener)
        threads[0].join()
        for end in ends:
            _shut(end)
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()
    assert left[0] <= 0, "it was never cut"


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
