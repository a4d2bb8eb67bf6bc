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
from influxops_influxdb3.durability import IN_FLIGHT, STOP, Durability, write_marker
from influxops_influxdb3.errors import (
    AlreadyExists,
    ConnectionFailed,
    DatabaseLimit,
    InfluxDBError,
    NotFound,
    NotInfluxDB3,
    ServerFailed,
    TableLimit,
)
from influxops_influxdb3.flight import in_flight, over

_NEED_A_MARKER = (Action.CREATE, Action.ADD_MARKER)
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
        if self._client.expected_uuid is not None:
            changes = self._identified(changes)
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
        if len(changes) > 1:
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
            why = ""
            if before or not passed:
                durability = Durability(self._client, self._run, self._ping)
                why = durability.confirm(
                    [change for change, _ in self._written], passed=passed, again=broken
                )
            for change, doubt in self._written:
                status = Status.UNKNOWN if why or doubt else Status.DONE
                self._settle(change, status, why or doubt, progress=False)
            yield from self._ready()

    def _identified(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Learn which server and process is there before a batch, unless that is known.

        Returns:
            The changes that are still to be made: the first one fails where nobody is there.
        """
        if not changes or self._ping is not None or self._end or over(self._run):
            return changes
        try:
            self._ping = self._client.ping(self._run)
        except Interrupted:
            return changes
        except (*STOP, ConnectionFailed, ServerFailed) as error:
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
            write_marker(self._client, self._run, change, no_sync=no_sync)
        except InfluxDBError as error:
            raise _NotMarked(error, made=made, doubt=doubt) from error
        return doubt

    # What came of it -------------------------------------------------------------------------

    def _note(self, change: Change, future: Future[str]) -> None:
        """Remember a marker that was written; settle one that was not."""
        doubt = self._result_of(change, future)
        if doubt is not None:
            self._written.append((change, doubt))
            self._run.on_progress(1)

    def _result_of(self, change: Change, future: Future[str]) -> str | None:
        """Give what a change's work gave; None where it failed, which is then settled."""
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
        if isinstance(error, STOP):
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

        return in_flight(self._still_open(changes), start, most=IN_FLIGHT)

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


def _reason_of(error: InfluxopsError) -> str:
    """Say why, without what was tried where: an outcome tells that already."""
    return error.reason if isinstance(error, InfluxDBError) else error.message


def _broken(future: Future[str]) -> _NotMarked | None:
    """Give what a marker failed with, if it found the server, or the way to it, broken."""
    error = future.exception()
    if isinstance(error, _NotMarked) and isinstance(error.error, (ConnectionFailed, ServerFailed)):
        return error
    return None
