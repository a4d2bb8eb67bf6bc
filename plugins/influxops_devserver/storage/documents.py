"""What outlives a stand-in that is killed: one table of documents in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from msgspec import DecodeError, msgpack

_T = TypeVar("_T")
Change = tuple[str, str, Any]
"""Kind and id of a document, and the document itself; None deletes it."""


class DataDirectoryError(Exception):
    """A data directory that cannot be used; the message says why and what to do."""


class DocumentStore:
    """Keeps documents by kind and id, in a file that one process uses at a time.

    What was saved outlives the process, however that is killed. It is not synced to the disk: a
    machine that loses power is not what the stand-in is tested against. Without a directory nothing
    is kept.
    """

    def __init__(self, directory: Path | None) -> None:
        #: Whether anything is kept.
        self.keeps = directory is not None
        self._path: Path | str = ":memory:"
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._path = directory / "stand-in.sqlite"
        self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        try:
            self._connection.executescript(
                "PRAGMA locking_mode = EXCLUSIVE;"
                "PRAGMA journal_mode = WAL;"
                "PRAGMA synchronous = OFF;"
                "BEGIN IMMEDIATE;"
                "CREATE TABLE IF NOT EXISTS documents"
                " (kind TEXT, id TEXT, document BLOB NOT NULL, PRIMARY KEY (kind, id));"
                "COMMIT;"
            )
        except sqlite3.Error as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise DataDirectoryError(
                    f"another stand-in uses {directory}; end that one, or choose another directory"
                ) from None
            raise self._unusable(error) from None

    def load(self, kind: str, shape: type[_T]) -> Iterator[_T]:
        """Yield the documents of a kind, in the order in which they were first saved."""
        decode = msgpack.Decoder(shape).decode
        found = self._connection.execute(
            "SELECT document FROM documents WHERE kind = ? ORDER BY rowid", (kind,)
        )
        try:
            yield from (decode(document) for (document,) in found)
        except (TypeError, DecodeError) as error:
            raise self._unusable(error) from None

    def save(self, changes: Iterable[Change]) -> None:
        """Save documents, all of them or none."""
        saved, deleted = [], []
        for kind, id_, document in changes:
            if document is None:
                deleted.append((kind, id_))
            else:
                saved.append((kind, id_, msgpack.encode(document)))
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO documents VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET document = excluded.document",
                saved,
            )
            self._connection.executemany("DELETE FROM documents WHERE kind = ? AND id = ?", deleted)

    def _unusable(self, error: Exception) -> DataDirectoryError:
        return DataDirectoryError(f"{self._path}: {error}; move the directory away")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
