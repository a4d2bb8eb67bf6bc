"""Reading a TOML file so that an error can name the line of a key, and small files whole."""

from __future__ import annotations

import errno
import os
import re
import select
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from influxops.domain.text import one_line
from influxops.errors import ConfigError

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_.-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_POSITION = re.compile(r"\s*\((?:at line (\d+), column \d+|at end of document)\)$")
#: The most bytes of a configuration.
_LIMIT = 16 << 20
#: Seconds in which a file has to give all that it holds; only a pipe or a terminal takes any.
PATIENCE = 5.0


class TomlFile:
    """A TOML file: its data, and the line of each key, which a ConfigError names."""

    def __init__(self, path: Path) -> None:
        import tomllib

        self.path = path
        try:
            self._text = read_small(path, limit=_LIMIT).removeprefix("\ufeff")
            self.data: Mapping[str, Any] = tomllib.loads(self._text)
        except FileNotFoundError:
            raise ConfigError(
                f"the configuration file {path} does not exist",
                hint="check the path, or let `influxops init` write one",
            ) from None
        except (OSError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it nests too deeply"
            raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None
        except tomllib.TOMLDecodeError as error:
            position = _POSITION.search(str(error))
            reason = _POSITION.sub("", str(error))
            last = len(self._text.rstrip().splitlines()) or 1
            raise ConfigError(
                f"invalid TOML: {reason[:1].lower()}{reason[1:]}",
                where=f"{path}:{(position and position[1]) or last}",
                hint="put text in quotes, close every bracket, write each key and table once",
            ) from None
        except ValueError:  # tomllib leaves it to Python, which has a limit
            raise ConfigError(
                "invalid TOML: a number has thousands of digits", where=str(path)
            ) from None

    def where(self, *keys: str) -> str:
        """Return `file:line` of a key, or of the nearest table around it that is found."""
        for length in range(len(keys), 0, -1):
            if line := self._lines.get(keys[:length]):
                return f"{self.path}:{line}"
        return str(self.path)

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        """Map each key's path to its line.

        tomllib gives no lines; this reads headers and keys alone, which is enough for
        messages, and at worst names the line of a table instead of a key in it.
        """
        lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, text in enumerate(self._text.splitlines(), start=1):
            if header := _HEADER.match(text):
                path = table = _key_path(header[1])
            elif key := _KEY.match(text):
                path = table + _key_path(key[1])
            else:
                continue
            for length in range(1, len(path) + 1):
                lines.setdefault(path[:length], number)
        return lines


def _key_path(dotted: str) -> tuple[str, ...]:
    import tomllib

    try:
        value: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return (dotted.strip(),)
    path: tuple[str, ...] = ()
    while isinstance(value, dict):
        ((key, value),) = value.items()
        path = (*path, key)
    return path


def quoted(name: str) -> str:
    """Return a name as a table's header writes it, on one line."""
    if _BARE.fullmatch(name):
        return name
    return '"' + one_line(name.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def read_small(path: Path, *, limit: int) -> str:
    """Return the text of a file or a pipe without waiting for ever: a pipe may have no writer.

    Whatever is wrong is an OSError whose `strerror` says it, and nothing that is in the file.
    """
    end = time.monotonic() + PATIENCE
    found = bytearray()
    try:
        with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
            waiting = select.poll()
            waiting.register(file, select.POLLIN)
            while len(found) <= limit:
                left = end - time.monotonic()
                if left <= 0 or not waiting.poll(left * 1000):
                    reason = "it is a pipe that no process writes to, or that none closes"
                    raise OSError(errno.ETIMEDOUT, reason)
                part = file.read(1 << 16)
                if part == b"":
                    return found.decode()
                found += part or b""  # None: another process took it
    except ValueError as error:  # a NUL in its name is one, too
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise OSError(errno.EINVAL, reason) from None
    raise OSError(errno.EFBIG, f"it holds more than {limit:,} bytes")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for a writer
