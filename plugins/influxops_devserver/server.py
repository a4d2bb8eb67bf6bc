"""Serve a stand-in until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from influxops_devserver.http.app import StandInApp, StandInSettings


def listen(host: str, port: int) -> socket.socket:
    """Bind the address; connections wait from then on until the server runs."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    # With the protocol named, asyncio sends without delay; else each streamed answer takes 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a listener is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: StandInSettings,
    listener: socket.socket,
    ready: Callable[[], None],
    *,
    until_stdin_ends: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM, then answer what is under way, flush, and close the listener.

    `ready` is called once, when requests are answered; the end of the standard input may end it
    too.
    """
    with contextlib.closing(listener):
        app = StandInApp(settings)
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        asyncio.run(_Server(config, app.wal.flush, ready, until_stdin_ends).serve([listener]))


class _Server(uvicorn.Server):
    """uvicorn with a callback when it is ready, and with the exit code 0 after a signal.

    Uvicorn raises the signal again when it has ended, for a parent that wants to know how its child
    died. For a development server a signal is the ordinary end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        flush: Callable[[], None],
        ready: Callable[[], None],
        until_stdin_ends: bool,
    ) -> None:
        super().__init__(config)
        self._until_stdin_ends = until_stdin_ends
        self._flush = flush
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._end)
        if self._until_stdin_ends:
            loop.add_reader(0, self._read_stdin)
        try:
            yield
        finally:
            loop.remove_reader(0)
            for name in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(name)

    def _read_stdin(self) -> None:
        if not os.read(0, 4_096):
            self._end()
            asyncio.get_running_loop().remove_reader(0)

    def _end(self) -> None:
        self.should_exit = True
        # Writes that wait for the next flush need not wait for its time.
        self._flush()
