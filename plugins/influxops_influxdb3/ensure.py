"""Makes all changes of one server in few requests.

The server's write-ahead log is one for all databases, and it waits up to a second for an ordinary
write to be durable. So each marker goes out without waiting, and the last one of the batch goes
the ordinary way: the barrier, which makes all of them durable. A write also makes what is missing
of database and table, so that a tenant without a managed retention period costs one request.

The server does one change of its catalog at a time; more than two requests in flight only make
it slower (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from influxops import (
    Action,
    Change,
    ConfigError,
    InfluxopsError,
    Interrupted,
    Outcome,
    Run,
    Status,
    TargetError,
    TargetRefused,
)
from influxops_influxdb3.client import Client, Ping
from influxops_influxdb3.errors import (
    AlreadyExists,
    ConnectionFailed,
    DatabaseLimit,
    InfluxDBError,
    LimitReached,
    NotFound,
    NotInfluxDB3,
    ServerFailed,
    TableLimit,
)
from influxops_influxdb3.flight import GRACE, in_flight, over
from influxops_influxdb3.lineprotocol import marker

_R = TypeVar("_R")

_NEED_A_MARKER = (Action.CREATE, Action.ADD_MARKER)
#: After one of these, asking the server again is no use.
_STOP = (TargetRefused, NotInfluxDB3, ConfigError)

#: Requests under way at once.
IN_FLIGHT = 2
#: How often a batch is sent before it counts as unconfirmed.
_ROUNDS = 3
#: After so many lost connections in a row, each tried several times, the server counts as gone.
_LOST_IN_A_ROW = 2
#: A deleted database's data stays for so long.
_KEPT_AFTER_DELETION = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class _End:
    """Why nothing more is tried."""

    message: str
    hint: str


class _NotTried(Interrupted):
    """The run was over before anything of a change was sent."""


class _NotMarked(Exception):
    """A marker could not be written.

    Args:
        error: Why.
        made: Whether its database was made before, by a request of its own.
        doubt: Why that is not sure.
    """

    def __init__(self, error: InfluxDBError, *, made: bool, doubt: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.made = made or (isinstance(error, TableLimit) and not doubt)
        self.doubt = doubt


class Batch:
    """The changes of one server in one run.

    Args:
        client: The server.
        run: The run.
        ping: What the server said of itself earlier in this run; None where it was not asked.
    """

    def __init__(self, client: Client, run: Run, ping: Ping | None) -> None:
        self._client = client
        self._run = run
        self._ping = ping
        self._end: _End | None = None
        self._full: _End | None = None
        self._lost = 0
        self._settled: list[Outcome] = []
        # Written and not yet known to be durable, each with why its database is in doubt.
        self._written: list[tuple[Change, str]] = []

    def outcomes(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make the changes; give one outcome each, DONE only once it is durable.

        Args:
            changes: What to do, in any order.
        """
        # What needs no marker is durable with its answer, and a drop may make room.
        without = [c for c in changes if c.action not in _NEED_A_MARKER]
        for change, future in self._each(without, self._alter):
            doubt = self._result_of(change, future)
            if doubt is not None:
                self._settle(change, Status.UNKNOWN if doubt else Status.DONE, doubt)
            yield from self._ready()
        yield from self._ready()
        yield from self._markers([c for c in changes if c.action in _NEED_A_MARKER])

    def _markers(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Make and mark databases, the last one as the barrier for all."""
        changes = self._identified(changes)
        if not changes:
            yield from self._ready()
            return
        *most, last = changes
        for change, future in self._each(most, partial(self._mark, no_sync=True)):
            self._note(change, future)
            yield from self._ready()
        before = len(self._written)
        broken = False
        for change, future in self._each([last], partial(self._mark, no_sync=False)):
            failure = _broken(future) if before else None
            if failure is not None:
                # It is part of what is sent again.
                broken = True
                self._written.append((change, failure.doubt))
                self._run.on_progress(1)
            else:
                self._note(change, future)
        yield from self._ready()
        if self._written:
            passed = len(self._written) > before and not broken
            # A marker that was the only one and went the ordinary way is durable by itself.
            why = "" if passed and not before else self._confirm(passed, broken)
            for change, doubt in self._written:
                status = Status.UNKNOWN if why or doubt else Status.DONE
                self._settle(change, status, why or doubt, progress=False)
            yield from self._ready()

    def _identified(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Learn which process is there before a batch, unless that is known.

        Returns:
            The changes that are still to be made: the first one fails where nobody is there.
        """
        if len(changes) < 2 or self._ping is not None or self._end or over(self._run):
            return changes
        try:
            self._ping = self._once(self._run, self._client.ping)
        except Interrupted:
            return changes
        except (*_STOP, ConnectionFailed, ServerFailed) as error:
            self._failed(changes[0], error)
            self._end = self._end or _End(_reason_of(error), error.hint)
            return changes[1:]
        except TargetError:
            # A proxy that does not let it through, perhaps; the writes will tell.
            return changes
        return changes

    # One change ------------------------------------------------------------------------------

    def _alter(self, change: Change) -> str:
        """Make a change that needs no marker; give why it is in doubt, or nothing."""
        if change.action is Action.DROP:
            try:
                self._client.delete(
                    self._run, change.database, hard_delete_at=self._hard_deletion()
                )
            except NotFound:
                return "it was gone already"
        elif change.action is Action.SET_RETENTION:
            retention = change.after.retention if change.after else None
            if isinstance(retention, int):
                self._client.set_retention(self._run, change.database, retention)
            elif retention is None:
                self._client.clear_retention(self._run, change.database)
        return ""

    def _hard_deletion(self) -> datetime:
        """Say when a dropped database's data is to go.

        The server takes a time that its own clock has passed for "now", so where its clock is
        ahead, its clock counts.
        """
        clock = self._ping.clock if self._ping else None
        return max(self._run.started, clock or self._run.started) + _KEPT_AFTER_DELETION

    def _mark(self, change: Change, *, no_sync: bool) -> str:
        """Make a database, if it has to be, and its marker; give why it is in doubt."""
        made, doubt = False, ""
        retention = change.after.retention if change.after else None
        if change.action is Action.CREATE and isinstance(retention, int):
            try:
                self._client.create(self._run, change.database, retention)
            except AlreadyExists:
                doubt = "it was there already, with a retention period that is not known yet"
            except InfluxDBError as error:
                if not error.answer_lost:
                    raise
                doubt = f"the answer to its creation was lost: {error.reason}"
            else:
                made = True
        try:
            self._write(change, self._run, no_sync=no_sync)
        except InfluxDBError as error:
            raise _NotMarked(error, made=made, doubt=doubt) from error
        return doubt

    def _write(self, change: Change, run: Run, *, no_sync: bool) -> None:
        line = marker(change.tenant, self._run.started)
        self._client.write(run, change.database, line, no_sync=no_sync)

    # What came of it -------------------------------------------------------------------------

    def _note(self, change: Change, future: Future[str]) -> None:
        """Remember a marker that was written; settle one that was not."""
        doubt = self._result_of(change, future)
        if doubt is not None:
            self._written.append((change, doubt))
            self._run.on_progress(1)

    def _result_of(self, change: Change, future: Future[str]) -> str | None:
        """Give what a change's work gave; None where it failed, which is then settled."""
        if not future.done():
            self._settle(change, Status.UNKNOWN, "it was under way when the run ended")
            return None
        try:
            doubt = future.result()
        except _NotTried as error:
            self._settle(change, Status.SKIPPED, f"not tried: {error.message}", error.hint)
        except Interrupted:
            self._settle(change, Status.UNKNOWN, "the run ended while it was tried")
        except _NotMarked as failure:
            self._failed(change, failure.error, made=failure.made, doubt=failure.doubt)
        except (TargetError, ConfigError) as error:
            self._failed(change, error)
        else:
            self._lost = 0
            return doubt
        return None

    def _failed(
        self, change: Change, error: InfluxopsError, *, made: bool = False, doubt: str = ""
    ) -> None:
        """Settle a change that failed, and see what that means for the others."""
        reason = _reason_of(error)
        self._draw_conclusions(error, reason)
        creates = change.action is Action.CREATE
        status, message = Status.FAILED, reason
        if isinstance(error, (TargetRefused, NotInfluxDB3)):
            message = error.message
        elif creates and made:
            message = f"the database has been made, its marker has not: {reason}"
        elif doubt:
            status, message = Status.UNKNOWN, f"{doubt}; its marker is missing: {reason}"
        elif creates and isinstance(error, DatabaseLimit):
            status = Status.FULL
        elif isinstance(error, InfluxDBError) and error.answer_lost:
            status = Status.UNKNOWN
        self._settle(change, status, message, error.hint)

    def _draw_conclusions(self, error: InfluxopsError, reason: str) -> None:
        """See what an error means for the changes that are still to come."""
        if isinstance(error, (ConnectionFailed, ServerFailed)):
            self._lost += 1
            if self._lost >= _LOST_IN_A_ROW:
                self._end = self._end or _End(f"the server went away ({reason})", error.hint)
            return
        self._lost = 0
        if isinstance(error, _STOP):
            self._end = self._end or _End(reason, error.hint)
        elif isinstance(error, (DatabaseLimit, TableLimit)):
            # At the limit of tables, the next database would be made without its marker too, and
            # could not hold a table of telemetry either.
            self._full = self._full or _End(reason, error.hint)

    def _settle(
        self,
        change: Change,
        status: Status,
        message: str = "",
        hint: str = "",
        *,
        progress: bool = True,
    ) -> None:
        self._settled.append(Outcome(change, status, message, hint))
        if progress:
            self._run.on_progress(1)

    def _ready(self) -> Iterator[Outcome]:
        """Give the outcomes that are known."""
        while self._settled:
            yield self._settled.pop(0)

    # Which come next -------------------------------------------------------------------------

    def _each(
        self, changes: Iterable[Change], work: Callable[[Change], str]
    ) -> Iterator[tuple[Change, Future[str]]]:
        def start(change: Change) -> str:
            ended = over(self._run)
            if ended is not None:
                raise _NotTried(ended.message, hint=ended.hint)
            return work(change)

        return in_flight(self._still_open(changes), start, most=IN_FLIGHT, run=self._run)

    def _still_open(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Give the changes that are worth a request; settle the others."""
        for change in changes:
            ended = over(self._run) if self._end is None else None
            if ended is not None:
                self._end = _End(ended.message, ended.hint)
            if self._end is not None:
                message = f"not tried: {self._end.message}"
                self._settle(change, Status.SKIPPED, message, self._end.hint)
            elif self._full is not None and change.action is Action.CREATE:
                self._settle(change, Status.FULL, self._full.message, self._full.hint)
            elif change.action is Action.KEEP:
                self._settle(change, Status.DONE)
            else:
                yield change

    # The barrier -----------------------------------------------------------------------------

    def _confirm(self, passed: bool, again: bool) -> str:
        """Make sure that all markers are durable.

        Args:
            passed: Whether the last marker went the ordinary way, and so was the barrier.
            again: Whether that failed, so that all are to be written again.

        Returns:
            Why that could not be made sure; empty where it could.
        """
        patience = self._run
        why = ""
        for _ in range(_ROUNDS):
            if patience is self._run and over(patience) is not None:
                # What was written is worth a moment more, so that it can be told for sure.
                patience = Run(timeout=GRACE, log=self._run.log)
            try:
                if again:
                    self._send_again(patience)
                if not passed:
                    last, _ = self._written[-1]
                    self._once(patience, partial(self._write, last, no_sync=False))
                if self._same_process(patience):
                    return ""
                why, again = "the server was restarted while it was written", True
            except Interrupted as error:
                why = why or error.message
            except (*_STOP, LimitReached) as error:
                return f"written, but not confirmed: {error.message}"
            except InfluxDBError as error:
                why, again = error.reason, True
            passed = False
        return f"written, but not confirmed: {why}"

    def _send_again(self, patience: Run) -> None:
        """Write the markers again, the same points."""
        changes = (change for change, _ in self._written if over(patience) is None)
        work = partial(self._write, run=patience, no_sync=True)
        for _, future in in_flight(changes, work, most=IN_FLIGHT, run=patience):
            if not future.done():
                raise Interrupted("the run was over")
            future.result()
        patience.check()

    def _same_process(self, patience: Run) -> bool:
        """Tell whether the server is still the process that it was before the batch.

        A restart loses what was not durable, and a write that is tried again after it would
        pass for a barrier.
        """
        before = self._ping.process_id if self._ping else None
        self._ping = self._once(patience, self._client.ping)
        now = self._ping.process_id
        return before is None or now is None or before == now

    @staticmethod
    def _once(run: Run, work: Callable[[Run], _R]) -> _R:
        """Do one thing that a run's end does not have to wait for."""
        for _, future in in_flight([run], work, most=1, run=run):
            if not future.done():
                break
            return future.result()
        raise Interrupted("the run was over before the server answered")


def _reason_of(error: InfluxopsError) -> str:
    """Say why, without what was tried where: an outcome tells that already."""
    return error.reason if isinstance(error, InfluxDBError) else error.message


def _broken(future: Future[str]) -> _NotMarked | None:
    """Give what a marker failed with, if it found the server, or the way to it, broken."""
    error = future.exception() if future.done() else None
    if isinstance(error, _NotMarked) and isinstance(error.error, (ConnectionFailed, ServerFailed)):
        return error
    return None
