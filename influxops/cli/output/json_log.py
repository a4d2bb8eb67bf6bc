"""The log as JSON records, one a line; imported only where `--log-format json` asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

LOGGER = "influxops"


class Records(JsonFormatter):
    """Writes what is logged, and what is said on standard error, as one JSON object."""

    def __init__(self, redact: Callable[[str], str] = str, run: str = "") -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"run": run} if run else {},
        )
        self._redact = redact

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Give the time in RFC 3339, in UTC."""
        when = datetime.fromtimestamp(record.created, UTC)
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Take secrets out before encoding, which may write their characters in another way."""
        return {
            key: self._redact(value) if isinstance(value, str) else value
            for key, value in log_data.items()
        }

    def line(self, level: int, text: str) -> str:
        """Give the record of a text that no logger was given."""
        return self.format(logging.LogRecord(LOGGER, level, "", 0, text, None, None))
