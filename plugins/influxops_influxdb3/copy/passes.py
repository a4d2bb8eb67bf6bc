"""The passes of a copy: each slice of each table is copied, compared, or merged.

What was copied is held against what was read of the source once it is durable.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from influxops.plugin import TargetError, one_line, pluralize
from influxops_influxdb3.copy.backfill import Backfill
from influxops_influxdb3.copy.interface import Watch, Writer, digest_of, oldest_kept
from influxops_influxdb3.copy.line_protocol import Digest, LineEncoder, Table
from influxops_influxdb3.copy.progress import CopyState
from influxops_influxdb3.copy.slices import slices
from influxops_influxdb3.copy.tables import TableSync, UnreadableTables
from influxops_influxdb3.queries import ALL, FIRST, Span

#: Seconds before what differs is read again: rows that were overwritten while they are buffered
#: read as the old ones now and then.
_REREAD_AFTER = (0.2, 1.0)


class Restarted(TargetError):
    """The server that gets the copy was restarted: what was not durable may be lost."""


class _Check(Struct, frozen=True):
    """What was copied, to be read from the copy when it is durable."""

    table: Table
    span: Span
    digest: Digest


class Passes:
    """What the passes of one copy do; `counts_only` where the copy is compared by counts."""

    def __init__(
        self, tables: TableSync, writer: Writer, watch: Watch, *, counts_only: bool
    ) -> None:
        self._tables, self._writer, self._watch = tables, writer, watch
        self._source, self._copy, self._context = tables.source, tables.copy, tables.context
        self._counts_only = counts_only
        self._checks: list[_Check] = []
        #: The slices whose rows are on their way.
        self._opened: dict[Span, tuple[LineEncoder, Iterator[list[bytes]]]] = {}
        #: How far copying is.
        self.state = CopyState("", "", 0)
        #: For how many nanoseconds rows stay on both sides.
        self.retention: int | None = None
        self.unread = UnreadableTables(self._skip)
        self.table_read = ""  # the table that is read
        self.rows_by_table: Counter[str] = Counter()

    def _skip(self, name: str) -> None:
        if name not in self.state.unread:
            self.state = replace(self.state, unread=(*self.state.unread, name))

    def _count(self, **counts: int) -> None:
        self.state = self.state.counted(**counts)

    def begin(self, durable: CopyState) -> None:
        """Begin where copying is durable, and forget what came after that."""
        self.state = durable
        self._writer.reset()
        self._checks.clear()

    def run(self) -> Iterator[bool | None]:
        """Go through all tables; yield True where a slice of them is finished."""
        if not self._tables.are_ready:
            self._tables.read()
            for _ in self._tables.make():
                yield None
        self._tables.are_ready = False
        for name, reason in self._tables.uncopyable.items():
            self.unread.add(name, reason)
        at = self.state
        start = at.settled if at.partial else FIRST
        other = None if at.copies_all else self._copy
        for name in self._tables.series_keys:
            if name < at.table or (at.partial and at.files and self._watch.is_older(name, start)):
                continue
            self.table_read = name
            with self.unread.table(name):
                table = self._source.table(name)
                begin = max(start, at.time) if name == at.table else start
                if self._has_as_many(table, Span(begin, at.settled)):
                    begin = at.settled
                    self.state = replace(self.state, table=name, time=begin)
                    yield True
                spans = slices(self._source, name, begin, other=other)
                for span in self._ahead(table, spans) if at.copies_all and not at.files else spans:
                    yield from self._slice(table, span)
                    self.state = replace(self.state, table=name, time=span.end)
                    yield True
        for name in self._tables.only_in_copy if at.merge and at.number == 1 else ():
            if self._copy.table(name).may_have_rows:
                self._count(kept=self._copy.count(name, ALL, self._copy.files(name)))
            yield None

    def checkpoint(self) -> Iterator[None]:
        """Make all that was written durable, and verify that it exists."""
        if not self._writer.barrier():
            raise Restarted(
                f"another process of {self._copy.place} answers than before",
                hint="do several nodes answer there? Each has a log of its own; name one of them",
            )
        for check in self._checks:
            if check.span.start < oldest_kept(self._source, self.retention, share=2):
                # It took so long that rows may have expired; the next pass tells.
                self._count(new=int(self.state.number == 1))
                continue
            self.table_read = check.table.name
            with self.unread.table(check.table.name):
                yield from self._verify(check)
        self._checks.clear()

    def _verify(self, check: _Check) -> Iterator[None]:
        """Read the copy, and both sides again if they differ; refuse what the source has not.

        It counts what is to be copied again, and what of that was lost.
        """
        ours, table, span = check.digest, check.table, check.span
        theirs = yield from digest_of(self._copy, self._copy.like(table), span)
        for seconds in _REREAD_AFTER:
            if ours == theirs or theirs.count < ours.count:
                break
            self._context.sleep(seconds)
            ours = yield from digest_of(self._source, table, span)
            theirs = yield from digest_of(
                self._copy, self._copy.table(table.name, refresh=True), span
            )
        lost = ours.count - theirs.count
        if ours == theirs:
            return
        if ours != check.digest:
            self._count(new=1)  # the source has changed since: the next pass copies that
        elif lost > 0:
            self._count(new=lost, lost=lost)
        else:
            what = f"{pluralize(-lost, 'row')} more" if lost else "other values"
            raise TargetError(
                f"{self._copy.name} holds {what} than {self._source.name} in the table "
                f"{one_line(table.name)} ({span.condition})",
                hint="does a client write to the copy already, or is there an older copy? Look at "
                "it; drop that database only if you are sure, and start again",
            )

    # Slices ----------------------------------------------------------------------------------

    def _has_as_many(self, table: Table, span: Span) -> bool:
        """Return whether a copy that is compared by counts has all rows of a range of time."""
        if not self._counts_only or self.retention is not None or span.start >= span.end:
            return False
        name = table.name
        ours = self._source.count(name, span, self._source.files(name))
        if ours != self._copy.count(name, span) or self._copy.like(table).columns != table.columns:
            return False
        self._context.on_progress(ours)
        self._count(seen=ours)
        return True

    def _ahead(self, table: Table, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield slices; the rows of the next one are on their way while one is copied."""
        last = None
        try:
            for span in itertools.chain(spans, [None]):
                if span is not None:
                    self._opened[span] = self._open(table, span)
                if last is not None:
                    yield last
                last = span
        finally:
            self._opened.clear()

    def _open(self, table: Table, span: Span) -> tuple[LineEncoder, Iterator[list[bytes]]]:
        encoder = LineEncoder(table)
        return encoder, self._source.lines(encoder, span)

    def _slice(self, table: Table, span: Span) -> Iterator[None]:
        """Do with one slice what the pass is for."""
        state = self.state
        if state.copies_all:
            yield from self._copy_first(table, span)
            return
        # An old copy may lack all of it.
        is_old = state.merge and state.number == 1
        oldest = FIRST if is_old else oldest_kept(self._source, self.retention)
        if span.start < oldest:
            gone = Span(span.start, min(span.end, oldest))
            rows = self._source.count(table.name, gone)
            self._count(expiring=rows, seen=rows)
            yield None
        start = max(span.start, oldest)
        if start >= span.end:
            return
        if state.missing:
            yield from self._copy_missing(table, Span(start, span.end))
            return
        is_unchanged = state.partial and state.files
        middle = span.end if is_unchanged else min(max(start, state.settled), span.end)
        for part in (Span(start, middle), Span(middle, span.end)):
            if part.start >= part.end:
                continue
            if state.merge:
                written = yield from self._copy_missing(table, part)
                self._count(new=written if part.start < state.settled else 0)
            elif part.end == middle:
                yield from self._compare(table, part)
            else:
                rows = yield from self._copy_rows(table, part)
                self._count(seen=rows)

    def _copy_first(self, table: Table, span: Span) -> Iterator[None]:
        """Copy a slice for the first time; where no pass may follow, what stays is read back."""
        if not self.state.files:
            rows = yield from self._copy_rows(table, span, is_checked=False)
            self._count(seen=rows)
            return
        oldest = oldest_kept(self._source, self.retention)
        middle = min(max(span.start, oldest), span.end)
        if span.start < middle:
            gone = Span(span.start, middle)
            rows = yield from self._copy_rows(table, gone, is_checked=False)
            self._count(seen=rows, expiring=rows)
        if middle < span.end:
            rows = yield from self._copy_rows(table, Span(middle, span.end))
            self._count(seen=rows)

    def _copy_rows(
        self, table: Table, span: Span, *, is_checked: bool = True
    ) -> Generator[None, None, int]:
        """Copy a slice, and return the number of rows that were read."""
        digest = Digest()
        opened = self._opened.pop(span, None)
        encoder, rows = opened or self._open(table, span)
        self._writer.begin(table, span)
        for lines in rows:
            digest.add(lines)
            self._writer.add(lines)
            self._context.on_progress(len(lines))
            yield None
        self._writer.end(digest)
        self._count(empty=encoder.empty)
        if is_checked:
            self._checks.append(_Check(table, span, digest))
        return digest.count

    def _compare(self, table: Table, span: Span) -> Iterator[None]:
        """Compare a slice, and copy it again where it differs."""
        like = self._copy.like(table)
        if self._counts_only and like.columns == table.columns:
            ours = Digest(self._source.count(table.name, span))
            theirs = Digest(self._copy.count(table.name, span))
        else:
            ours = yield from digest_of(self._source, table, span)
            theirs = yield from digest_of(self._copy, like, span)
        self._context.on_progress(ours.count)
        self._count(seen=ours.count)
        if ours != theirs:
            self._count(new=max(ours.count - theirs.count, 1))
            yield from self._copy_rows(table, span)

    def _copy_missing(self, table: Table, span: Span) -> Generator[None, None, int]:
        """Copy what is missing of a slice, and return the number of rows."""
        state, like = self.state, self._copy.like(table)
        backfill = Backfill(self._source, self._copy, self._writer, table, like, state.merge)
        before = self._writer.added
        yield from backfill.copy(span)
        written = self._writer.added - before
        self.rows_by_table[table.name] += written
        self._context.on_progress(backfill.seen)
        self._count(empty=backfill.empty, seen=backfill.seen)
        if state.number == 1:  # later ones tell what has changed since
            self._count(conflicts=backfill.conflicts, kept=backfill.only_in_copy * state.merge)
            examples = (*state.examples, *backfill.examples)[: Backfill.EXAMPLES]
            self.state = replace(self.state, examples=examples)
        return written
