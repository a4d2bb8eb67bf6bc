"""Writes line protocol to a server in few requests, which are durable after a barrier."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

from influxops.plugin import InfluxopsError, RunContext, in_background
from influxops_influxdb3.copy.line_protocol import Digest, Table
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.queries import Span

#: Bytes of a request's body; the server takes 10 MiB, and each one is held in memory.
_BODY = 2 * 1024 * 1024


class LineWriter:
    """Writes lines to a database, without waiting until they are durable.

    `was_restarted` asks the server, and raises where it is another one than before.

    The last body is kept back, for it to be the barrier that makes all before it durable. One other
    is on its way at most, while the next is made.
    """

    def __init__(
        self,
        client: Client,
        context: RunContext,
        database: str,
        was_restarted: Callable[[], bool],
    ) -> None:
        self._client, self._context, self._database = client, context, database
        self._was_restarted = was_restarted
        self._lines: list[bytes] = []
        self._size = 0
        self._restarted = False
        self._sending: tuple[Future[None], int, int] | None = None  # with its rows and bytes
        self.rows = 0
        self.size = 0

    @property
    def added(self) -> int:
        """How many rows were written, or are still to be sent."""
        sending = self._sending[1] if self._sending is not None else 0
        return self.rows + sending + len(self._lines)

    def begin(self, table: Table, span: Span) -> None:
        """Do nothing: a line says itself what it is about."""

    def end(self, digest: Digest) -> None:
        """Do nothing: a line is as good as all of a slice."""

    def add(self, lines: Iterable[bytes]) -> None:
        """Write lines, sooner or later."""
        lines = [*lines]
        size = sum(map(len, lines)) + len(lines)
        if self._size + size < _BODY:
            self._lines += lines
            self._size += size
            return
        for line in lines:
            if self._size + len(line) >= _BODY and self._lines:
                self._send(no_sync=True)
            self._lines.append(line)
            self._size += len(line) + 1

    def barrier(self) -> bool:
        """Write what is left and wait until it is durable; False if the server was restarted."""
        if self._lines:
            self._send(no_sync=False)
            self._restarted |= self._was_restarted()
        restarted, self._restarted = self._restarted, False
        return not restarted

    def reset(self) -> None:
        """Forget what is left, once what is on its way has arrived."""
        self._lines, self._size = [], 0
        self._wait()

    def leave(self) -> bool:
        """Wait for what is on its way; return whether that was given up, and may still arrive."""
        try:
            self._wait()
        except InfluxopsError as error:
            return error.abandoned
        return False

    def _wait(self) -> None:
        if self._sending is not None:
            (sent, rows, size), self._sending = self._sending, None
            sent.result()
            self.rows += rows
            self.size += size

    def _send(self, *, no_sync: bool) -> None:
        self._wait()
        body = b"\n".join(self._lines)
        sent = in_background(partial(self._write, body, no_sync=no_sync))
        self._sending = sent, len(self._lines), len(body)
        self._lines, self._size = [], 0
        if not no_sync:
            self._wait()

    def _write(self, body: bytes, *, no_sync: bool) -> None:
        # A write would make the database on another server, before that one is known by its answer.
        self._restarted |= self._was_restarted()
        self._client.write(self._context, self._database, body, no_sync=no_sync, exact=True)
