"""Reading a TOML file so that an error can name the line of a key, and small files whole."""

from __future__ import annotations

import errno
import os
import re
import select
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from influxops.errors import ConfigError
from influxops.text import one_line

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_.-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_POSITION = re.compile(r"\s*\((?:at line (\d+), column \d+|at end of document)\)$")
#: The most bytes that a configuration holds.
_MOST = 16 << 20

#: What the parser says of frequent mistakes, what it means, and what to do.
_MEANINGS = (
    ("Cannot overwrite a value", "a key stands here that is there already", "keep one of them"),
    ("Duplicate inline table key", "a key stands twice in one table", "keep one of them"),
    ("Cannot declare", "a table stands here that is there already", "put both into one"),
    ("Expected ']", "a `]` is missing", "a table begins with its name in brackets: [targets.eu1]"),
    ("Unclosed array", "a list has no end here, and no comma", "close it with `]`"),
    ("Unclosed inline table", "a table has no end", "close it with `}`"),
    ("Expected '=' after a key", "a key has no value", 'write `key = "value"`'),
    ("Illegal character '\\n'", "a text has no end", "close the quotes"),
    ("Unterminated string", "a text has no end", "close the quotes"),
    ('Expected "', "a text has no end", "close the quotes"),
    ("Invalid value", "this is no value", "text wants quotes"),
    ("Expected newline or end of document", "more follows than a value", "text wants quotes"),
    ("Unescaped '\\", "a backslash in quotes begins an escape", "write it twice, or use '…'"),
)


class TomlFile:
    """A TOML file: its data, and where each key stands.

    Args:
        path: The file.

    Raises:
        ConfigError: When it cannot be read, or is no TOML; the message names file and line.
    """

    def __init__(self, path: Path) -> None:
        import tomllib

        self.path = path
        try:
            self._text = read_small(path, most=_MOST).decode("utf-8-sig")
        except NotThere:
            raise ConfigError(
                f"the configuration file {path} is not there",
                hint="check the path, or let `influxops init` write one",
            ) from None
        except (Unreadable, UnicodeDecodeError) as error:
            reason = error if isinstance(error, Unreadable) else "it is not UTF-8"
            raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None
        try:
            self.data: Mapping[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            line, reason, hint = self._meaning(str(error))
            raise ConfigError(
                f"this is no TOML: {reason}", where=f"{path}:{line}" if line else "", hint=hint
            ) from None
        except RecursionError:
            raise ConfigError(
                f"the configuration file {path} cannot be read: it nests too deeply"
            ) from None

    def where(self, *keys: str) -> str:
        """Return `file:line` of a key, or of the nearest table around it that is found."""
        lines = self._lines
        for length in range(len(keys), 0, -1):
            line = lines.get(tuple(keys[:length]))
            if line is not None:
                return f"{self.path}:{line}"
        return str(self.path)

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        """Map each key's path to its line.

        tomllib does not tell lines; this reads headers and keys alone, which is enough for
        messages, and at worst names the line of a table instead of a key in it.
        """
        lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, text in enumerate(self._text.splitlines(), start=1):
            if header := _HEADER.match(text):
                table = _path(header[1])
                for length in range(1, len(table) + 1):
                    lines.setdefault(table[:length], number)
            elif key := _KEY.match(text):
                path = table + _path(key[1])
                for length in range(len(table) + 1, len(path) + 1):
                    lines.setdefault(path[:length], number)
        return lines

    def _meaning(self, error: str) -> tuple[int, str, str]:
        """Return the line of a parser's error, what it means, and what to do."""
        position = _POSITION.search(error)
        reason = error[: position.start()] if position else error
        last = len(self._text.rstrip().splitlines()) or 1
        line = int(position[1]) if position and position[1] else last
        if reason == "Invalid value" and line == last and position and not position[1]:
            return line, "the file ends before a value does", "close its brackets"
        for beginning, meaning, hint in _MEANINGS:
            if reason.startswith(beginning):
                return line, meaning, hint
        return line, reason, ""


def _path(dotted: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in dotted.split("."))
    if all(map(_BARE.fullmatch, parts)):
        return parts
    import tomllib

    try:
        value: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return (dotted.strip(),)
    path: Sequence[str] = ()
    while isinstance(value, dict):
        ((key, value),) = value.items()
        path = (*path, key)
    return tuple(path)


def quoted(name: str) -> str:
    """Return a name as a table's header writes it, on one line."""
    if _BARE.fullmatch(name):
        return name
    return '"' + one_line(name.replace("\\", "\\\\").replace('"', '\\"')) + '"'


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
