"""A file of JSON lines that is only ever appended to, and is whole again after any crash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class DataDirectoryError(Exception):
    """A data directory that cannot be used; the message says why and what to do."""


class Journal:
    """Appends entries to a file, or drops them where there is none.

    An append is one ``write``, and what was handed to the operating system outlives the process,
    however that is killed. It is not synced to the disk: a machine that loses power is not what
    the stand-in is tested against, and a sync costs more than all the rest of a request.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._whole = 0

    def read(self) -> Iterator[Any]:
        """All entries so far. A last line that was cut short by a crash is not one of them.

        Raises:
            DataDirectoryError: a line is no JSON.
        """
        if self._path is None or not self._path.exists():
            return
        self._whole = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                self._whole += len(line)
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise DataDirectoryError(
                        f"{self._path}, line {number}: {error}; move the directory away"
                    ) from None

    def resume(self) -> None:
        """Opens the file for appending after what :meth:`read` found in it."""
        if self._path is None:
            return
        self.close()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.truncate(self._file, self._whole)

    def rewrite(self, entries: Iterable[Any]) -> None:
        """Replaces the whole file, at once or not at all, and opens it for appending."""
        if self._path is None:
            return
        self.close()
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as lines:
            lines.writelines(map(_line, entries))
            self._whole = lines.tell()
        fresh.replace(self._path)
        self.resume()

    def append(self, entries: Iterable[Any]) -> None:
        """Adds entries at the end; they outlive the process once this returns."""
        if self._file is None:
            return
        data = memoryview(b"".join(map(_line, entries)))
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Closes the file; appending after that does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _line(entry: Any) -> bytes:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
