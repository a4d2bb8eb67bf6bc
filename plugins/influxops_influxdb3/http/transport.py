"""HTTP with one server, through urllib3: waits end with the run.

A request is made in the thread of who wants the answer. Whatever is waited for (a connection, an
answer) ends when the run ends or its own time has passed. What was not sent by then is never sent.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from http.client import BadStatusLine, HTTPException
from typing import Any
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError

from influxops.plugin import (
    Context,
    DeadlineExceeded,
    Ending,
    InfluxopsError,
    Interrupted,
    LateAnswer,
    Remedy,
)
from influxops_influxdb3.errors import CHECK_URL, Answer, ConnectionFailed, NotInfluxDB3, Request
from influxops_influxdb3.settings import InfluxDB3Settings

#: Seconds that a request which may change something still gets once its run is cancelled.
GRACE = 5.0
#: Bytes of an answer, unpacked; the inventory of 12,400 databases has about one million.
LARGEST_ANSWER = 128 * 1024 * 1024
_PIECE = 64 * 1024
#: Connections that are kept; with fewer than threads that ask at once, some are opened anew.
_KEPT = 8

_SLOW = Remedy.setting("read_timeout", "the server is slow or hangs; {} gives it longer")
_IS_IT_UP = Remedy.setting("url", "is the server up? If it is, check {}")
_IS_IT_TLS = Remedy.setting("url", "is it TLS that answers there? Check {}")
_WANTS_HTTPS = Remedy.setting("url", "does the server want https://? Check {}")
_WANTS_HTTP = Remedy.setting("url", "does the server want http://? Check {}")
_AUTHORITY = Remedy.setting(
    "ca_path", "name the CA's certificate in {}, and a host that the certificate is for"
)
_CLIENT_CERT = Remedy.setting(
    "client_cert", "if the server wants a client certificate, set {} and its key"
)


class _TooLarge(Exception):
    """There is more of an answer than an InfluxDB could have to say."""


#: What may come of asking.
_FAILURES = (_TooLarge, Interrupted, HTTPError, HTTPException, OSError, UnicodeError)


class Http:
    """The way to one server; may be used from several threads.

    Args:
        settings: Where it is, and how to get in.

    Raises:
        SettingError: When certificates cannot be loaded.
    """

    def __init__(self, settings: InfluxDB3Settings) -> None:
        self._settings = settings
        self._parts = urlsplit(settings.url)
        self._tls = settings.tls if self._parts.scheme == "https" else None
        self._host = self._parts.hostname or ""
        self._lock = threading.Lock()
        self._pool: HTTPConnectionPool | None = None

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def ask(
        self,
        context: Context,
        request: Request,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        *,
        streamed: bool = False,
    ) -> Answer:
        """Ask once.

        Args:
            context: Whose deadline and cancellation bound it.
            request: What is asked.
            method: The HTTP method.
            path: Path and query below the server's URL.
            body: The body, None without one.
            headers: The headers.
            streamed: Whether the body of a good answer is left to be read piece by piece: what
                fails then is raised by its `pieces`, which have to be closed.

        Raises:
            ConnectionFailed: When there is no answer.
            NotInfluxDB3: When it cannot be read.
            Interrupted: When the run is over; one that only reads is not waited for then.
        """
        grace = GRACE if request.operation.changes else 0.0
        asking = _here.asking = _Asking(context, self._settings, grace)
        # The socket's own timeout only ends, a little later, what the context left behind.
        timeout = Timeout(connect=self._settings.connect_timeout + 1.0, read=None)
        closing = contextlib.ExitStack()
        try:
            with asking.wait:
                response = self._connections().urlopen(
                    method,
                    self._parts.path + path,
                    body,
                    headers,
                    retries=False,
                    redirect=False,
                    timeout=timeout,
                    preload_content=False,
                )
                closing.callback(response.close)
                asking.doing = "reading"
                whole = not (streamed and response.status == 200)
                body_read = _body_of(response) if whole else b""
                answer = Answer(response.status, response.headers, body_read)
            if asking.ending.error is not None:
                # A socket that was shut looks like the end of an answer.
                raise ConnectionAbortedError
            if whole:
                response.release_conn()
            else:
                closing.pop_all()
                answer.pieces = pieces = self._pieces(asking, request, response)
                next(pieces)
            return answer
        except _FAILURES as error:
            failure = self._failure(asking, request, error)
        finally:
            closing.close()
            _here.asking = None
        # Outside of the handlers: what was raised there carries the request and the answer.
        raise failure

    def _pieces(
        self, asking: _Asking, request: Request, response: BaseHTTPResponse
    ) -> Generator[bytes]:
        """Read a body piece by piece; the time to wait for an answer is that of each piece."""
        try:
            # Begun at once, so that closing it closes the response in any case.
            yield b""
            body = response.stream(_PIECE, decode_content=True)
            while True:
                with asking.next_wait():
                    piece = next(body, None)
                if asking.ending.error is not None:
                    raise ConnectionAbortedError
                if piece is None:
                    response.release_conn()
                    return
                yield piece
        except _FAILURES as error:
            failure = self._failure(asking, request, error)
            if isinstance(failure, ConnectionFailed):
                failure.begun = True
        finally:
            response.close()
        raise failure

    def _failure(self, asking: _Asking, request: Request, error: BaseException) -> InfluxopsError:
        """Return what a failure means."""
        if isinstance(error, _TooLarge):
            said = f"it answered more than {LARGEST_ANSWER // 1024**2} MiB"
            return request.error(NotInfluxDB3, said, CHECK_URL)
        if isinstance(error, DecodeError):
            return request.error(NotInfluxDB3, "its answer cannot be unpacked", CHECK_URL)
        ended = error if isinstance(error, Interrupted) else asking.ending.error
        if ended is not None:
            return self._late(asking, request, ended)
        return self._broken(asking, request, error)

    def _connections(self) -> HTTPConnectionPool:
        """Return the pool of connections.

        Raises:
            UnicodeError: When the host is no valid name.
            HTTPError: When it is none for urllib3.
        """
        with self._lock:
            if self._pool is None:
                host, port = self._host.encode("idna").decode("ascii"), self._parts.port
                if self._tls is None:
                    self._pool = HTTPConnectionPool(host, port or 80, maxsize=_KEPT)
                    self._pool.ConnectionCls = _Connection
                else:
                    self._pool = HTTPSConnectionPool(
                        host, port or 443, maxsize=_KEPT, ssl_context=self._tls
                    )
                    self._pool.ConnectionCls = _TlsConnection
            return self._pool

    def _late(self, asking: _Asking, request: Request, error: Interrupted) -> InfluxopsError:
        """Return what it means that a wait was ended."""
        if not isinstance(error, DeadlineExceeded):
            return error
        doing, sent = asking.doing, asking.sent
        missing = {
            "connecting": "no connection",
            "shaking hands": "no end of the TLS handshake",
            "asking": "no answer",
            "reading": "no whole answer",
        }[doing]
        failed = partial(request.error, ConnectionFailed, sent=sent)
        if not isinstance(error, LateAnswer):
            seconds = time.monotonic() - asking.began
            reason = f"{missing} within {seconds:.1f} s: {error.message}"
            return failed(reason, error.remedy, again=False)
        seconds = self._settings.read_timeout if sent else self._settings.connect_timeout
        hint = _SLOW if sent else _IS_IT_TLS if doing == "shaking hands" else _IS_IT_UP
        # One that has begun to answer would begin again, and take as long.
        again = doing != "reading"
        return failed(f"{missing} within {seconds:g} s", hint, silent=True, again=again)

    def _broken(self, asking: _Asking, request: Request, error: BaseException) -> InfluxopsError:
        """Return why there was no answer."""
        # urllib3 wraps what the system, ssl or http.client have raised.
        while isinstance(error, HTTPError) and (below := error.__cause__ or error.__context__):
            error = below
        failed = partial(request.error, ConnectionFailed, sent=asking.sent)
        if isinstance(error, ssl.SSLCertVerificationError):
            # The certificate's own words, never the peer's bytes.
            why = error.verify_message or "verification failed"
            return failed(f"its TLS certificate is not trusted: {why}", _AUTHORITY, again=False)
        if isinstance(error, ssl.SSLError):
            what = (error.reason or "the handshake failed").replace("_", " ").lower()
            if what in ("wrong version number", "http request"):
                return failed("it does not speak TLS", _WANTS_HTTP, again=False)
            return failed(f"TLS: {what}", _CLIENT_CERT)
        if isinstance(error, UnicodeError):
            return failed("the URL names no valid host", _IS_IT_UP, again=False)
        if isinstance(error, socket.gaierror):
            return failed(f"the name {self._host} cannot be resolved", _IS_IT_UP)
        if isinstance(error, TimeoutError) and not asking.sent:
            seconds = self._settings.connect_timeout
            return failed(f"no connection within {seconds:g} s", _IS_IT_UP, silent=True)
        if isinstance(error, BadStatusLine) and not isinstance(error, OSError):
            hint = _IS_IT_UP if self._tls else _WANTS_HTTPS
            return failed("what answers there does not speak HTTP", hint)
        words = (getattr(error, "strerror", None) or "").lower()
        return failed(words or "the connection was lost", _IS_IT_UP)


# What urllib3 does not know: the run -------------------------------------------------------------


class _Asking:
    """One try of a request, for the connection that it gets."""

    def __init__(self, context: Context, settings: InfluxDB3Settings, grace: float) -> None:
        self.began = time.monotonic()
        self.doing = "connecting"  # for the error that may come of it
        self.sent = False  # whether it may have reached the server
        self.ending = Ending()
        self.wait = contextlib.ExitStack()  # holds the wait for the answer
        self._context = context
        self._settings = settings
        self._grace = grace
        self._sock: socket.socket | None = None

    def connect(self, connection: HTTPConnection, connect: Callable[[], None]) -> None:
        """Connect; looking up a name cannot be ended, so all of it is left behind if need be."""
        left = threading.Event()

        def work() -> None:
            connect()
            if left.is_set():
                connection.close()

        try:
            self._context.detached(work, within=self._settings.connect_timeout)
        except Interrupted:
            # urllib3 closes what is there by now.
            left.set()
            self.doing = "connecting" if connection.is_closed else "shaking hands"
            raise

    def send(self, sock: socket.socket) -> None:
        """Begin the wait for the answer, unless the run has ended: then nothing more is sent."""
        self._context.check()
        self._sock = sock
        self.wait.enter_context(self.next_wait())
        self.sent, self.doing = True, "asking"

    @contextlib.contextmanager
    def next_wait(self) -> Iterator[None]:
        """Bound the wait in the block by the run and by the time to wait for an answer."""
        assert self._sock is not None
        self.began = time.monotonic()
        shut, within = partial(_shut, self._sock), self._settings.read_timeout
        with self._context.ends(shut, within=within, grace=self._grace) as self.ending:
            yield


def _shut(sock: socket.socket) -> None:
    """Shut a socket: what waits for it fails at once."""
    with contextlib.suppress(OSError):
        # Not TLS's own shutdown: it would have the reader go on without decrypting.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Here(threading.local):
    """What is under way in this thread."""

    asking: _Asking | None = None


_here = _Here()


class _Connection(HTTPConnection):
    """A connection for what is under way in the thread that uses it."""

    def connect(self) -> None:
        assert _here.asking is not None
        _here.asking.connect(self, super().connect)
        # Else urllib3 warns where verification was turned off, and an application would show it.
        self.is_verified = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.is_closed:
            self.connect()
        self.timeout = None
        assert _here.asking is not None
        _here.asking.send(self.sock)
        super().request(*args, **kwargs)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


def _is_another(record: logging.LogRecord) -> bool:
    """Keep what urllib3 logs of our requests from an application's log: the client tells it."""
    return _here.asking is None


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_is_another)


def _body_of(response: BaseHTTPResponse) -> bytes:
    """Read a body, unpacked where a proxy has packed it unasked.

    Raises:
        _TooLarge: When there is too much of it.
        HTTPError: When it breaks off or cannot be unpacked.
    """
    if (response.length_remaining or 0) > LARGEST_ANSWER:
        raise _TooLarge
    body = bytearray()
    for piece in response.stream(_PIECE, decode_content=True):
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise _TooLarge
    return bytes(body)
