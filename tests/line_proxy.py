"""A TCP proxy that can fall silent: it keeps connections open, and forwards nothing any more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class _Line:
    """One connection through it."""

    def __init__(self, proxy: LineProxy, front: socket.socket, behind: socket.socket) -> None:
        self.proxy, self.front, self.behind = proxy, front, behind
        self.began = b""  # what the client sent first
        self.is_silent = False

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source is self.front and len(self.began) < 1 << 10:
                    self.began += data
                if source is self.front and self.proxy.silent_at and self.proxy.silent_at in data:
                    self.is_silent = True
                if source is self.behind:
                    self.proxy.on_answer(data)
                if not self.is_silent:
                    sink.sendall(data)
        if not self.is_silent:  # a silent one does not tell of its end either
            self.end()

    def end(self) -> None:
        for each in (self.front, self.behind):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class LineProxy:
    """A running proxy.

    Args:
        port: Where it listens on this machine.
        behind: The port that new connections are forwarded to.
    """

    def __init__(self, port: int, behind: int) -> None:
        self.port, self.behind = port, behind
        self.lines: list[_Line] = []
        #: A connection falls silent when its client sends this; empty for never.
        self.silent_at = b""
        #: Called with what a server has sent, before it is forwarded.
        self.on_answer: Callable[[bytes], object] = lambda data: None

    def fall_silent(self, chosen: Callable[[bytes], bool] = lambda began: True) -> int:
        """Forward nothing any more on connections that there are; new ones work.

        Args:
            chosen: Gets what the client of a connection sent first.

        Returns:
            How many fell silent.
        """
        found = [line for line in [*self.lines] if chosen(line.began)]
        for line in found:
            line.is_silent = True
        return len(found)


@contextlib.contextmanager
def line_proxy(port: int) -> Iterator[LineProxy]:
    """Run a proxy in front of a port of this machine.

    Args:
        port: That port.
    """
    threads: list[threading.Thread] = []

    def start(line: _Line) -> None:
        ways = ((line.front, line.behind), (line.behind, line.front))
        for way in ways:
            threads.append(threading.Thread(target=line.pump, args=way, daemon=True))
            threads[-1].start()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                front = server.accept()[0]
                line = _Line(proxy, front, socket.create_connection(("127.0.0.1", proxy.behind)))
                proxy.lines.append(line)
                start(line)

    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = LineProxy(server.getsockname()[1], port)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join(20)
            for line in proxy.lines:
                line.end()
            for thread in threads:
                thread.join(20)
            for line in proxy.lines:
                line.front.close()
                line.behind.close()
