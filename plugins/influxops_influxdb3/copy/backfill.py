"""Copies what the copy lacks, row by row: it has rows of its own, which stay.

A row is known by its table, its tags and its time. Where both sides have it, a field that only the
source has is added: as the server would have merged the two writes. A field that both have with
different values is a conflict, which is counted. Once the tenant writes to the copy, what that has
is newer, and is kept. An old copy that the tenant goes back to gets the value of the source.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar

from influxops.plugin import one_line
from influxops_influxdb3.copy.interface import Endpoint, Writer, digest_of
from influxops_influxdb3.copy.line_protocol import LineEncoder, Parts, Table
from influxops_influxdb3.copy.slices import MAX_ROWS, probed
from influxops_influxdb3.queries import Span, format_time

#: Rows that differ and are held in memory at once.
_MAX_DIFFERENT = 5_000

#: A hash of what identifies a row, and the row.
_Named = tuple[bytes, Parts]


@dataclass
class Backfill:
    """The rows of one table that the copy lacks; `copied` is the table as the copy has it."""

    #: So many conflicts are reported as examples.
    EXAMPLES: ClassVar[int] = 5

    source: Endpoint
    target: Endpoint
    writer: Writer
    table: Table
    copied: Table
    overwrites: bool = False  # whether the source's values are the newer ones
    empty: int = 0
    seen: int = 0  # rows of the source
    conflicts: int = 0
    examples: list[str] = field(default_factory=list)
    only_in_copy: int = 0  # rows that only the copy has, all of it or some fields (`overwrites`)

    def __post_init__(self) -> None:
        self._ours, self._theirs = LineEncoder(self.table), LineEncoder(self.copied)

    def copy(self, span: Span) -> Iterator[None]:
        """Copy what is missing in a range of time.

        Where the copy has too many rows there to remember, it is divided; where these all have one
        time, they are gone through in several rounds.
        """
        if (yield from self._round(span, 1, 0)):
            return
        for part, rows in probed(self.target, self.copied.name, span):
            rounds = -(-rows // MAX_ROWS) or 1
            if rounds > 1:
                # Most often there is nothing to do, which is found out by reading both sides once.
                ours = yield from digest_of(self.source, self.table, part)
                theirs = yield from digest_of(self.target, self.copied, part)
                if ours == theirs:
                    self.seen += ours.count
                    continue
            for number in range(rounds):
                yield from self._round(part, rounds, number, is_probed=True)

    def _round(
        self, span: Span, rounds: int, number: int, *, is_probed: bool = False
    ) -> Generator[None, None, bool]:
        """Copy what is missing of a share of the rows; False: there are too many to remember."""
        known: dict[bytes, bytes] = {}
        for theirs in self._rows_of_copy(span):
            for name, (_, fields, _) in theirs:
                if _share(name) % rounds == number:
                    known[name] = _hash(",".join(fields.values()))
            if len(known) > 2 * MAX_ROWS and not is_probed:
                return False
            yield None
        different: dict[bytes, Parts] = {}
        for ours in self._rows_of_source(span):
            self.seen += 0 if number else len(ours)
            chosen = (row for row in ours if _share(row[0]) % rounds == number)
            self._compare(chosen, known, different)
            yield None
            if len(different) >= _MAX_DIFFERENT:
                yield from self._merge(span, different)
        yield from self._merge(span, different)
        self.only_in_copy += len(known)
        return True

    def _compare(
        self, rows: Iterable[_Named], known: dict[bytes, bytes], different: dict[bytes, Parts]
    ) -> None:
        """Write the rows whose key is not known; remember those that differ.

        What stays in `known` is in no row that was compared.
        """
        lines = []
        for name, parts in rows:
            key, fields, time = parts
            values = ",".join(fields.values())
            theirs = known.pop(name, None)
            if not fields:
                self.empty += 1
            elif theirs is None:
                lines.append(f"{key} {values} {time}".encode())
            elif theirs != _hash(values):
                different[name] = parts
        self.writer.add(lines)

    def _merge(self, span: Span, different: dict[bytes, Parts]) -> Iterator[None]:
        """Write the fields that the copy is to get of rows that both have; count the conflicts."""
        if not different:
            return
        differ: dict[bytes, dict[str, str]] = {}
        for found in self._rows_of_copy(span):
            lines = []
            for name, (key, theirs, time) in found:
                parts = different.pop(name, None)
                if parts is None:
                    continue
                _, ours, _ = parts
                stays = {} if self.overwrites else theirs
                lacking = [
                    text
                    for field, text in ours.items()
                    if field not in stays and theirs.get(field) != text
                ]
                if lacking:
                    lines.append(f"{key} {','.join(lacking)} {time}".encode())
                if self.overwrites:
                    self.only_in_copy += bool(theirs.keys() - ours.keys())
                    self._count_conflict(key, time, ours, theirs)
                elif _conflict(ours, theirs):
                    differ[name] = ours
            self.writer.add(lines)
            yield None
        different.clear()
        yield from self._confirm(span, differ)

    def _confirm(self, span: Span, differ: dict[bytes, dict[str, str]]) -> Iterator[None]:
        """Read rows that differ a second time, and count those that still do.

        A row that was overwritten while it is buffered reads as the old one now and then.
        """
        if not differ:
            return
        for found in self._rows_of_source(span):
            differ |= {name: fields for name, (_, fields, _) in found if name in differ}
            yield None
        for found in self._rows_of_copy(span):
            for name, (key, theirs, time) in found:
                self._count_conflict(key, time, differ.get(name, {}), theirs)
            yield None

    def _count_conflict(
        self, key: str, time: int, ours: Mapping[str, str], theirs: Mapping[str, str]
    ) -> None:
        if not _conflict(ours, theirs):
            return
        self.conflicts += 1
        if len(self.examples) < self.EXAMPLES:
            self.examples.append(f"{one_line(key)} at {format_time(time)}")

    def _rows_of_source(self, span: Span) -> Iterator[list[_Named]]:
        return map(_named, self.source.parts(self._ours, span))

    def _rows_of_copy(self, span: Span) -> Iterator[list[_Named]]:
        return map(_named, self.target.parts(self._theirs, span))


def _named(parts: Iterable[Parts]) -> list[_Named]:
    return [(_hash(f"{key} {time}"), (key, fields, time)) for key, fields, time in parts]


def _conflict(ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    return any(theirs.get(field, text) != text for field, text in ours.items())


def _share(name: bytes) -> int:
    return int.from_bytes(name[:4])


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
