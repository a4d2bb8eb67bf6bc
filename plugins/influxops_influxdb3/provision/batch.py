"""Applies all changes of one server in few requests.

The server's write-ahead log is one for all databases, and it waits up to a second for an ordinary
write to be durable. So each marker goes out without waiting, and the last one of the batch goes
the ordinary way: the barrier, which makes all of them durable, as long as it is one and the same
server process. A write also creates a missing database and table, so that a tenant without
a managed retention period costs one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from msgspec import Struct

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    ConfigError,
    Hint,
    InfluxopsError,
    Interrupted,
    Outcome,
    RunContext,
    TargetAuthError,
    TargetError,
)
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
from influxops_influxdb3.http.client import Client, Ping
from influxops_influxdb3.http.thread_map import in_flight
from influxops_influxdb3.http.transport import GRACE
from influxops_influxdb3.naming_rules import marker

#: Requests under way at once; the server does one change of its catalog at a time (measured).
_IN_FLIGHT = 2
#: How often a batch is sent before it counts as unconfirmed.
_ROUNDS = 3
#: How often a server that seems to have been restarted is asked who it is.
_PINGS = 3
#: After so many lost connections in a row, each after several attempts, the server counts as gone;
#: one that does not answer in time does at once, because finding that out takes long.
_MAX_FAILURES = 2
#: A deleted database's data stays for so long.
_KEPT_AFTER_DELETION = timedelta(hours=72)

#: After one of these, asking the server again is no use.
_STOP = (TargetAuthError, NotInfluxDB3, ConfigError)
_MARKING = (Action.CREATE, Action.COMPLETE)

_VERIFY = Hint.command("ensure --verify", "once the server is well, run {}")
_ONE_NODE = Hint.setting("url", "set {} to one node, or have the proxy keep to one")


class _Attempt(Struct):
    """The requests of one change, and their result."""

    change: Change
    error: InfluxopsError | None = None  # why they did not all succeed
    started: bool = True  # whether a request was sent
    exists: bool = False  # whether an answer said that its database is there
    doubt: str = ""  # why it may not be what it should be

    @property
    def is_broken(self) -> bool:
        """Whether it found the server, or the way to it, broken."""
        return isinstance(self.error, (ConnectionFailed, ServerFailed))


class _Reason(Struct, frozen=True):
    """Why nothing more is tried, or something is not sure."""

    message: str
    remedy: Hint

    @classmethod
    def of(cls, error: InfluxopsError) -> _Reason:
        return cls(_reason(error), error.remedy)


class Batch:
    """The changes of one server in one run.

    The ping is of earlier in this run; None where there was none. A server of another identity than
    the expected one, if any, is not written to. `marked` gets the names of the databases whose
    marker was sent.
    """

    def __init__(
        self,
        client: Client,
        context: RunContext,
        ping: Ping | None,
        expected: str | None,
        marked: set[str],
    ) -> None:
        self._client = client
        self._context = context
        self._ping = ping
        self._expected = expected
        self._marked = marked
        self._stopped: _Reason | None = None
        self._full: _Reason | None = None
        self._timed_out: _Reason | None = None
        self._failures_in_a_row = 0
        self._outcomes: list[Outcome] = []
        self._written: list[_Attempt] = []  # and not yet known to be durable

    def outcomes(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Apply the changes; yield one outcome each, DONE only once it is durable."""
        marking = [change for change in changes if change.action in _MARKING]
        if self._ping is None and (self._expected is not None or len(marking) > 1):
            refused = self._handshake(changes)
            changes = [change for change in changes if change is not refused]
            marking = [change for change in marking if change is not refused]
        # What needs no marker is durable with its answer, and a drop may free a slot.
        others = (change for change in changes if change.action not in _MARKING)
        for _, attempt in in_flight(self._still_open(others), self._alter, limit=_IN_FLIGHT):
            if self._succeeded(attempt):
                self._resolve(
                    attempt,
                    ChangeResult.UNKNOWN if attempt.doubt else ChangeResult.DONE,
                    attempt.doubt,
                )
            yield from self._take_outcomes()
        mark = partial(self._mark, no_sync=True)
        for beyond in (False, True):
            part = (each for each in marking[:-1] if each.may_exceed_capacity is beyond)
            for _, attempt in in_flight(self._still_open(part), mark, limit=_IN_FLIGHT):
                if self._succeeded(attempt):
                    self._record_written(attempt)
                yield from self._take_outcomes()
        yield from self._finish(marking[-1:])

    def _finish(self, last: Sequence[Change]) -> Iterator[Outcome]:
        """Send the last marker as the barrier, and resolve all that were written."""
        alone, passed, broken = not self._written, False, False
        for change in self._still_open(last):
            attempt = self._mark(change, no_sync=False)
            if attempt.is_broken and not alone:
                # It is part of what is sent again, unless the server does not answer in time.
                broken = True
                if isinstance(attempt.error, ConnectionFailed) and attempt.error.timed_out:
                    self._timed_out = _Reason.of(attempt.error)
                self._record_written(attempt)
            elif self._succeeded(attempt):
                passed = True
                self._record_written(attempt)
        yield from self._take_outcomes()
        if not self._written:
            return
        # A marker that was the only one and went the ordinary way is durable by itself.
        why = None if alone and passed else self._confirm(passed=passed, again=broken)
        for attempt in self._written:
            if why is None:
                status = ChangeResult.UNKNOWN if attempt.doubt else ChangeResult.DONE
                self._resolve(attempt, status, attempt.doubt, progress=False)
                continue
            status = ChangeResult.UNCONFIRMED if attempt.exists else ChangeResult.UNKNOWN
            there = "the database is there, " if attempt.exists else ""
            message = f"{there}its marker is not confirmed: {why.message}"
            self._resolve(attempt, status, message, why.remedy, progress=False)
        yield from self._take_outcomes()

    def _handshake(self, changes: Sequence[Change]) -> Change | None:
        """Learn which server and process answers; return the change that fails without one."""
        if not changes or self._context.interruption:
            return None
        try:
            self._ping = self._client.ping(self._context)
        except (*_STOP, ConnectionFailed, ServerFailed) as error:
            self._succeeded(_Attempt(changes[0], error))
            self._stopped = self._stopped or _Reason.of(error)
            return changes[0]
        except (TargetError, Interrupted):
            pass  # A proxy that does not let it through, perhaps; the writes will show.
        return None

    # One change ------------------------------------------------------------------------------

    def _alter(self, change: Change) -> _Attempt:
        """Apply a change that needs no marker."""
        attempt, context = _Attempt(change), self._context
        if context.interruption is not None:
            return _Attempt(change, context.interruption, started=False)
        retention = change.after.retention if change.after else None
        try:
            if change.action is Action.DROP:
                # The server takes a time that its own clock has passed for "now", so where its
                # clock is ahead, its clock counts.
                clock = self._ping.clock if self._ping else None
                at = max(context.started, clock or context.started) + _KEPT_AFTER_DELETION
                self._client.delete(context, change.database, hard_delete_at=at)
            elif isinstance(retention, int):
                self._client.set_retention(context, change.database, retention)
            elif retention is None:
                self._client.clear_retention(context, change.database)
        except NotFound as error:
            if change.action is Action.DROP:
                attempt.doubt = "it was gone already"
            else:
                attempt.error = error
        except InfluxopsError as error:
            attempt.error = error
        return attempt

    def _mark(self, change: Change, *, no_sync: bool) -> _Attempt:
        """Create a database, if need be, and its marker."""
        attempt, context = _Attempt(change), self._context
        if context.interruption is not None:
            return _Attempt(change, context.interruption, started=False)
        retention = change.after.retention if change.after else None
        try:
            if change.action is Action.CREATE and isinstance(retention, int):
                self._create(attempt, retention)
            self._write(change, context, no_sync=no_sync)
            attempt.exists = True
        except InfluxopsError as error:
            attempt.error = error
            # The write has created the database before it met the limit of tables.
            attempt.exists |= isinstance(error, TableLimit)
        return attempt

    def _create(self, attempt: _Attempt, retention: int) -> None:
        try:
            self._client.create(self._context, attempt.change.database, retention)
            attempt.exists = True
        except AlreadyExists:
            attempt.doubt = "it was there already, with a retention period that is not known yet"
        except InfluxDBError as error:
            if not error.may_have_applied:
                raise
            attempt.doubt = f"the answer to its creation was lost: {error.reason}"

    def _write(self, change: Change, context: RunContext, *, no_sync: bool) -> None:
        self._marked.add(change.database)
        line = marker(change.tenant, context.started)
        self._client.write(context, change.database, line, no_sync=no_sync)

    # Making it durable -----------------------------------------------------------------------

    def _confirm(self, *, passed: bool, again: bool) -> _Reason | None:
        """Ensure that all markers are durable; return why they may not be, None where they are.

        They are not written again where the last one `passed` the ordinary way, as the barrier.
        """
        if self._timed_out is not None:
            return _Reason(self._timed_out.message, _VERIFY)
        context = self._context
        why: _Reason | None = None
        process, restarted = self._ping.process_id if self._ping else None, False
        for _ in range(_ROUNDS):
            if context is self._context:
                # What was written is worth a moment more, to know whether it is durable.
                context = context.with_grace_period(GRACE)
            try:
                if again:
                    self._send_again(context)
                if not passed:
                    # Any will do; which one was written last is up to chance.
                    one = min(self._written, key=lambda each: each.change.database)
                    self._write(one.change, context, no_sync=False)
                    one.exists = True
                found = self._client.ping(context).process_id
                if None in (process, found) or process == found:
                    return None
                # A restart loses what was not durable, and a write that is tried again after it
                # would pass for a barrier. Of several nodes, each has a log of its own.
                pings = (self._client.ping(context).process_id for _ in range(_PINGS))
                if restarted or any(other != found for other in pings):
                    return _Reason("another process of the server answers each time", _ONE_NODE)
                why = _Reason("the server was restarted while it was written", _VERIFY)
                process, restarted, again = found, True, True
            except Interrupted as error:
                why = why or _Reason(error.message, _VERIFY)
            except (*_STOP, LimitReached) as error:
                return _Reason.of(error)
            except InfluxDBError as error:
                why, again = _Reason(error.reason, _VERIFY), True
                if isinstance(error, ConnectionFailed) and error.timed_out:
                    break
            passed = False
        return why

    def _send_again(self, context: RunContext) -> None:
        """Write all markers again, the same points."""

        def write(attempt: _Attempt) -> None:
            self._write(attempt.change, context, no_sync=True)
            attempt.exists = True

        still = (attempt for attempt in self._written if context.interruption is None)
        for _ in in_flight(still, write, limit=_IN_FLIGHT):
            pass
        context.check()

    # Results -------------------------------------------------------------------------------

    def _record_written(self, attempt: _Attempt) -> None:
        """Note a marker that was written, or that is to be sent again."""
        self._written.append(attempt)
        self._context.on_progress(1)

    def _succeeded(self, attempt: _Attempt) -> bool:
        """Return whether a change succeeded; resolve one that did not."""
        error, creates = attempt.error, attempt.change.action is Action.CREATE
        if error is None:
            self._failures_in_a_row = 0
            return True
        reason, remedy = _reason(error), error.remedy
        lost = isinstance(error, InfluxDBError) and (error.may_have_applied or error.abandoned)
        made = creates and attempt.exists
        if not attempt.started:
            self._resolve(attempt, ChangeResult.SKIPPED, f"not tried: {reason}", remedy)
        elif isinstance(error, Interrupted):
            if error.abandoned:
                # It was waited for as long as an interrupt may take; so would be a barrier.
                self._timed_out = self._timed_out or _Reason.of(error)
            self._resolve(
                attempt, ChangeResult.UNKNOWN, "the run ended while it was tried", effect=made
            )
        elif made and lost:
            message = f"the database has been made, the answer to its marker was lost: {reason}"
            self._resolve(attempt, ChangeResult.UNKNOWN, message, remedy, effect=True)
        elif made and not attempt.doubt:
            message = f"the database has been made, its marker has not: {reason}"
            self._resolve(attempt, ChangeResult.FAILED, message, remedy, effect=True)
        elif attempt.doubt:
            message = f"{attempt.doubt}; its marker is missing: {reason}"
            self._resolve(attempt, ChangeResult.UNKNOWN, message, remedy)
        elif creates and isinstance(error, DatabaseLimit):
            self._resolve(attempt, ChangeResult.NO_CAPACITY, reason, remedy)
        else:
            self._resolve(
                attempt, ChangeResult.UNKNOWN if lost else ChangeResult.FAILED, reason, remedy
            )
        self._handle_failure(error)
        return False

    def _handle_failure(self, error: InfluxopsError) -> None:
        """Decide what an error means for the changes that are still to come."""
        why = _Reason.of(error)
        if isinstance(error, (ConnectionFailed, ServerFailed)):
            self._failures_in_a_row += 1
            silent = isinstance(error, ConnectionFailed) and error.timed_out
            self._timed_out = self._timed_out or (why if silent else None)
            if silent or self._failures_in_a_row >= _MAX_FAILURES:
                went = _Reason(f"the server went away ({why.message})", why.remedy)
                self._stopped = self._stopped or went
            return
        self._failures_in_a_row = 0
        if isinstance(error, _STOP):
            self._stopped = self._stopped or why
        elif isinstance(error, (DatabaseLimit, TableLimit)):
            # At the limit of tables, the next database would be created without its marker too, and
            # could not hold a table of telemetry either.
            self._full = self._full or why

    def _resolve(
        self,
        attempt: _Attempt | Change,
        status: ChangeResult,
        message: str = "",
        remedy: Hint | str = "",
        *,
        effect: bool = False,
        progress: bool = True,
    ) -> None:
        change = attempt if isinstance(attempt, Change) else attempt.change
        effect = effect or status is ChangeResult.UNCONFIRMED
        error = attempt.error if isinstance(attempt, _Attempt) else None
        abandoned = error is not None and error.abandoned and status is ChangeResult.UNKNOWN
        self._outcomes.append(Outcome(change, status, message, remedy, effect, abandoned))
        if progress:
            self._context.on_progress(1)

    def _take_outcomes(self) -> Iterator[Outcome]:
        ready, self._outcomes = self._outcomes, []
        yield from ready

    def _still_open(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Yield the changes that are worth a request; resolve the others."""
        for change in changes:
            if self._stopped is None and (ended := self._context.interruption) is not None:
                self._stopped = _Reason.of(ended)
            if self._stopped is not None:
                message = f"not tried: {self._stopped.message}"
                self._resolve(change, ChangeResult.SKIPPED, message, self._stopped.remedy)
            elif self._full is not None and change.action is Action.CREATE:
                self._resolve(
                    change, ChangeResult.NO_CAPACITY, self._full.message, self._full.remedy
                )
            else:
                yield change


def _reason(error: InfluxopsError) -> str:
    """Return why, without what was tried where: an outcome says that already."""
    return error.reason if isinstance(error, InfluxDBError) else error.message
