"""Reading small files whole without waiting for ever: a pipe may have no writer."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

#: Seconds that a file may take to give what it holds; only a pipe or a terminal takes any.
PATIENCE = 5.0
_CHUNK = 1 << 16


class Unreadable(Exception):
    """A file that could not be read; the message says why, and nothing that is in it."""


class NotThere(Unreadable):
    """A file that is not there."""


def read_small(path: Path, *, most: int) -> bytes:
    """Return what a file holds.

    Args:
        path: A regular file, or a pipe: `/dev/stdin`, a process substitution, a named one.
        most: The most bytes that it may hold.

    Raises:
        NotThere: When there is no such file.
        Unreadable: When it cannot be read, holds too much, or gives no end in time.
    """
    end = time.monotonic() + PATIENCE
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(descriptor, most, end)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise NotThere(os.strerror(errno.ENOENT)) from None
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None
    except ValueError:  # a NUL in its name
        raise Unreadable("this is no name of a file") from None


def _read(descriptor: int, most: int, end: float) -> bytes:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    parts: list[bytes] = []
    size = 0
    while True:
        left = end - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            raise Unreadable("it is a pipe that nobody writes to, or that nobody closes")
        try:
            part = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            continue
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > most:
            raise Unreadable(f"it holds more than {most:,} bytes")
