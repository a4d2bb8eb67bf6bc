"""HTTP with one server: one exchange at a time on a connection, each wait bounded by the run.

A request is made in the thread that wants the answer. Each wait (for a connection, for an answer)
ends when the run ends or its own time has passed. What was not sent before that is never sent.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from functools import partial
from http.client import BadStatusLine, HTTPException
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError

from influxops.plugin import (
    CancelToken,
    DeadlineExceeded,
    Hint,
    InfluxopsError,
    Interrupted,
    RunContext,
    WaitTimeout,
)
from influxops_influxdb3.errors import CHECK_URL, ConnectionFailed, NotInfluxDB3
from influxops_influxdb3.http.responses import Request, Response
from influxops_influxdb3.settings import InfluxDB3Settings

#: Seconds after a run was cancelled in which a request that changes something is still waited for:
#: an interrupt is answered within two seconds, and what was under way is unknown then.
GRACE = 1.25
#: Bytes of an answer, unpacked; the inventory of 12,400 databases has about one million.
LARGEST_ANSWER = 128 * 1024 * 1024
_CHUNK = 64 * 1024
#: Connections that are kept; with fewer than threads that ask at once, some are opened again.
_KEPT = 8

_SLOW = Hint.setting("read_timeout", "the server is slow or hangs; {} gives it longer")
_IS_IT_UP = Hint.setting("url", "is the server up? If it is, check {}")
_IS_IT_TLS = Hint.setting("url", "is it TLS that answers there? Check {}")
_WANTS_HTTPS = Hint.setting("url", "does the server want https://? Check {}")
_WANTS_HTTP = Hint.setting("url", "does the server want http://? Check {}")
_AUTHORITY = Hint.setting(
    "ca_path", "name the CA's certificate in {}, and a host that the certificate is for"
)
_CLIENT_CERT = Hint.setting(
    "client_cert", "if the server wants a client certificate, set {} and its key"
)


class _TooLarge(Exception):
    """There is more of an answer than an InfluxDB could have to say."""


#: What an exchange can end with.
_FAILURES = (_TooLarge, Interrupted, HTTPError, HTTPException, OSError, UnicodeError)


class Transport:
    """The way to one server; may be used from several threads."""

    def __init__(self, settings: InfluxDB3Settings) -> None:
        self._settings = settings
        self._parts = urlsplit(settings.url)
        self._tls = settings.tls if self._parts.scheme == "https" else None
        self._host = self._parts.hostname or ""
        self._idle: deque[HTTPConnection] = deque()
        # A client that an application drops without closing it leaves none open.
        weakref.finalize(self, _close, self._idle)

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        _close(self._idle)

    def send(self, context: RunContext, request: Request) -> Response:
        """Send a request once.

        Where it is streamed, what fails in the answer's body is raised by its `chunks`, which have
        to be closed. Errors are those of `retries.send`.
        """
        exchange = _Exchange(context, self._settings, request)
        with contextlib.ExitStack() as closing:
            try:
                closing.callback(exchange.close)
                exchange.connect(_connected(self._idle) or self._new_connection())
                with exchange.wait():
                    received = exchange.begin()
                    is_whole = not (request.is_streamed and received.status == 200)
                    body = _read_body(received) if is_whole else b""
                response = Response(received.status, received.headers, body)
                if is_whole:
                    self._keep(exchange)
                else:
                    response.chunks = self._chunks(exchange, received)
                    next(response.chunks)
                closing.pop_all()
                return response
            except _FAILURES as error:
                failure = self._failure(exchange, error)
        # Outside of the handlers: what was raised there carries the request and the answer.
        raise failure

    def _chunks(self, exchange: _Exchange, received: BaseHTTPResponse) -> Generator[bytes]:
        """Read a body in chunks; the time to wait for an answer is that of each chunk."""
        with contextlib.ExitStack() as closing:
            closing.callback(exchange.close)
            try:
                # Begun at once, so that closing it closes the connection in any case.
                yield b""
                body = received.stream(_CHUNK, decode_content=True)
                while True:
                    with exchange.wait():
                        chunk = next(body, None)
                    if chunk is None:
                        closing.pop_all()
                        self._keep(exchange)
                        return
                    yield chunk
            except _FAILURES as error:
                failure = self._failure(exchange, error)
                if isinstance(failure, ConnectionFailed):
                    failure.partial = True
        raise failure

    def _keep(self, exchange: _Exchange) -> None:
        """Keep the connection for the next exchange, as the answer was read to its end."""
        connection = exchange.connection
        if connection is None or connection.is_closed or len(self._idle) >= _KEPT:
            exchange.close()
        else:
            self._idle.append(connection)

    def _new_connection(self) -> HTTPConnection:
        host, port = self._host.encode("idna").decode("ascii"), self._parts.port
        # The socket's own timeout only ends, a little later, what the context left behind.
        timeout = self._settings.connect_timeout + 1.0
        if self._tls is None:
            return HTTPConnection(host, port or 80, timeout=timeout)
        return HTTPSConnection(host, port or 443, timeout=timeout, ssl_context=self._tls)

    # Why there is no answer ------------------------------------------------------------------

    def _failure(self, exchange: _Exchange, error: BaseException) -> InfluxopsError:
        if isinstance(error, _TooLarge):
            message = f"it answered more than {LARGEST_ANSWER // 1024**2} MiB"
            return exchange.request.error(NotInfluxDB3, message, CHECK_URL)
        if isinstance(error, DecodeError):
            return exchange.request.error(NotInfluxDB3, "its answer cannot be unpacked", CHECK_URL)
        ended = error if isinstance(error, Interrupted) else exchange.ending.error
        return self._lost(exchange, error) if ended is None else self._late(exchange, ended)

    def _late(self, exchange: _Exchange, error: Interrupted) -> InfluxopsError:
        """Return what it means that a wait was ended."""
        phase, sent = exchange.phase, exchange.sent
        abandoned = sent and exchange.request.operation.changes
        if not isinstance(error, DeadlineExceeded):
            error.abandoned = abandoned
            return error
        missing = {
            "connecting": "no connection",
            "shaking hands": "no end of the TLS handshake",
            "asking": "no answer",
            "reading": "no whole answer",
        }[phase]
        failed = partial(exchange.request.error, ConnectionFailed, sent=sent, abandoned=abandoned)
        if not isinstance(error, WaitTimeout):
            seconds = time.monotonic() - exchange.began
            reason = f"{missing} within {seconds:.1f} s: {error.message}"
            return failed(reason, error.remedy, retryable=False)
        seconds = self._settings.read_timeout if sent else self._settings.connect_timeout
        hint = _SLOW if sent else _IS_IT_TLS if phase == "shaking hands" else _IS_IT_UP
        # One that has begun to answer would begin again, and take as long.
        retryable = phase != "reading"
        return failed(f"{missing} within {seconds:g} s", hint, timed_out=True, retryable=retryable)

    def _lost(self, exchange: _Exchange, error: BaseException) -> InfluxopsError:
        """Return why there is no connection, or not any more."""
        # urllib3 wraps what the system, ssl or http.client have raised.
        while isinstance(error, HTTPError) and (below := error.__cause__ or error.__context__):
            error = below
        begun = exchange.phase == "reading"
        failed = partial(exchange.request.error, ConnectionFailed, sent=exchange.sent, begun=begun)
        if isinstance(error, ssl.SSLCertVerificationError):
            # The certificate's own words, never the peer's bytes.
            why = error.verify_message or "verification failed"
            return failed(f"its TLS certificate is not trusted: {why}", _AUTHORITY, retryable=False)
        if isinstance(error, ssl.SSLError):
            what = (error.reason or "the handshake failed").replace("_", " ").lower()
            if what in ("wrong version number", "http request"):
                return failed("it does not speak TLS", _WANTS_HTTP, retryable=False)
            return failed(f"TLS: {what}", _CLIENT_CERT)
        if isinstance(error, UnicodeError):
            return failed("the URL names no valid host", _IS_IT_UP, retryable=False)
        if isinstance(error, socket.gaierror):
            return failed(f"the name {self._host} cannot be resolved", _IS_IT_UP)
        if isinstance(error, TimeoutError) and not exchange.sent:
            seconds = self._settings.connect_timeout
            return failed(f"no connection within {seconds:g} s", _IS_IT_UP, timed_out=True)
        if isinstance(error, BadStatusLine) and not isinstance(error, OSError):
            hint = _IS_IT_UP if self._tls else _WANTS_HTTPS
            return failed("what answers there does not speak HTTP", hint)
        words = (getattr(error, "strerror", None) or "").lower()
        return failed(words or "the connection was lost", _IS_IT_UP)


class _Exchange:
    """One attempt of a request, on one connection."""

    connection: HTTPConnection | None = None
    _received: BaseHTTPResponse | None = None
    _sock: socket.socket

    def __init__(self, context: RunContext, settings: InfluxDB3Settings, request: Request) -> None:
        self.request = request
        self.began = time.monotonic()
        self.phase = "connecting"  # for the error, if there is one
        self.ending = CancelToken()
        self._context = context
        self._settings = settings

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server."""
        return self.phase in ("asking", "reading")

    def connect(self, connection: HTTPConnection) -> None:
        """Connect; looking up a name cannot be ended, so all of it is left behind if need be."""
        self.connection = connection
        if connection.is_closed:
            self._open(connection)
        self._sock = connection.sock

    def _open(self, connection: HTTPConnection) -> None:
        left = threading.Event()

        def work() -> None:
            connection.connect()
            if left.is_set():
                connection.close()

        try:
            self._context.run_abandonable(work, within=self._settings.connect_timeout)
        except Interrupted:
            left.set()
            self.phase = "connecting" if connection.is_closed else "shaking hands"
            raise

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """Bound the wait in the block by the run and by the time to wait for an answer."""
        self.began, shut = time.monotonic(), partial(_shut, self._sock)
        within = self._settings.read_timeout
        grace = GRACE if self.request.operation.changes else 0.0
        with self._context.on_end(shut, within=within, grace=grace) as self.ending:
            yield
        if self.ending.error is not None:
            # A socket that was shut looks like the end of an answer.
            raise ConnectionAbortedError

    def begin(self) -> BaseHTTPResponse:
        """Send the request, and return the beginning of the answer."""
        # What ended while it connected sends nothing.
        self._context.check()
        connection, request = self.connection, self.request
        assert connection is not None
        connection.timeout, self.phase = None, "asking"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # A server may answer, and close the connection, before it has read all.
            connection.request(
                request.method,
                urlsplit(request.url).path + request.target,
                request.body,
                request.headers,
                preload_content=False,
            )
        with _quiet():
            self._received = connection.getresponse()
        self.phase = "reading"
        return self._received

    def close(self) -> None:
        """Close the connection, and the answer: a server that ends the one leaves the other."""
        for part in (self._received, self.connection):
            if part is not None:
                part.close()


def _connected(idle: deque[HTTPConnection]) -> HTTPConnection | None:
    """Take a connection that is still open; close those that are not."""
    with contextlib.suppress(IndexError):
        while True:
            connection = idle.pop()
            if connection.is_connected:
                return connection
            connection.close()
    return None


def _close(idle: deque[HTTPConnection]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            idle.pop().close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not TLS's own shutdown: it would have the reader go on without decrypting.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _read_body(received: BaseHTTPResponse) -> bytes:
    """Read a body, unpacked where a proxy has packed it unasked."""
    if (received.length_remaining or 0) > LARGEST_ANSWER:
        raise _TooLarge
    body = bytearray()
    for chunk in received.stream(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise _TooLarge
    return bytes(body)


# What urllib3 would log of an answer that is none is in the error already.
_local = threading.local()
logging.getLogger("urllib3.connection").addFilter(lambda _: not getattr(_local, "quiet", False))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    _local.quiet = True
    try:
        yield
    finally:
        _local.quiet = False
