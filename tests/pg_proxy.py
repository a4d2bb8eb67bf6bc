"""A proxy in front of PostgreSQL that sees each query, and can break the connection at one."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

import psycopg

from tests.pg import TestDatabase

#: The protocol's version 3.0; what has another number at that place begins no session.
_VERSION_3 = 196_608


class Then(Enum):
    """What to do with a query."""

    PASS_ON = "pass on"
    CUT = "cut"  # it never reaches the server, and the connection ends
    LOSE_ANSWER = "lose answer"  # the server does it, and the connection ends instead of its answer


@dataclass
class PgProxy:
    """A running proxy.

    Args:
        port: Where it listens, on 127.0.0.1.
        before: Called with each query and the number of its backend, before the server gets it.
        after: Called once the server has answered a query whose answer is to be lost.
    """

    port: int = 0
    before: Callable[[str, int], Then] = field(default=lambda query, pid: Then.PASS_ON)
    after: Callable[[], None] = field(default=lambda: None)

    def conninfo(self, db: TestDatabase) -> str:
        """Give the connection string of the database's user that leads through here."""
        return psycopg.conninfo.make_conninfo(db.conninfo, host="127.0.0.1", port=self.port)

    def reset(self) -> None:
        """Let everything through again."""
        self.before, self.after = lambda query, pid: Then.PASS_ON, lambda: None


@contextlib.contextmanager
def pg_proxy(port: int) -> Iterator[PgProxy]:
    """Run a proxy in front of a PostgreSQL on this machine.

    Args:
        port: The server's.
    """
    proxy = PgProxy()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        proxy.port = listener.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port))
                session = _Session(proxy, client, server)
                for pump in (session.to_server, session.to_client):
                    threading.Thread(target=session.run, args=(pump,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def wait_for_checkpoint_to_age(database: TestDatabase) -> None:
    """Wait until a COMMIT can be told from one that a crash of the server undid."""
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_sleep(greatest(0, extract(epoch FROM checkpoint_time) + 1.1"
            " - extract(epoch FROM clock_timestamp()))) FROM pg_control_checkpoint()"
        )


def end(database: TestDatabase, pid: int) -> None:
    """End a backend, and wait until it has gone."""
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        done = connection.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone()
        assert done == (True,)


class _Session:
    def __init__(self, proxy: PgProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._pid, self._is_lost = 0, threading.Event()

    def run(self, pump: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, EOFError):
            pump()
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def to_server(self) -> None:
        while True:  # what comes before a session begins has no type: whether TLS is spoken here
            head = _read(self._client, 8)
            length, version = struct.unpack("!ii", head)
            self._server.sendall(head + _read(self._client, length - 8))
            if version == _VERSION_3:
                break
        while True:
            kind, message = _message(self._client)
            then = Then.PASS_ON
            if kind in b"QP":  # a simple query; or one to be parsed, after the statement's name
                text = message[5:].split(b"\0")
                query = text[0 if kind == b"Q" else 1].decode("utf-8", "replace")
                then = self._proxy.before(query, self._pid)
            if then is Then.CUT:
                return
            if then is Then.LOSE_ANSWER:
                self._is_lost.set()
            self._server.sendall(message)

    def to_client(self) -> None:
        answer = _read(self._server, 1)
        while answer == b"N":  # no TLS here
            self._client.sendall(answer)
            answer = _read(self._server, 1)
        kind, message = _message(self._server, answer)
        while True:
            if kind == b"K":
                (self._pid,) = struct.unpack("!i", message[5:9])
            if self._is_lost.is_set():
                self._proxy.after()
                return
            self._client.sendall(message)
            kind, message = _message(self._server)


def _message(side: socket.socket, kind: bytes = b"") -> tuple[bytes, bytes]:
    """Return a message's type, and all of it."""
    head = (kind or _read(side, 1)) + _read(side, 4)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + _read(side, length - 4)


def _read(side: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = side.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found
