"""Limits on connections: how many, and within which time a request's header must arrive.

uvicorn limits what runs (`limit_concurrency`) and what waits after an answer
(`timeout_keep_alive`), but neither a connection that says nothing nor one that stops in a header.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from influxops_web.service import log

#: Seconds within which a request's header must have come, from when it can.
HEADER = 10.0
#: The most connections; fewer where the process may open few files.
_MOST = 1000
#: Seconds between two lines of the log that say the same.
_QUIET = 10.0
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def most_connections() -> int:
    """Return how many connections may be open: half of the files that the process may open."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if files == resource.RLIM_INFINITY else max(min(_MOST, files // 2), 1)


class LimitedProtocol(H11Protocol):
    """Ends a connection that does not send a header in time, or that another one needs."""

    #: The connections that a header is to come on, the longest waiting first, with what ends each.
    _waiting: ClassVar[dict[LimitedProtocol, asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, end the one that waited longest."""
        super().connection_made(transport)
        self._look()
        most = most_connections()
        if len(self.connections) > most and self._waiting:
            _say(f"more than {most} connections: the oldest without a request are ended")
            next(iter(self._waiting))._end()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._forget()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Set the time for the header, unless it is set or a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self not in self._waiting and not self.transport.is_closing():
            self._waiting[self] = self.loop.call_later(HEADER, self._end)

    def _forget(self) -> None:
        timer = self._waiting.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()


_said: dict[str, float] = {}


def _say(text: str) -> None:
    """Log a warning, once in a while."""
    now = time.monotonic()
    if now - _said.get(text, -_QUIET) >= _QUIET:
        _said[text] = now
        log.warning("%s", text)


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log in one line that no connection can be accepted; asyncio tries again in a second."""
    error = context.get("exception")
    if "socket" in context and isinstance(error, OSError) and error.errno in _NO_ROOM:
        _say(f"no connection can be accepted: {error.strerror}; it is tried again")
    else:
        loop.default_exception_handler(context)
