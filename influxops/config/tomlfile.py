"""Reading a TOML file so that an error can name the line of a key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from influxops.errors import ConfigError

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_.-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""")


class TomlFile:
    """A TOML file: its data, and where each key stands.

    Args:
        path: The file.

    Raises:
        ConfigError: When it cannot be read, or is no TOML; the message names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise ConfigError(
                f"the configuration file {path} is not there",
                hint="check the path, or let `influxops init` write one",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None
        try:
            self.data: Mapping[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            reason, line = _split(str(error))
            raise ConfigError(
                f"this is no TOML: {reason}",
                where=f"{path}:{line}" if line else str(path),
                hint="text wants quotes, for instance",
            ) from None

    def where(self, *keys: str) -> str:
        """Give `file:line` of a key, or of the nearest table around it that is found."""
        lines = self._lines()
        for length in range(len(keys), 0, -1):
            line = lines.get(tuple(keys[:length]))
            if line is not None:
                return f"{self.path}:{line}"
        return str(self.path)

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


def _split(error: str) -> tuple[str, str]:
    match = re.search(r"\s*\(at line (\d+), column \d+\)$", error)
    return (error[: match.start()], match[1]) if match else (error, "")


def _path(dotted: str) -> tuple[str, ...]:
    try:
        value: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return (dotted.strip(),)
    path: Sequence[str] = ()
    while isinstance(value, dict):
        ((key, value),) = value.items()
        path = (*path, key)
    return tuple(path)
