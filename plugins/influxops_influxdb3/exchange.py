"""Requests that nobody has to wait for: each in a thread of its own, cut off with its run.

A read timeout counts from one piece of an answer to the next, and looking up a name cannot be
ended at all. So a request is made in a thread, and who wants the answer waits for it: until the
run is over, or until the answer takes too long as a whole. Then the socket is shut, which ends
the thread; as it is a daemon, the program ends even where that takes a while.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from influxops import DeadlineExceeded, Interrupted, Run

#: Seconds that a request which may change something still gets once its run is cancelled.
GRACE = 5.0
#: Bytes of an answer; the inventory of 12,400 databases has about one million.
LARGEST_ANSWER = 256 * 1024 * 1024
#: How often, in seconds, to look whether the run is over while an answer is waited for.
_LOOK = 0.1
#: Seconds after which the whole answer is late where urllib3 did not find the next piece late.
_SLACK = 0.5
_PIECE = 64 * 1024


class Abandoned(Exception):
    """Nobody waits for the answer any more.

    Args:
        deadline: Whether that is because the run's time is used up.
    """

    def __init__(self, *, deadline: bool = False) -> None:
        super().__init__("nobody waits for the answer any more")
        self.deadline = deadline


class AnswerTooLarge(Exception):
    """There is more of an answer than an InfluxDB could have to say."""


class Exchange(threading.Thread):
    """One request with its tries, in a thread of its own.

    Args:
        run: What it is for.
        longest: Seconds that one answer may take, from its first byte to its last.
        grace: Seconds that it still gets once the run is cancelled.
    """

    def __init__(self, run: Run, *, longest: float, grace: float) -> None:
        super().__init__(name="influxdb3", daemon=True)
        self._run = run
        self._longest = longest
        self._grace = grace
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._late: float | None = None
        self._socket: socket.socket | None = None
        self._abandoned = False
        #: Whether any of the tries may have reached the server.
        self.sent = False
        self._request: Callable[[], BaseHTTPResponse] | None = None
        self._response: BaseHTTPResponse | None = None
        self._error: BaseException | None = None

    def response(self, request: Callable[[], BaseHTTPResponse]) -> BaseHTTPResponse:
        """Make the request and wait for its answer.

        Args:
            request: Makes it.

        Returns:
            What it returns; what it raises is raised.

        Raises:
            Abandoned: When the run's time is used up, or the answer takes too long.
            Interrupted: When the run was cancelled.
        """
        self._request = request
        self.start()
        try:
            self._wait()
        finally:
            if not self._over.is_set():
                self._cut()
        error, self._error = self._error, None
        if error is not None:
            raise error
        assert self._response is not None
        return self._response

    def run(self) -> None:
        """Make the request: the thread's own part."""
        assert self._request is not None
        try:
            self._response = self._request()
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()

    def check(self) -> None:
        """Raise where another try would be for nothing.

        Raises:
            Interrupted: When the run is over, or nobody waits any more.
        """
        self._run.check()
        if self._abandoned:
            raise Interrupted("nobody waits for the answer any more")

    @contextmanager
    def answering(self, sock: socket.socket | None) -> Iterator[None]:
        """Let a socket be shut while the answer comes in."""
        with self._lock:
            self._refuse_if_abandoned()
            self._socket, self.sent = sock, True
            self._late = time.monotonic() + self._longest + _SLACK
        try:
            yield
        finally:
            with self._lock:
                self._socket = self._late = None
                # Instead of the error of a socket that was shut, which would be tried again.
                self._refuse_if_abandoned()

    def _refuse_if_abandoned(self) -> None:
        """Raise where nobody waits any more, so that nothing is sent again behind their back."""
        if self._abandoned:
            raise Abandoned

    def _wait(self) -> None:
        """Wait for the thread to end, as long as that makes sense."""
        leave: float | None = None
        while not self._over.wait(_LOOK):
            now, late = time.monotonic(), self._late
            if late is not None and now >= late:
                raise Abandoned
            try:
                self._run.check()
            except DeadlineExceeded:
                raise Abandoned(deadline=True) from None
            except Interrupted:
                leave = now + self._grace if leave is None else leave
                if now >= leave:
                    raise

    def _cut(self) -> None:
        """Shut the socket; the thread finds out at once, whatever it waits for on it."""
        with self._lock:
            self._abandoned = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not TLS's own shutdown: it would let the thread read on without decrypting.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Bounded(http.client.HTTPResponse):
    """An answer that is no larger than it may be."""

    def read(self, amt: int | None = None) -> bytes:
        """Read it, or the next bytes of it.

        Raises:
            AnswerTooLarge: When there is too much of it.
        """
        if self.length is not None:
            if self.length > LARGEST_ANSWER:
                raise AnswerTooLarge
            return super().read(amt)
        if amt is not None:
            return super().read(amt)
        pieces, size = [], 0
        while piece := super().read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_ANSWER:
                raise AnswerTooLarge
        return b"".join(pieces)


class _Connection(HTTPConnection):
    """A connection that the exchange which uses it can cut."""

    response_class = _Bounded

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
        """Read the answer."""
        thread = threading.current_thread()
        if not isinstance(thread, Exchange):
            return super().getresponse()
        with thread.answering(self.sock):
            return super().getresponse()


class _TLSConnection(_Connection, HTTPSConnection):
    """The same, with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls: Any = _TLSConnection


#: What a pool manager makes its pools of.
POOLS = {"http": _Pool, "https": _TLSPool}
