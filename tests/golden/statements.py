"""The SQL statements that reached PostgreSQL, from the server's own log."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from influxops_devserver.postgres import EmbeddedPostgres

#: What makes a server log each statement, with its database and its session.
LOGGING = {"autovacuum": "off", "log_statement": "all", "log_line_prefix": "@@%d@%c@"}
_RECORD = re.compile(r"^@@(?P<db>[^@]*)@(?P<session>[^@]*)@LOG:  (?:statement|execute \S+): ")
#: Asks whether a connection still answers, after it was idle for some time: not always.
_PROBE = "SELECT 1"
#: Characters of a statement that is given in full where it was sent.
_LINE = 180
#: What differs from run to run.
_VARIES = (
    (r"\s+", " "),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"'\d{4}-\d\d-\d\d[T ][^']*'", "'TIME'"),
    (r"'(influxops )?[0-9a-f]{12}'", r"'\1RUN'"),
    (r"\( -(?=\d)", "("),  # a key of an advisory lock may be negative
    (r"= -(?=\d)", "= "),
    (r"\b\d{4,}\b", "N"),
    (r"_pg3_[0-9a-f]+", "_pg3"),
)


@dataclass
class SqlLog:
    """The log of a server with `LOGGING`, from some place on.

    Args:
        server: The server.
        database: The database whose statements count.
    """

    server: EmbeddedPostgres
    database: str
    _offset: int = 0

    def skip(self) -> None:
        """Leave out what was logged so far."""
        self._offset = self._path.stat().st_size

    def statements(self) -> list[tuple[str, str]]:
        """Return the session and the text of each statement since the last look.

        The tests' own, which do not quote the ledger's schema, are left out.
        """
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
            self._offset = file.tell()
        found: list[tuple[str, str]] = []
        for record in re.split(r"(?m)^(?=@@)", text.decode("utf-8", "replace")):
            match = _RECORD.match(record)
            if match is not None and match["db"] == self.database:
                statement = _plain(record[match.end() :])
                if statement != _PROBE and "FROM influxops." not in statement:
                    found.append((match["session"], statement))
        return found

    @property
    def _path(self) -> Path:
        return max(self.server.work_dir.glob("log.*"))


def _plain(statement: str) -> str:
    for pattern, steady in _VARIES:
        statement = re.sub(pattern, steady, statement)
    return statement.strip()


def aggregated(
    statements: list[tuple[str, str]],
    long: dict[str, str],
    *,
    counts: bool = True,
    pooled: bool = False,
) -> str:
    """Give each statement once, sorted, with how often it was sent and by how many sessions.

    Args:
        statements: What was logged.
        long: Takes the text of those that are too long for a line, by their digest.
        counts: Whether the numbers are always the same.
        pooled: Whether threads share sessions, so that their number varies.
    """
    if not statements:
        return ""
    number = Counter(_shortened(text, long) for _, text in statements)
    if not counts:
        return "".join(f"{text}\n" for text in sorted(number))
    sessions = len({session for session, _ in statements})
    lines = "".join(f"{number[text]} × {text}\n" for text in sorted(number))
    if pooled:
        return lines
    return f"{sessions} connection{'s' if sessions > 1 else ''}\n{lines}"


def in_order(statements: list[tuple[str, str]], long: dict[str, str]) -> str:
    """Give the statements of one session as they came."""
    return "".join(f"{_shortened(text, long)}\n" for _, text in statements)


def _shortened(text: str, long: dict[str, str]) -> str:
    if len(text) <= _LINE:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    long[f"#{digest}"] = text
    return f"{text[:100]}… #{digest}"
