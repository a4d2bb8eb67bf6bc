"""The files of an export as one end of a copy: what is exported to, and imported from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from influxops.plugin import (
    CopyProgress,
    ExportError,
    Manifest,
    Part,
    RunContext,
    TableFiles,
    file_name,
    one_line,
    pluralize,
    read_manifest,
    sync_folder,
    write_manifest,
    writing,
)
from influxops_influxdb3.copy.interface import Extent
from influxops_influxdb3.copy.line_protocol import TAG, Digest, LineEncoder, Parts, Table
from influxops_influxdb3.copy.part_files import (
    FileWriter,
    PartWriter,
    check_part,
    lines_of,
    parts_of,
    time_of,
)
from influxops_influxdb3.inspect.parquet_files import File
from influxops_influxdb3.queries import FIRST, LAST, Span

_SECOND = 1_000_000_000


class FileEndpoint:
    """The files of one export; they are written by `FileWriter` alone."""

    #: Any number of files can be read at once.
    file_limit = 2**31

    def __init__(self, folder: Path, manifest: Manifest, context: RunContext) -> None:
        self.folder, self.manifest, self._context = folder, manifest, context
        self.database, self.uuid = manifest.database, f"export {manifest.id}"
        self._ended = {table.name: table for table in manifest.tables}
        self._obsolete: list[str] = []  # files that the next manifest does not name
        self._number = 0
        self._writer: FileWriter | None = None
        #: Whether what is written is there for the first time.
        self.is_first = True
        self.late = manifest.late
        # Whole it stays: bringing it up to date takes no row away, and may not come to its end.
        self._whole = manifest.ended

    @property
    def name(self) -> str:
        """What it is and where it is."""
        return f"the export in {self.folder}"

    @property
    def _tables(self) -> dict[str, TableFiles]:
        if self._writer is not None:
            self._writer.settle()
        return self._ended

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    # As an end of a copy ---------------------------------------------------------------------

    def handshake(self) -> None:
        """Do nothing: nobody else writes to it."""

    def now(self) -> int:
        """Return the time."""
        return time.time_ns()

    def retention(self) -> int | None:
        """Return the retention period that its rows had; a destination keeps them for ever."""
        period = self.manifest.retention
        return None if period is None or not self.manifest.ended else period * _SECOND

    def tables(self) -> dict[str, str]:
        """Return the series key of each table, by name."""
        return {
            name: ", ".join(table.tags) if table.order_is_known else "?"
            for name, table in sorted(self._tables.items())
        }

    def table(self, name: str, *, refresh: bool = False) -> Table:
        """Return the columns of a table."""
        found = self._tables.get(name)
        if found is None:
            return Table(name, {}, has_time=False)
        columns = dict.fromkeys(found.tags, TAG) | dict(found.fields)
        return Table(name, dict(sorted(columns.items())))

    def like(self, table: Table) -> Table:
        """Return its own table of that name."""
        return self.table(table.name)

    def make_table(self, table: Table, tags: Sequence[str] | None) -> None:
        """Note a table; its rows may bring further columns."""
        known = self._tables.get(table.name) or TableFiles(table.name)
        ordered = tags if tags is not None else table.tags
        self._tables[table.name] = replace(
            known, tags=(*ordered,), fields=table.fields, order_is_known=tags is not None
        )

    def files(self, table: str) -> list[File]:
        """Return the files of a table."""
        return [File(part.first, part.last, part.rows) for part in self._parts(table)]

    def fingerprint(self, tables: Iterable[str]) -> None:
        """Return nothing: what is read of them is what was written."""

    def known_count(self, table: str) -> int | None:
        """Return nothing: what it is asked costs little."""

    def extent(self, table: str, span: Span) -> Extent:
        """Count the rows of a table in a range of time."""
        count, first, last = 0, LAST, FIRST
        for part in self._parts(table, span):
            if _is_within(part, span):
                found = Extent(part.rows, part.first, part.last)
            else:
                times = [time_of(line) for lines in self._within(part, span) for line in lines]
                found = Extent(len(times), min(times), max(times)) if times else Extent()
            if found.count:
                count += found.count
                first, last = min(first, found.first), max(last, found.last)
        return Extent(count, first, last) if count else Extent()

    def count(self, table: str, span: Span, files: Sequence[File] | None = None) -> int:
        """Count the rows of a table in a range of time."""
        return self.extent(table, span).count

    def total(self, table: str, *, exactly: bool = True) -> tuple[int, bool]:
        """Return how many rows a table has."""
        return sum(part.rows for part in self._parts(table)), False

    def lines(self, encoder: LineEncoder, span: Span) -> Iterator[list[bytes]]:
        """Yield the lines of the rows of a table in a range of time, some at a time."""
        for part in self._parts(encoder.table.name, span):
            yield from self._within(part, span)

    def parts(self, encoder: LineEncoder, span: Span) -> Iterator[list[Parts]]:
        """Yield the same as parts of lines."""
        return ([*map(parts_of, lines)] for lines in self.lines(encoder, span))

    def writer(self) -> FileWriter:
        """Return what writes to it."""
        self._writer = FileWriter(self.new_part, self.replace)
        return self._writer

    # Files -----------------------------------------------------------------------------------

    def check(self) -> Iterator[int]:
        """Hold each file against the manifest; yield how many rows it has."""
        named = {part.file for table in self._tables.values() for part in table.parts}
        if extra := sorted(self._part_files() - named):
            raise ExportError(
                f"{self.folder / extra[0]} is in no manifest",
                hint="move it away if it is of another export",
            )
        for table in self._tables.values():
            for part in table.parts:
                self._context.check()
                check_part(self.folder, part)
                yield part.rows

    def _part_files(self) -> set[str]:
        names = [path.name for path in self.folder.iterdir()]
        return {name for name in names if name.endswith((".lp.zst", ".lp.gz"))}

    def _parts(self, table: str, span: Span | None = None) -> list[Part]:
        found = self._tables.get(table)
        parts = found.parts if found is not None else ()
        return [p for p in parts if span is None or (p.first < span.end and p.last >= span.start)]

    def _within(self, part: Part, span: Span) -> Iterator[list[bytes]]:
        """Yield the rows of a file that are in a range of time."""
        for lines in lines_of(self.folder, part):
            self._context.check()
            if not _is_within(part, span):
                lines = [line for line in lines if span.start <= time_of(line) < span.end]
            yield lines

    def new_part(self, table: str) -> PartWriter:
        """Begin a file with a name that no other one of the export has."""
        taken = {part.file.partition(".lp.")[0] for part in self._parts(table)}
        stem = file_name(table)
        while True:
            self._number += 1
            name = f"{stem}-{self._number}"
            if name not in taken and not any(
                (self.folder / f"{name}.lp.{kind}").exists() for kind in ("zst", "gz")
            ):
                return PartWriter(self.folder, name)

    def replace(self, table: Table, span: Span, new: Part | None) -> None:
        """Put a file in the place of all rows of a table in a range of time."""
        known = self._tables.get(table.name) or TableFiles(table.name)
        touched, before = self._parts(table.name, span), self.count(table.name, span)
        rows = new.rows if new is not None else 0
        if rows < before:
            if new is not None:
                (self.folder / new.file).unlink()
            raise self._lost(table.name, before - rows)
        if not self.is_first:
            self.late += rows - before
        kept = [part for part in known.parts if part not in touched]
        if len(touched) == 1 and new is not None and _is_same(touched[0], new):
            (self.folder / new.file).unlink()
            new, touched = touched[0], []
        for part in touched:
            for rest in (Span(FIRST, span.start), Span(span.end, LAST + 1)):
                kept += self._cut(table, part, rest)
            self._obsolete.append(part.file)
        parts = sorted([*kept, *([new] if new else [])], key=lambda part: part.first)
        tags = (*known.tags, *(tag for tag in table.tags if tag not in known.tags))
        fields = {**known.fields, **table.fields}
        self._tables[table.name] = replace(known, tags=tags, fields=fields, parts=(*parts,))

    def refuse_lost(self, tables: Collection[str]) -> None:
        """Raise an ExportError where it has rows of other tables than these."""
        for name, table in self._tables.items():
            if table.rows and name not in tables:
                raise self._lost(name, table.rows)

    def _lost(self, table: str, rows: int) -> ExportError:
        which = f"{pluralize(rows, 'row')} of the table {one_line(table)}"
        return ExportError(
            f"{self.name} has {which} that the database lacks",
            hint="export to another folder; find out why they are gone before you delete it",
        )

    def _cut(self, table: Table, part: Part, span: Span) -> list[Part]:
        """Return a file with those rows of another one that are in a range of time."""
        if part.first >= span.end or part.last < span.start:
            return []
        writer, digest = self.new_part(table.name), Digest()
        try:
            for lines in self._within(part, span):
                digest.add(lines)
                writer.add(lines)
            return [writer.close(digest)]
        except BaseException:
            writer.abort()
            raise

    def save(self, progress: CopyProgress) -> None:
        """Make durable what was exported: the folder first, then the manifest that names it."""
        self.is_first = progress.stage == "copying"
        with writing(self.folder):
            sync_folder(self.folder)
        self.manifest = replace(
            self.manifest,
            tables=tuple(table for _, table in sorted(self._tables.items())),
            unread=dict(progress.unread),
            progress=progress.progress,
            late=self.late,
            ended=datetime.now(UTC) if progress.done else None,
        )
        self._whole = self.manifest.ended or self._whole
        write_manifest(self.folder, replace(self.manifest, ended=self._whole))
        for name in self._obsolete:
            (self.folder / name).unlink(missing_ok=True)
        self._obsolete.clear()

    def close(self) -> None:
        """Leave no file behind that was not ended: a disk that is full has room again."""
        if self._writer is not None:
            self._writer.reset()

    def clean(self) -> None:
        """Remove what a process has left that was killed: no manifest names it."""
        named = {part.file for table in self._tables.values() for part in table.parts}
        unfinished = {path.name for path in self.folder.glob(".*.new")}
        for name in (self._part_files() - named) | unfinished:
            (self.folder / name).unlink(missing_ok=True)


def _is_within(part: Part, span: Span) -> bool:
    return span.start <= part.first and part.last < span.end


def _is_same(one: Part, other: Part) -> bool:
    return (one.rows, one.digest) == (other.rows, other.digest)


@contextlib.contextmanager
def exporting(
    folder: Path, manifest: Manifest, context: RunContext
) -> Iterator[tuple[FileEndpoint, Manifest | None]]:
    """Yield the files of an export that is begun, or goes on, and the manifest that was there."""
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"another process exports to {folder}") from None
        found = read_manifest(folder)
        if found is not None and (found.tenant, found.kind) != (manifest.tenant, manifest.kind):
            raise ExportError(
                f"{folder} has the export of another tenant: {found.tenant}",
                hint="choose another folder",
            )
        begun = replace(manifest, id=secrets.token_hex(8), started=datetime.now(UTC))
        files = FileEndpoint(folder, found or begun, context)
        files.clean()
        try:
            yield files, found
        finally:
            files.close()
    finally:
        os.close(handle)
