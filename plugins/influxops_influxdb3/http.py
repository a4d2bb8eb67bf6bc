"""HTTP with one server: connections, and waits that end with the run.

A request is made in the thread of who wants the answer. Whatever it waits for (a connection, a
TLS handshake, an answer) ends when the run ends or its own time has passed: the socket is shut,
and the wait fails. What was not sent by then is never sent.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from influxops.plugin import Context, DeadlineExceeded, Ending, Interrupted, LateAnswer, Remedy
from influxops_influxdb3.errors import CHECK_URL, Answer, NotInfluxDB3, Request
from influxops_influxdb3.settings import InfluxDB3Settings

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds that a request which may change something still gets once its run is cancelled.
GRACE = 5.0
#: Bytes of an answer, unpacked; the inventory of 12,400 databases has about one million.
LARGEST_ANSWER = 128 * 1024 * 1024
_PIECE = 64 * 1024

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


class NoAnswer(Exception):
    """There was no answer.

    Args:
        reason: Why.
        hint: What to do about it.
        sent: Whether the request may have reached the server.
        silent: Whether the server was waited for in vain.
        again: Whether another try may help.
    """

    def __init__(
        self,
        reason: str,
        hint: Remedy = _IS_IT_UP,
        *,
        sent: bool,
        silent: bool = False,
        again: bool = True,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.sent = sent
        self.silent = silent
        self.again = again


class _TooLarge(Exception):
    """There is more of an answer than an InfluxDB could have to say."""


class Http:
    """The way to one server; may be used from several threads.

    Args:
        settings: Where it is, and how to get in.

    Raises:
        SettingError: When certificates cannot be loaded.
    """

    def __init__(self, settings: InfluxDB3Settings) -> None:
        self._settings = settings
        parts = urlsplit(settings.url)
        self._tls = settings.tls if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path
        self._idle: list[_Connection] = []

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        while self._idle:
            self._idle.pop().close()

    def ask(
        self,
        context: Context,
        request: Request,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> Answer:
        """Ask once.

        Args:
            context: Whose deadline and cancellation bound it.
            request: What is asked.
            method: The HTTP method.
            path: Path and query below the server's URL.
            body: The body, None without one.
            headers: The headers.

        Raises:
            NoAnswer: When there is no answer.
            NotInfluxDB3: When it cannot be read.
            Interrupted: When the run is over; one that only reads is not waited for then.
        """
        settings, connection = self._settings, self._connection()
        sent, kept, ending, began = False, False, Ending(), time.monotonic()
        failure: Exception
        opened = contextlib.ExitStack()
        try:
            if connection.sock is None:
                with context.ends(connection.shut, within=settings.connect_timeout) as ending:
                    connection.open(context, settings.connect_timeout)
            # A run that ended meanwhile sends nothing more.
            context.check()
            grace = GRACE if request.operation.changes else 0.0
            with context.ends(connection.shut, within=settings.read_timeout, grace=grace) as ending:
                sent, connection.doing = True, "asking"
                connection.request(method, self._prefix + path, body, headers)
                response = connection.getresponse()
                opened.callback(response.close)
                connection.doing = "reading"
                found: Any = response.headers
                answer = Answer(response.status, found, _body_of(response))
            if ending.error is not None:
                # A socket that was shut looks like the end of an answer.
                raise ConnectionAbortedError
            kept = connection.sock is not None
            return answer
        except _TooLarge:
            said = f"it answered more than {LARGEST_ANSWER // 1024**2} MiB"
            failure = request.error(NotInfluxDB3, said, CHECK_URL)
        except zlib.error:
            failure = request.error(NotInfluxDB3, "its answer cannot be unpacked", CHECK_URL)
        except LateAnswer as error:
            failure = self._late(connection.doing, error, began, sent=sent)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            if ending.error is None:
                failure = self._broken(error, sent=sent)
            else:
                failure = self._late(connection.doing, ending.error, began, sent=sent)
        finally:
            opened.close()
            if kept:
                self._idle.append(connection)
            else:
                connection.close()
        # Outside of the handlers: what was raised there carries the request and the answer.
        raise failure

    def _connection(self) -> _Connection:
        """Return a connection that is open, or a new one that is not."""
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.is_usable:
                    return connection
                connection.close()
        return _Connection(self._host, self._port, self._tls)

    def _late(
        self, doing: str, error: Interrupted, began: float, *, sent: bool
    ) -> NoAnswer | Interrupted:
        """Return what it means that a wait was ended."""
        if not isinstance(error, DeadlineExceeded):
            return error
        missing = {
            "looking up": f"the name {self._host} could not be looked up",
            "connecting": "no connection",
            "shaking hands": "no end of the TLS handshake",
            "asking": "no answer",
            "reading": "no whole answer",
        }[doing]
        if not isinstance(error, LateAnswer):
            seconds = time.monotonic() - began
            reason = f"{missing} within {seconds:.1f} s: {error.message}"
            return NoAnswer(reason, error.remedy, sent=sent, again=False)
        seconds = self._settings.read_timeout if sent else self._settings.connect_timeout
        hint = _SLOW if sent else _IS_IT_TLS if doing == "shaking hands" else _IS_IT_UP
        # One that has begun to answer would begin again, and take as long.
        again = doing != "reading"
        return NoAnswer(
            f"{missing} within {seconds:g} s", hint, sent=sent, silent=True, again=again
        )

    def _broken(self, error: Exception, *, sent: bool) -> NoAnswer:
        """Return why there was no answer."""
        if isinstance(error, ssl.SSLCertVerificationError):
            # The certificate's own words, never the peer's bytes.
            why = error.verify_message or "verification failed"
            reason = f"its TLS certificate is not trusted: {why}"
            return NoAnswer(reason, _AUTHORITY, sent=sent, again=False)
        if isinstance(error, ssl.SSLError):
            what = (error.reason or "the handshake failed").replace("_", " ").lower()
            if what in ("wrong version number", "http request"):
                return NoAnswer("it does not speak TLS", _WANTS_HTTP, sent=sent, again=False)
            return NoAnswer(f"TLS: {what}", _CLIENT_CERT, sent=sent)
        if isinstance(error, UnicodeError):
            return NoAnswer("the URL names no valid host", sent=sent, again=False)
        if isinstance(error, socket.gaierror):
            return NoAnswer(f"the name {self._host} cannot be resolved", sent=sent)
        if isinstance(error, TimeoutError) and not sent:
            reason = f"no connection within {self._settings.connect_timeout:g} s"
            return NoAnswer(reason, sent=sent, silent=True)
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
            hint = _IS_IT_UP if self._tls else _WANTS_HTTPS
            return NoAnswer("what answers there does not speak HTTP", hint, sent=sent)
        words = (getattr(error, "strerror", None) or "").lower()
        return NoAnswer(words or "the connection was lost", sent=sent)


class _Connection(http.client.HTTPConnection):
    """A connection that can be shut from another thread, also while it is being made."""

    auto_open = 0  # it is opened in one place

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self.default_port = 443 if tls else 80
        self._tls = tls
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._is_shut = False
        #: What is going on, for the error that may come of it.
        self.doing = "looking up"

    def open(self, context: Context, seconds: float) -> None:
        """Connect, with TLS where that is wanted.

        Args:
            context: The run.
            seconds: What looking up the name may take, and what each connection may take.
        """
        failure: OSError | None = None
        for family, kind, protocol, _, address in self._addresses(context, seconds):
            self.doing = "connecting"
            sock = socket.socket(family, kind, protocol)
            try:
                self._hold(sock)
                sock.settimeout(seconds)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls is not None:
                    self.doing = "shaking hands"
                    sock = self._shake_hands(self._tls, sock)
                sock.settimeout(None)
            except BaseException as error:
                sock.close()
                if not isinstance(error, OSError) or self.doing != "connecting":
                    raise
                failure = error
            else:
                self.sock = sock
                return
        assert failure is not None
        raise failure

    def _addresses(self, context: Context, seconds: float) -> list[Any]:
        """Look up the host; nothing can end that, so it is left behind if it takes too long."""

        def look_up() -> list[Any]:
            return socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)

        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return context.detached(look_up, within=seconds)
        return look_up()

    def _shake_hands(self, tls: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        wrapped = tls.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
        try:
            self._hold(wrapped)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_shut:
                raise ConnectionAbortedError
            self._held = sock

    def shut(self) -> None:
        """Shut the socket: what waits for it fails at once."""
        with self._lock:
            self._is_shut = True
            if self._held is not None:
                with contextlib.suppress(OSError):
                    # Not TLS's own shutdown: it would have the reader go on without decrypting.
                    socket.socket.shutdown(self._held, socket.SHUT_RDWR)

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent; a server that closes it makes it readable."""
        if self._is_shut:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


def in_flight(
    items: Iterable[_T], work: Callable[[_T], _R], *, most: int
) -> Iterator[tuple[_T, _R]]:
    """Work on items in a few threads, and yield each with its result, as they get ready.

    An item is taken only when there is a thread for it, so that the iterable can still change
    its mind after each result. It is the iterable's business to end when the run is over, and
    the work's to be over soon after that, as requests are. What the work raises is raised.
    """
    todo: SimpleQueue[_T | None] = SimpleQueue()
    done: SimpleQueue[tuple[_T, _R | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        while (item := todo.get()) is not None:
            try:
                done.put((item, work(item), None))
            except BaseException as error:
                done.put((item, None, error))

    source, flying, threads = iter(items), 0, 0
    try:
        while True:
            while flying < most and (item := next(source, None)) is not None:
                todo.put(item)
                flying += 1
                if threads < flying:
                    threads += 1
                    threading.Thread(target=run, name="influxdb3", daemon=True).start()
            if not flying:
                return
            item, result, error = done.get()
            flying -= 1
            if error is not None:
                raise error
            yield item, result  # type: ignore[misc]
    finally:
        for _ in range(threads):
            todo.put(None)


def _body_of(response: http.client.HTTPResponse) -> bytes:
    """Read a body, and unpack it where a proxy has packed it unasked.

    Raises:
        _TooLarge: When there is too much of it.
        zlib.error: When it cannot be unpacked.
        http.client.IncompleteRead: When it breaks off.
    """
    if response.length is not None and response.length > LARGEST_ANSWER:
        raise _TooLarge
    packed = response.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip", "deflate")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed else None
    body = bytearray()
    while rest := response.read(_PIECE):
        while rest:
            body += rest if unpacker is None else unpacker.decompress(rest, 16 * _PIECE)
            rest = b"" if unpacker is None else unpacker.unconsumed_tail
            if len(body) > LARGEST_ANSWER:
                raise _TooLarge
    if unpacker is not None:
        body += unpacker.flush()
    # http.client finds this itself only where it reads a body whole.
    if response.length or (body and unpacker is not None and not unpacker.eof):
        raise http.client.IncompleteRead(b"")
    return bytes(body)
