"""Copies only rows that the copy lacks: once the tenant writes to it, what it has is newer.

A row is known by its table, its tags and its time. Where both sides have it, a field that only the
source has is added: as the server would have merged the two writes. A field that both have with
different values is kept as the copy has it: a conflict, which is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, ClassVar

from influxops.plugin import one_line
from influxops_influxdb3.copy_lines import Lines, Span, Table, format_time
from influxops_influxdb3.copy_sides import Side, Writer
from influxops_influxdb3.copy_slices import MOST_ROWS

#: Rows that differ and are held in memory at once.
_MOST_DIFFERENT = 5_000

_Parts = tuple[str, dict[str, str], int]


class Missing:
    """The rows of one table that the copy lacks.

    Args:
        source: The database that is copied.
        copy: The database that gets it.
        writer: Writes to the copy.
        table: The table as the source has it.
        copied: The table as the copy has it.
    """

    #: So many conflicts are told of.
    EXAMPLES: ClassVar[int] = 5

    def __init__(
        self, source: Side, copy: Side, writer: Writer, table: Table, copied: Table
    ) -> None:
        self._source = source
        self._copy = copy
        self._writer = writer
        self._table = table
        self._copied = copied
        self._ours = Lines(table)
        self._theirs = Lines(copied)
        self.empty = 0
        self.conflicts = 0
        self.examples: list[str] = []

    def copy(self, span: Span, rows: int) -> Iterator[None]:
        """Copy what is missing in a range of time.

        Args:
            span: The range.
            rows: About how many rows the source has there. Where these are too many to remember,
                because they all have one time, they are gone through in several rounds.
        """
        rounds = -(-rows // MOST_ROWS) or 1
        if rounds > 1:
            # Most often there is nothing to do, which is found out by reading both sides once.
            ours = yield from self._source.digest(self._table, span)
            theirs = yield from self._copy.digest(self._copied, span)
            if ours == theirs:
                return
        for number in range(rounds):
            known: dict[bytes, bytes] = {}
            if self._copied.columns:
                for found in self._copy.rows(self._copied, span):
                    for row in found:
                        key, fields, time = self._theirs.parts(row)
                        name = _hash(f"{key} {time}")
                        if _share(name) % rounds == number:
                            known[name] = _hash(",".join(fields.values()))
                    yield None
            different: dict[bytes, _Parts] = {}
            for found in self._source.rows(self._table, span):
                self._look(found, known, different, rounds, number)
                yield None
                if len(different) >= _MOST_DIFFERENT:
                    yield from self._merge(span, different)
            yield from self._merge(span, different)

    def _look(
        self,
        rows: Iterable[Mapping[str, Any]],
        known: Mapping[bytes, bytes],
        different: dict[bytes, _Parts],
        rounds: int,
        number: int,
    ) -> None:
        """Write the rows whose key is not known; remember those that differ."""
        lines = []
        for row in rows:
            parts = key, fields, time = self._ours.parts(row)
            name = _hash(f"{key} {time}")
            if _share(name) % rounds != number:
                continue
            values = ",".join(fields.values())
            if not fields:
                self.empty += 1
            elif name not in known:
                lines.append(f"{key} {values} {time}".encode())
            elif known[name] != _hash(values):
                different[name] = parts
        self._writer.add(lines)

    def _merge(self, span: Span, different: dict[bytes, _Parts]) -> Iterator[None]:
        """Add the fields that the copy lacks of rows that both have; count the conflicts."""
        if not different:
            return
        for found in self._copy.rows(self._copied, span):
            lines = []
            for row in found:
                key, theirs, time = self._theirs.parts(row)
                parts = different.pop(_hash(f"{key} {time}"), None)
                if parts is None:
                    continue
                _, ours, _ = parts
                lacking = [text for name, text in ours.items() if name not in theirs]
                if lacking:
                    lines.append(f"{key} {','.join(lacking)} {time}".encode())
                if any(theirs.get(name, text) != text for name, text in ours.items()):
                    self._conflict(key, time)
            self._writer.add(lines)
            yield None
        different.clear()

    def _conflict(self, key: str, time: int) -> None:
        self.conflicts += 1
        if len(self.examples) < self.EXAMPLES:
            self.examples.append(f"{one_line(key)} at {format_time(time)}")


def _share(name: bytes) -> int:
    return int.from_bytes(name[:4])


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
