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
from collections.abc import Iterator

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
from influxops_influxdb3.copy.interface import Endpoint, Watch, shared_retention
from influxops_influxdb3.copy.passes import Passes, Restarted
from influxops_influxdb3.copy.progress import LATE, REPORT_INTERVAL, CopyState
from influxops_influxdb3.copy.tables import TableSync
from influxops_influxdb3.errors import ConnectionFailed
from influxops_influxdb3.queries import FIRST

#: Seconds between two steps.
_STEP = 10.0
#: How often a step is done again whose answers broke off.
_ATTEMPTS = 4
#: Seconds in which a server flushes once, and twice, by default. What it acknowledged without
#: waiting until it was durable is in its answers then.
_FLUSH, _FLUSHES = 1.25, 2.0


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
        self._writer, self._watch = copy.writer(), Watch(source)
        counts_only = bool(order.folder) and not (order.compare or order.merge)
        self._passes = Passes(self._tables, self._writer, self._watch, counts_only=counts_only)
        self._total: int | None = None
        self._at_most = False
        self._findings: list[Finding] = []
        self._reported_at = 0.0
        #: How much of what was copied is durable and was checked.
        self._durable = self._passes.state

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
        self._passes.retention = shared_retention(source, copy, may_be_shorter=later)
        yield from self._prepare()
        self._fingerprint()
        failures = 0
        while not self._durable.done:
            try:
                for is_durable in self._run_pass():
                    if is_durable or self._is_report_due():
                        yield self._progress()
                    failures = 0 if is_durable else failures
            except (Restarted, ConnectionFailed) as error:
                failures += 1
                partial = error.partial if isinstance(error, ConnectionFailed) else True
                if not partial or (failures > _ATTEMPTS and not self._leave_out(error)):
                    raise
                failures %= _ATTEMPTS + 1
                self._context.log.info("%s; going on from where it was durable", error.message)
                self._context.sleep(0.2 * 2**failures)

    def _leave_out(self, error: TargetError) -> bool:
        """Leave out a table whose answers break off each time, as the server has them fail."""
        name, self._passes.table_read = self._passes.table_read, ""
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
        if self._durable.total is not None or self._durable.missing:
            yield self._progress()
            return
        total = 0
        for name in self._tables.series_keys:
            with self._passes.unread.table(name):
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

    # Steps and passes ------------------------------------------------------------------------

    def _run_pass(self) -> Iterator[bool | None]:
        """Do a pass from where it is durable on; yield True where another part of it is by now."""
        self._passes.begin(self._durable)
        began = time.monotonic()
        for is_slice_done in self._passes.run():
            if is_slice_done and time.monotonic() - began >= _STEP:
                yield from self._passes.checkpoint()
                self._durable = self._passes.state
                yield True
                began = time.monotonic()
            else:
                yield None
        yield from self._passes.checkpoint()
        state, is_unchanged = self._passes.state, False
        if self._order.paused and state.copies_all and state.files:
            self._context.sleep(max(_FLUSHES - self._context.seconds, 0.0))
            is_unchanged = self._look() == state.files
            is_unchanged &= self._watch.rows == state.seen + state.empty
        self._durable = state.after(self._source.now(), is_unchanged=is_unchanged)
        yield True

    # Progress --------------------------------------------------------------------------------

    def _is_report_due(self) -> bool:
        return time.monotonic() - self._reported_at >= REPORT_INTERVAL

    def _progress(self) -> CopyProgress:
        self._reported_at, state = time.monotonic(), self._durable
        is_counted = state.total is not None
        unread = self._passes.unread.reasons_of(state.unread)
        return CopyProgress(
            stage=state.stage,
            progress=state.encode(),
            rows=self._writer.rows,
            rows_by_table={name: n for name, n in self._passes.rows_by_table.items() if n},
            total=state.total if is_counted else self._total,
            at_most=self._at_most and not is_counted,
            tables=len(self._tables.series_keys.keys() - unread.keys()),
            bytes=self._writer.size,
            conflicts=state.conflicts,
            expiring=state.expiring,
            ahead=state.kept if state.merge else None,
            unread=unread,
            done=state.done and unread.keys() <= set(state.without),
            findings=(*self._findings, *self._tables.findings(state, self._passes.unread)),
            quiet=self._watch.quiet,
        )
