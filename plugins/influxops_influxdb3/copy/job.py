"""Copies a database to another server while it is in use: passes, made of steps.

The first pass copies all rows. Later passes read both sides again and compare them slice by slice;
a slice that differs is copied again. Rows newer than the previous pass are not compared, since they
may still grow: they are always copied again, and the copy is verified against what was read. The
copy is done once a pass has found nothing new in what was settled. Where writers are paused, and
the source's files are the same before and after, the first pass is the only one that reads the
source: the copy is verified against what it read.

A table that cannot be read is reported, and the others are copied: the copy is not done then,
unless that table was to be left out.

A step ends with a write that waits until all before it is durable; only then is its progress
reported. A process that was killed resumes there, or earlier: each row can be copied twice.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator

from msgspec.structs import replace

from influxops.plugin import (
    CopyProgress,
    CopyRequest,
    Finding,
    Hint,
    InfluxopsError,
    RunContext,
    Severity,
    TargetAuthError,
    TargetError,
)
from influxops_influxdb3.copy.backfill import Backfill
from influxops_influxdb3.copy.interface import Endpoint, Watch, shared_retention
from influxops_influxdb3.copy.line_protocol import Digest, LineEncoder, Table
from influxops_influxdb3.copy.progress import LATE, CopyState
from influxops_influxdb3.copy.slices import SliceCheck, slices
from influxops_influxdb3.copy.tables import TableSync, UnreadableTables
from influxops_influxdb3.errors import ConnectionFailed
from influxops_influxdb3.queries import ALL, FIRST, Span

#: Seconds between two steps, and between two words about a long one.
_STEP, _REPORT_INTERVAL = 10.0, 2.0
#: What a retention period is about to take away is not compared: no more than half of it.
_EXPIRING = 3600 * 1_000_000_000
#: How often a step is done again whose answers broke off.
_ATTEMPTS = 4
#: Seconds in which a server flushes once, and twice, by default. What it acknowledged without
#: waiting until it was durable is in its answers then.
_FLUSH, _FLUSHES = 1.25, 2.0


class _Restarted(TargetError):
    """The server that gets the copy was restarted: what was not durable may be lost."""


class CopyJob:
    """One call of `influxops_copy`; findings are about `target`, which gets the copy."""

    def __init__(
        self,
        source: Endpoint,
        copy: Endpoint,
        target: str,
        order: CopyRequest,
        context: RunContext,
    ) -> None:
        self._order = order
        self._context = context
        self._source, self._copy = source, copy
        self._tables = TableSync(source, copy, context, target)
        self._writer = copy.writer()
        self._retention: int | None = None
        self._total: int | None = None
        self._at_most = False
        self._counts_only = bool(order.folder) and not (order.compare or order.merge)
        self._are_read = False  # whether tables were read, and no pass has begun since
        self._table_read = ""  # the table that is read
        self._checks: list[SliceCheck] = []
        #: The slices whose rows are on their way.
        self._opened: dict[Span, tuple[LineEncoder, Iterator[list[bytes]]]] = {}
        self._findings: list[Finding] = []
        self._unread = UnreadableTables(self._skip)
        self._rows_by_table: Counter[str] = Counter()
        self._reported_at = 0.0
        self._watch = Watch(source)
        #: How far copying is, and how much of that is durable and was checked.
        self._state = self._durable = CopyState("", "", 0)

    def run(self) -> Iterator[CopyProgress]:
        """Copy; yield how far that is. It ends when no write is on its way any more."""
        try:
            yield from self._run()
        except InfluxopsError as error:
            # Also where reading failed while another thread wrote.
            error.abandoned |= self._writer.leave()
            raise
        finally:
            self._writer.leave()

    def _run(self) -> Iterator[CopyProgress]:
        source, copy = self._source, self._copy
        source.handshake()
        copy.handshake()
        self._refuse_itself()
        self._durable = self._initial_state()
        # Once the tenant writes to the copy, its period is what is wanted.
        later = self._order.only_missing
        self._retention = shared_retention(source, copy, may_be_shorter=later)
        yield from self._prepare()
        self._fingerprint()
        failures = 0
        while not self._durable.done:
            try:
                for is_durable in self._run_pass():
                    if is_durable or self._is_report_due():
                        yield self._progress()
                    failures = 0 if is_durable else failures
            except (_Restarted, ConnectionFailed) as error:
                failures += 1
                partial = error.partial if isinstance(error, ConnectionFailed) else True
                if not partial or (failures > _ATTEMPTS and not self._leave_out(error)):
                    raise
                failures %= _ATTEMPTS + 1
                self._context.log.info("%s; going on from where it was durable", error.message)
                self._context.sleep(0.2 * 2**failures)

    def _leave_out(self, error: TargetError) -> bool:
        """Leave out a table whose answers break off each time, as the server has them fail."""
        name, self._table_read = self._table_read, ""
        if not name or not isinstance(error, ConnectionFailed):
            return False
        self._source.handshake()
        self._copy.handshake()
        self._tables.broken[name] = f"its rows cannot be read to the end: {error.reason}"
        return True

    # Before anything is copied ---------------------------------------------------------------

    def _initial_state(self) -> CopyState:
        order, source, copy = self._order, self._source, self._copy
        fresh = CopyState(
            source.uuid,
            copy.uuid,
            source.now(),
            missing=order.only_missing,
            merge=order.merge,
            without=order.without_tables,
        )
        if not order.progress:
            return fresh
        state = CopyState.decode(order.progress)
        without = tuple(dict.fromkeys((*state.without, *order.without_tables)))
        state, fresh = replace(state, without=without), replace(fresh, without=without)
        for was, side in ((state.source, source), (state.copy, copy)):
            if was != side.uuid:
                raise TargetAuthError(
                    f"another server answers at {side.place} than the one that the copying "
                    f"of {order.database} began with: its cluster-uuid is {side.uuid}, not {was}",
                    hint="start again if that is meant",
                )
        is_part = order.recent or (order.paused and not state.missing)
        if is_part and state.done and order.only_missing:
            settled, total = state.began - LATE, state.total
            files = state.files if order.paused else ""
            return replace(fresh, settled=settled, partial=True, total=total, files=files)
        is_another = (state.missing, state.merge) != (order.only_missing, order.merge)
        if is_another or (state.done and state.missing):
            return fresh
        if not state.done:
            return state
        again = state.again(source.now())
        if order.recent:
            return replace(again, partial=True, files="")
        # What was not read then is to be looked at from its beginning.
        return replace(again, files="") if state.unread else again

    def _refuse_itself(self) -> None:
        if self._source.uuid and self._source.uuid == self._copy.uuid:
            raise TargetAuthError(
                f"{self._source.place} and {self._copy.place} lead to one and the same server",
                hint=Hint.setting("url"),
            )

    def _prepare(self) -> Iterator[CopyProgress]:
        self._tables.read()
        for finding in itertools.chain(self._tables.conflicts(), self._tables.make()):
            if finding is not None and finding.severity is Severity.ERROR:
                raise TargetError(
                    f"{self._order.database} cannot be copied to {self._copy.place}: "
                    f"{finding.message}",
                    hint=finding.remedy,
                )
            if finding is not None:
                self._findings.append(finding)
            if self._is_report_due():
                yield self._progress()
        self._findings += self._tables.without_time_findings()
        self._are_read = True
        if self._durable.total is not None or self._durable.missing:
            yield self._progress()
            return
        total = 0
        for name in self._tables.series_keys:
            with self._unread.table(name):
                rows, is_bound = self._source.total(name, exactly=False)
                total, self._at_most = total + rows, self._at_most or is_bound
            if self._is_report_due():
                yield self._progress()
        self._total = total
        yield self._progress()

    def _fingerprint(self) -> None:
        """Note the source's files and rows where writers are paused; skip what is unchanged.

        Writers were paused before the run began. So what they wrote is in answers a flush after
        that, and a second flush later it is looked whether there is more.
        """
        state = self._durable
        if not self._order.paused or state.done:
            return
        self._context.sleep(max(_FLUSH - self._context.seconds, 0.0))
        if (state.table, state.time) != ("", FIRST):
            return
        files = self._look()
        is_same = files != "" and files == state.files
        if state.missing:
            self._durable = state if is_same else replace(state, partial=False, settled=FIRST)
            return
        is_known = is_same and state.number > 1 and not state.merge
        self._durable = replace(state, files=files, partial=is_known)

    def _look(self) -> str:
        """Return what the source is now; between two runs clients may have written."""
        found = self._watch.look(self._tables.series_keys)
        return f"{self._context.id} {found}" if found else ""

    def _skip(self, name: str) -> None:
        if name not in self._state.unread:
            self._state = replace(self._state, unread=(*self._state.unread, name))

    # Steps and passes ------------------------------------------------------------------------

    def _run_pass(self) -> Iterator[bool]:
        """Do a pass from where it is durable on; yield whether another part of it is by now."""
        self._state = self._durable
        self._writer.reset()
        self._checks.clear()
        began = time.monotonic()
        for is_slice_done in self._pass():
            if is_slice_done and time.monotonic() - began >= _STEP:
                for _ in self._checkpoint():
                    yield False
                self._durable = self._state
                yield True
                began = time.monotonic()
            else:
                yield False
        for _ in self._checkpoint():
            yield False
        state, is_unchanged = self._state, False
        is_first = state.number == 1 and not (state.missing or state.merge)
        if self._order.paused and is_first and state.files:
            self._context.sleep(max(_FLUSHES - self._context.seconds, 0.0))
            is_unchanged = self._look() == state.files
            is_unchanged &= self._watch.rows == state.seen + state.empty
        self._durable = state.after(self._source.now(), is_unchanged=is_unchanged)
        yield True

    def _pass(self) -> Iterator[bool]:
        """Go through all tables; yield whether a slice of them is finished."""
        if not self._are_read:
            self._tables.read()
            for _ in self._tables.make():
                yield False
        self._are_read = False
        for name, reason in self._tables.uncopyable.items():
            self._unread.add(name, reason)
        at = self._state
        start = at.settled if at.partial else FIRST
        is_copied = at.number == 1 and not (at.missing or at.merge)
        copy = None if is_copied else self._copy
        for name in self._tables.series_keys:
            if name < at.table or (at.partial and at.files and self._watch.is_older(name, start)):
                continue
            self._table_read = name
            with self._unread.table(name):
                table = self._source.table(name)
                begin = max(start, at.time) if name == at.table else start
                if self._has_as_many(table, Span(begin, at.settled)):
                    begin = at.settled
                    self._state = replace(self._state, table=name, time=begin)
                    yield True
                spans = slices(self._source, name, begin, other=copy)
                for span in self._ahead(table, spans) if is_copied and not at.files else spans:
                    for _ in self._slice(table, span):
                        yield False
                    self._state = replace(self._state, table=name, time=span.end)
                    yield True
        for name in self._tables.only_in_copy if at.merge and at.number == 1 else ():
            if self._copy.table(name).may_have_rows:
                self._count(kept=self._copy.count(name, ALL, self._copy.files(name)))
            yield False

    def _checkpoint(self) -> Iterator[None]:
        """Make all that was written durable, and verify that it exists."""
        if not self._writer.barrier():
            raise _Restarted(
                f"another process of {self._copy.place} answers than before",
                hint="do several nodes answer there? Each has a log of its own; name one of them",
            )
        for check in self._checks:
            if check.span.start < self._oldest() - self._expiring // 2:
                # It took so long that rows may have expired; the next pass tells.
                self._count(new=int(self._state.number == 1))
                continue
            self._table_read = check.table.name
            with self._unread.table(check.table.name):
                new, lost = yield from check.verify(self._source, self._copy, self._context)
                self._count(new=new, lost=lost)
        self._checks.clear()

    def _slice(self, table: Table, span: Span) -> Iterator[None]:
        """Do with one slice what the pass is for."""
        state = self._state
        if state.number == 1 and not (state.missing or state.merge):
            yield from self._copy_first(table, span)
            return
        # An old copy may lack all of it.
        oldest = FIRST if state.merge and state.number == 1 else self._oldest()
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
        if state.merge:
            for part in (Span(start, middle), Span(middle, span.end)):
                if part.start < part.end:
                    yield from self._merge(table, part)
            return
        if start < middle:
            yield from self._compare(table, Span(start, middle))
        if middle < span.end:
            digest = yield from self._copy_and_check(table, Span(middle, span.end))
            self._count(seen=digest.count)

    def _oldest(self) -> int:
        """Return the time from which on rows stay long enough to be compared."""
        if self._retention is None:
            return FIRST
        return max(self._source.now() - self._retention + self._expiring, FIRST)

    @property
    def _expiring(self) -> int:
        return min(_EXPIRING, (self._retention or 2 * _EXPIRING) // 2)

    def _copy_rows(self, table: Table, span: Span) -> Generator[None, None, Digest]:
        """Copy a slice, and return the digest of what was read."""
        digest = Digest()
        is_open = span in self._opened
        encoder, rows = self._opened.pop(span) if is_open else self._open(table, span)
        self._writer.begin(table, span)
        for lines in rows:
            digest.add(lines)
            self._writer.add(lines)
            self._context.on_progress(len(lines))
            yield None
        self._writer.end(digest)
        self._count(empty=encoder.empty)
        return digest

    def _open(self, table: Table, span: Span) -> tuple[LineEncoder, Iterator[list[bytes]]]:
        encoder = LineEncoder(table)
        return encoder, self._source.lines(encoder, span)

    def _ahead(self, table: Table, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield slices; the rows of the next one are on their way while one is copied."""
        last = None
        try:
            for span in spans:
                self._opened[span] = self._open(table, span)
                if last is not None:
                    yield last
                last = span
            if last is not None:
                yield last
        finally:
            self._opened.clear()

    def _has_as_many(self, table: Table, span: Span) -> bool:
        """Return whether a copy that is compared by counts has all rows of a range of time."""
        if not self._counts_only or self._retention is not None or span.start >= span.end:
            return False
        name = table.name
        ours = self._source.count(name, span, self._source.files(name))
        if ours != self._copy.count(name, span) or self._copy.like(table).columns != table.columns:
            return False
        self._context.on_progress(ours)
        self._count(seen=ours)
        return True

    def _copy_first(self, table: Table, span: Span) -> Iterator[None]:
        """Copy a slice for the first time; where no pass may follow, what stays is read back."""
        if not self._state.files:
            digest = yield from self._copy_rows(table, span)
            self._count(seen=digest.count)
            return
        middle = min(max(span.start, self._oldest()), span.end)
        if span.start < middle:
            digest = yield from self._copy_rows(table, Span(span.start, middle))
            self._count(seen=digest.count, expiring=digest.count)
        if middle < span.end:
            digest = yield from self._copy_and_check(table, Span(middle, span.end))
            self._count(seen=digest.count)

    def _copy_and_check(self, table: Table, span: Span) -> Generator[None, None, Digest]:
        digest = yield from self._copy_rows(table, span)
        self._checks.append(SliceCheck(table, span, digest))
        return digest

    def _compare(self, table: Table, span: Span) -> Iterator[None]:
        """Compare a slice, and copy it again where it differs."""
        like = self._copy.like(table)
        if self._counts_only and like.columns == table.columns:
            ours = Digest(self._source.count(table.name, span))
            theirs = Digest(self._copy.count(table.name, span))
        else:
            ours = yield from self._source.digest(table, span)
            theirs = yield from self._copy.digest(like, span)
        self._context.on_progress(ours.count)
        self._count(seen=ours.count)
        if ours == theirs:
            return
        self._count(new=max(ours.count - theirs.count, 1))
        yield from self._copy_and_check(table, span)

    def _merge(self, table: Table, span: Span) -> Iterator[None]:
        """Write what differs of a slice to the copy, which keeps what only it has."""
        written = yield from self._copy_missing(table, span)
        if span.start < self._state.settled:
            self._count(new=written)

    def _copy_missing(self, table: Table, span: Span) -> Generator[None, None, int]:
        """Copy what is missing of a slice, and return the number of rows."""
        state, like = self._state, self._copy.like(table)
        backfill = Backfill(self._source, self._copy, self._writer, table, like, state.merge)
        before = self._writer.added
        yield from backfill.copy(span)
        written = self._writer.added - before
        self._rows_by_table[table.name] += written
        self._context.on_progress(backfill.seen)
        self._count(empty=backfill.empty, seen=backfill.seen)
        if state.number == 1:  # later ones tell what has changed since
            self._count(conflicts=backfill.conflicts, kept=backfill.only_in_copy * state.merge)
            examples = (*state.examples, *backfill.examples)[: Backfill.EXAMPLES]
            self._state = replace(self._state, examples=examples)
        return written

    # Progress --------------------------------------------------------------------------------

    def _count(self, **counts: int) -> None:
        self._state = self._state.counted(**counts)

    def _is_report_due(self) -> bool:
        return time.monotonic() - self._reported_at >= _REPORT_INTERVAL

    def _progress(self) -> CopyProgress:
        self._reported_at, state = time.monotonic(), self._durable
        is_counted = state.total is not None
        unread = self._unread.reasons_of(state.unread)
        return CopyProgress(
            stage=state.stage,
            progress=state.encode(),
            rows=self._writer.rows,
            rows_by_table={name: n for name, n in self._rows_by_table.items() if n},
            total=state.total if is_counted else self._total,
            at_most=self._at_most and not is_counted,
            tables=len(self._tables.series_keys.keys() - unread.keys()),
            bytes=self._writer.size,
            conflicts=state.conflicts,
            expiring=state.expiring,
            ahead=state.kept if state.merge else None,
            unread=unread,
            done=state.done and unread.keys() <= set(state.without),
            findings=(*self._findings, *self._tables.findings(state, self._unread)),
            quiet=self._watch.quiet,
        )
