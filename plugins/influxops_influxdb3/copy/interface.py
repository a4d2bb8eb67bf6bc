"""The two ends of a copy, whatever they are: a database on a server, or the files of an export."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

from msgspec import Struct

from influxops.plugin import TargetError
from influxops_influxdb3.copy.line_protocol import Digest, LineEncoder, Parts, Table
from influxops_influxdb3.inspect.parquet_files import File
from influxops_influxdb3.queries import FIRST, Span

#: What a retention period is about to take away is not compared: no more than half of it.
_EXPIRING = 3600 * 1_000_000_000


class Extent(Struct, frozen=True):
    """How many rows there are, and the first and the last time of them; zeros without any."""

    count: int = 0
    first: int = 0
    last: int = 0


class Fingerprint(Struct, frozen=True):
    """What changes with the files of tables, and with the number of their rows and the newest one.

    Where rows expire as fast as others come, their number is the same.
    """

    files: str
    extents: Mapping[str, Extent]  # by name; of a table that cannot be read there is none

    @property
    def text(self) -> str:
        """What is kept of it, to be compared with what it is later."""
        rows = sorted((name, each.count, each.last) for name, each in self.extents.items())
        return f"{self.files} {blake2b(repr(rows).encode(), digest_size=16).hexdigest()}"


class Writer(Protocol):
    """Writes lines to one end, and makes them durable."""

    rows: int
    size: int  # the bytes of them

    @property
    def added(self) -> int:
        """How many rows were written, or are still to be."""

    def begin(self, table: Table, span: Span) -> None:
        """Say which slice the next lines are all the rows of."""

    def add(self, lines: Iterable[bytes]) -> None:
        """Write lines, sooner or later."""

    def end(self, digest: Digest) -> None:
        """Say that these were all lines of the slice."""

    def barrier(self) -> bool:
        """Write what is left and wait until all is durable; False where some may be lost."""

    def reset(self) -> None:
        """Forget what is left."""

    def leave(self) -> bool:
        """Wait for what is on its way; return whether that was given up, and may still arrive."""


class Endpoint(Protocol):
    """One end of a copy. `CopyEndpoint` is a database, `FileEndpoint` the files of an export."""

    database: str
    uuid: str

    @property
    def name(self) -> str:
        """What it is and where it is, for people."""

    @property
    def place(self) -> str:
        """Where it is: a URL or a folder."""

    @property
    def file_limit(self) -> int:
        """How many of its files one question may touch."""

    def handshake(self) -> None:
        """Learn what is there."""

    def now(self) -> int:
        """Return the time by its clock."""

    def retention(self) -> int | None:
        """Return the retention period in nanoseconds, None where data is kept for ever."""

    def tables(self) -> dict[str, str]:
        """Return the series key of each table, by name."""

    def table(self, name: str, *, refresh: bool = False) -> Table:
        """Return the columns of a table."""

    def like(self, table: Table) -> Table:
        """Return this end's own table of that name."""

    def make_table(self, table: Table, tags: Sequence[str] | None) -> None:
        """Make a table, with its tags in this order; None where that is not known."""

    def files(self, table: str) -> Sequence[File] | None:
        """Return the files of a table; None where they are not known."""

    def fingerprint(self, tables: Iterable[str]) -> Fingerprint | None:
        """Return what changes with the files and rows of tables; None where it is not known."""

    def known_count(self, table: str) -> int | None:
        """Return how many rows a table has, if that is known without a question of its own."""

    def extent(self, table: str, span: Span) -> Extent:
        """Count the rows of a table in a range of time that is asked about at once."""

    def count(self, table: str, span: Span, files: Sequence[File] | None = None) -> int:
        """Count the rows of a table in a range of time."""

    def total(self, table: str, *, exactly: bool = True) -> tuple[int, bool]:
        """Return how many rows a table has, or at most has."""

    def lines(self, encoder: LineEncoder, span: Span) -> Iterator[list[bytes]]:
        """Yield the lines of the rows of a table in a range of time, some at a time."""

    def parts(self, encoder: LineEncoder, span: Span) -> Iterator[list[Parts]]:
        """Yield the same as parts of lines."""

    def writer(self) -> Writer:
        """Return what writes to it."""


class Watch:
    """What a source that nobody writes to was when it was last looked at."""

    def __init__(self, source: Endpoint) -> None:
        self._source = source
        self._at = 0
        self._extents: Mapping[str, Extent] | None = None

    def look(self, tables: Iterable[str]) -> str:
        """Return what changes with its files and rows; empty where that is not known."""
        self._at, found = self._source.now(), self._source.fingerprint(tables)
        self._extents = found.extents if found else None
        return found.text if found else ""

    @property
    def rows(self) -> int:
        """How many rows it had."""
        return sum(extent.count for extent in (self._extents or {}).values())

    @property
    def quiet(self) -> float | None:
        """For how many seconds nothing was written, by the times of the rows, if that is known."""
        if self._extents is None:
            return None
        last = max(
            (extent.last for extent in self._extents.values() if extent.count), default=FIRST
        )
        return (self._at - last) / 1e9 if last <= self._at else None

    def is_older(self, table: str, time: int) -> bool:
        """Return whether all rows of a table are known to be older than that."""
        extent = (self._extents or {}).get(table)
        return extent is not None and (not extent.count or extent.last < time)


def shared_retention(source: Endpoint, copy: Endpoint, *, may_be_shorter: bool) -> int | None:
    """Return for how many nanoseconds rows stay on both sides; refuse one that loses some."""
    ours, theirs = source.retention(), copy.retention()
    shorter = theirs is not None and (ours is None or theirs < ours)
    if shorter and not may_be_shorter:
        raise TargetError(
            f"{copy.name} has a shorter retention period than {source.name}: it would lose rows",
            hint="set the retention period of the copy first",
        )
    return min((p for p in (ours, theirs) if p is not None), default=None)


def oldest_kept(side: Endpoint, retention: int | None, *, share: int = 1) -> int:
    """Return the time from which on rows stay long enough to be compared, or a `share` of that."""
    if retention is None:
        return FIRST
    return max(side.now() - retention + min(_EXPIRING, retention // 2) // share, FIRST)


def digest_of(side: Endpoint, table: Table, span: Span) -> Generator[None, None, Digest]:
    """Return the digest of the rows of a table in a range of time; none without columns."""
    digest = Digest()
    for lines in side.lines(LineEncoder(table), span):
        digest.add(lines)
        yield
    return digest
