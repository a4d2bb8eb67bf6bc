"""The parts of one stand-in, put together and taken down."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from influxops_demo.standin.catalog import Catalog
from influxops_demo.standin.journal import DataDirectoryError, Journal
from influxops_demo.standin.query import QueryEngine
from influxops_demo.standin.settings import StandInSettings
from influxops_demo.standin.wal import WriteAheadLog


class Engine:
    """Catalog, write-ahead log and query engine over one data directory.

    Args:
        settings: how the stand-in behaves.

    Raises:
        DataDirectoryError: another process has the directory, or what is in it is damaged.
        OSError: the directory cannot be made or read.
    """

    def __init__(self, settings: StandInSettings) -> None:
        self.settings = settings
        self._lock: int | None = None
        if settings.data_dir is not None:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(settings.data_dir)
        self.catalog = Catalog(self._journal("catalog.jsonl"), settings.limits)
        tables = {
            (database.id, table)
            for database in self.catalog.databases.values()
            for table in database.tables
        }
        interval = settings.wal_flush_interval
        self.wal = WriteAheadLog(self._journal("wal.jsonl"), interval, tables)
        self.queries = QueryEngine(self.catalog, self.wal.rows, with_auth=settings.with_auth)

    def close(self) -> None:
        """Flushes what is buffered and lets go of the directory."""
        self.wal.close()
        self.catalog.close()
        if self._lock is not None:
            os.close(self._lock)

    def _journal(self, name: str) -> Journal:
        directory = self.settings.data_dir
        return Journal(None if directory is None else directory / name)


def _lock(directory: Path) -> int:
    """Takes the directory for this process; the system frees it when the process is gone."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DataDirectoryError(
            f"another stand-in uses {directory}; end that one, or choose another directory"
        ) from None
    return descriptor
