"""The steps of one move: copy, cut over, backfill until nothing more can come."""

from __future__ import annotations

import heapq
import shlex
import time

from msgspec.structs import replace

from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.durations import parse_duration
from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.record import Event, LedgerUpdate
from influxops.domain.text import format_time, pluralize, truncate
from influxops.errors import InfluxopsError, Interrupted, LedgerError
from influxops.reconcile.move.copy import Unread, about, copy, only_there
from influxops.reconcile.move.plan import MoveRequest
from influxops.reconcile.move.probes import wait_for_proxies
from influxops.reconcile.move.state import (
    ClaimLost,
    MoveFailed,
    MoveProgress,
    MovesInProgress,
    is_written,
)
from influxops.reconcile.plan.recorded import is_cut_over
from influxops.reconcile.state import RunState
from influxops.report.wording import format_copied

#: Seconds between two notes in the ledger of how far copying is.
_EVERY = 5.0
#: Seconds between two passes that look whether anything is new.
_BETWEEN = 5.0
#: Writers that are said to be paused have written nothing for so many seconds, by the times of the
#: rows or since the first look; where they have after so many, they are not paused. Between looks
#: is a second at least, since a server's clock may tell no more.
_QUIET, _NOT_PAUSED, _BETWEEN_LOOKS = 10.0, 60.0, 1.0
#: After so many passes of which each found something, the move fails: clients still write.
_PASSES = 12


class MoveSteps(MovesInProgress):
    """Takes the steps of moves, one at a time; the record of a tenant says which one is next."""

    def __init__(self, goal: MoveRequest, state: RunState) -> None:
        super().__init__(goal, state)
        #: Moves that were cut over, by when their next pass is due.
        self.waiting: list[tuple[float, int, MoveProgress]] = []
        self._is_proxy_late = False  # whether one did not lead the clients of the last move on

    def step(self, move: MoveProgress) -> None:
        """Take the next step of one tenant; what fails ends it alone."""
        try:
            if is_cut_over(move.record):
                self._next_pass(move)
            else:
                if move.is_taken_up and not (move.is_back or move.looked_at):
                    self._look(move)
                began = time.monotonic()
                copied = self._copy(move)
                if seconds := self._not_quiet(move, copied):
                    self._queue(move, seconds)
                    return
                self._catch_up(move, time.monotonic() - began)
                self._cut_over(move)
        except Interrupted:
            raise
        except MoveFailed as failed:
            self.fail(move, failed)
        except Unread as error:
            self.fail(move, self._unread(move, error))
        except InfluxopsError as error:
            self.context.log.debug("moving %s failed", move.plan.database, exc_info=True)
            self.fail(move, MoveFailed(error.message, error.remedy))

    def _look(self, move: MoveProgress) -> None:
        """Find out whether the new target of a move that is taken up again holds newer rows.

        The ledger may have been restored from a backup: then the move has ended since, and its
        tenant writes there.
        """
        source, target = self.handles[move.route.source], self.handles[move.route.target]
        order = CopyRequest(move.plan.database, dry_run=True, ahead=True)
        self.context.on_stage(f"looking at {truncate(order.database)} on {target.name}", 0)
        found = CopyProgress()
        for said in source.copy(order, target, self.context):
            found = said
        self.context.on_stage("", 0)
        if found.ahead == 0 and not found.conflicts:
            return
        move.is_ahead, move.progress = True, ""
        has = []
        if found.ahead:
            has.append(f"{pluralize(found.ahead, 'row')} that {move.route.source} lacks")
        if found.conflicts:
            has.append(f"{pluralize(found.conflicts, 'row')} with other values")
        what = f"holds {' and '.join(has)}" if has else "may hold newer rows, which it cannot tell"
        self.warn(
            move,
            f"{move.route.target} {what}: what it has was kept, and only what it lacks was copied",
            "was the ledger restored from a backup? Then the move had ended before",
        )

    def _copy(
        self,
        move: MoveProgress,
        *,
        only_missing: bool = False,
        recent: bool = False,
        why: str = "",
    ) -> CopyProgress:
        """Copy once to the end, and record how far it is on the way."""
        source, target = self.handles[move.route.source], self.handles[move.route.target]

        def said(copied: CopyProgress) -> None:
            # After the cut-over, a pass that looks at a part is none to go on from.
            is_part = recent and only_missing
            move.now, move.progress = copied, "" if is_part else copied.progress
            if time.monotonic() - move.last_saved_at >= _EVERY:
                self._keep(move)

        is_said = self.goal.writers_paused and not move.is_written_to
        is_proof = only_missing and (recent or move.writers_paused)
        only_missing = only_missing or move.is_ahead
        recent = recent and not move.is_ahead
        order = CopyRequest(
            move.plan.database,
            progress=move.copied if is_proof else move.progress,
            only_missing=only_missing,
            recent=recent,
            merge=move.is_back and not only_missing,
            paused=move.writers_paused or (is_said and not only_missing),
            without_tables=self.goal.without_tables,
        )
        try:
            copied = copy(source, target, order, self.context, said, why)
        except InfluxopsError as error:
            move.is_abandoned = error.abandoned
            raise
        move.ended(copied)
        for finding in copied.findings:
            note = about(move.plan, finding)
            move.notes[note.message] = note
        if copied.ahead:
            message = f"kept: {only_there(copied.ahead, target.name)}"
            known = {"kept": copied.ahead}
            note = move.plan.info(FindingKind.MOVING, message, target=target.name, facts=known)
            move.notes[message] = note
        self._keep(move)
        return copied

    def _unread(self, move: MoveProgress, error: Unread) -> MoveFailed:
        """Return why a tenant waits until tables are left out."""
        names = (*error.left_out, *error.tables)
        left_out = " ".join(f"--without-table {shlex.quote(name)}" for name in names)
        options = f"--to {move.route.target} {left_out}"
        again = typed("move", move.plan.tenant, options=options)
        remedy = Hint.command(again, "mend or drop them there, or leave them out for good: {}")
        return MoveFailed(error.message, again=remedy)

    def _keep(self, move: MoveProgress) -> None:
        """Record how far a move is; raise ClaimLost where another run has claimed it."""
        record = replace(move.record, progress=move.recorded_progress)
        found = self.ledger.claim([record], self.context)[move.plan.tenant]
        self.records[move.plan.tenant] = found
        if found.claimed_by != self.context.id:
            raise ClaimLost(found)
        move.record, move.last_saved_at = found, time.monotonic()

    def _cut_over(self, move: MoveProgress) -> None:
        """Let the ledger say that the tenant is on its new target, in one write."""
        record, now = move.record, self.now()
        after = replace(
            record,
            target=record.secondary_target,
            identity=record.secondary_identity,
            secondary_target=record.target,
            secondary_identity=record.identity,
            drop_after=self.due(),
            progress=move.progress if move.last.unread else "",
            created_at=now,
            created_by=self.context.id,
            last_seen_at=now,
        )
        source, target = record.target or "", record.secondary_target or ""
        message = format_copied(move.counted)
        if move.last.ahead:
            message += f", kept: {only_there(move.last.ahead, target)}"
        entry = self.request.entry(Event.MOVED, move.plan, target, source, target, message=message)
        try:
            found = self.ledger.commit(LedgerUpdate((after,), entries=(entry,)), self.context)
            current = found[move.plan.tenant]
        except LedgerError as error:
            raise MoveFailed(
                f"whether it was cut over to {record.secondary_target} is unknown: {error.message}",
                Hint.command(typed("where --recorded", move.plan.tenant), "{} says so"),
            ) from None
        if not is_written(after, current):
            raise ClaimLost(current)
        move.copied, move.record, move.progress = move.progress, current, current.progress
        move.is_back = False  # from here on it is like any other
        self._write_routes(move)
        self._keep(move)
        move.cut_at, move.passes = time.monotonic(), 0
        self._queue(move, 0)

    def _write_routes(self, move: MoveProgress) -> None:
        """Have clients led to the new target."""
        for failed in self.request.write_routes():
            self.warn(move, failed.message, "its writers are led to the old target until then")

    def _catch_up(self, move: MoveProgress, took: float) -> None:
        """Copy what came since the pass before began, which `took` seconds, until one is short."""
        if move.writers_paused or move.is_ahead:
            return
        most, passes = self.goal.last_pass, 0
        while took > most:
            if passes == _PASSES:
                raise MoveFailed(
                    f"the last of {passes} passes took {took:.0f} s, and the cut-over waits for "
                    f"one of {most} s at most",
                    Hint.setting("last_pass", "raise {} of [ledger], or let less be written"),
                )
            passes += 1
            why = f" (the pass before took {took:.0f} s, the cut-over waits for {most} s)"
            began = time.monotonic()
            self._copy(move, recent=True, why=why)
            took = time.monotonic() - began
        if passes > 1:
            message = f"the cut-over waited for {passes} passes, until one took less than {most} s"
            move.notes[message] = move.plan.info(FindingKind.MOVING, message)

    def _not_quiet(self, move: MoveProgress, copied: CopyProgress) -> float:
        """Return after how many seconds it is to be looked again whether its writers are paused.

        Zero once they are known to be, or not to be. The times of the rows say for how long nothing
        was written; where they do not, nothing may come for as long.
        """
        if not self.goal.writers_paused or move.writers_paused:
            return 0.0
        now = time.monotonic()
        move.looked_at = move.looked_at or now
        if copied.rows or move.looked_at == now:
            move.quiet_since = now
        seconds = _QUIET - max(copied.quiet or 0.0, now - move.quiet_since)
        if seconds > 0 and now - move.looked_at < _NOT_PAUSED:
            return max(seconds, _BETWEEN_LOOKS)
        move.writers_paused, move.is_written_to = seconds <= 0, seconds > 0
        if move.is_written_to:
            self.warn(
                move,
                "its writers are not paused: rows kept coming, so clients were waited for as usual",
                "find out which client writes",
            )
        return 0.0

    def _queue(self, move: MoveProgress, seconds: float) -> None:
        # The middle value only keeps moves that are due at once from being compared.
        heapq.heappush(self.waiting, (time.monotonic() + seconds, id(move), move))

    def _next_pass(self, move: MoveProgress) -> None:
        """Copy what only the old target has; the tenant is done once nothing more can come."""
        if not self.state.database(move.route.source, move.plan.database):
            self._without_source(move)
            return
        if not move.cut_at:
            # Taken up again: clients are waited for again, and may not be led on yet.
            self._write_routes(move)
            move.cut_at = time.monotonic()
        is_first = not move.safe_at
        if is_first:
            ttl = 0 if move.writers_paused else self.goal.cache_ttl
            move.safe_at = move.cut_at + ttl
        began = time.monotonic()
        is_safe = began >= move.safe_at
        if is_safe and move.is_routed and move.copied and not move.passes:
            # What was on its way then; the pass over all that follows finds nothing as a rule.
            self._copy(move, only_missing=True, recent=True)
        recent = not is_safe and bool(move.copied)
        found = self._copy(move, only_missing=True, recent=recent)
        move.passes += is_safe
        if is_first and not is_safe and self.goal.routing.probes:
            self._ask_proxies(move)
        # The next pass begins at the beginning; what was left out on purpose stays known.
        move.progress = found.progress if found.unread else ""
        if found.rows and move.writers_paused:
            move.writers_paused, move.is_written_to = False, True
            move.safe_at, move.passes = move.cut_at + self.goal.cache_ttl, 0
            is_safe = time.monotonic() >= move.safe_at
            self.warn(move, "its writers were not paused: rows were written to the old target", "")
        if is_safe and not found.rows:
            self._finish(move)
        elif not is_safe:
            self._queue(move, max(move.safe_at - time.monotonic(), 0))
        elif move.passes < _PASSES:
            self._queue(move, _BETWEEN)
        else:
            raise MoveFailed(
                f"it is still written to on {move.route.source}: the last of {move.passes} "
                f"passes found {pluralize(found.rows, 'new row')}",
                f"let clients look its target up again ({move.route.target}), then run it again",
            )

    def _ask_proxies(self, move: MoveProgress) -> None:
        """Wait until no proxy leads a client to the old target any more; then none writes there."""
        routing, plan, source = self.goal.routing, move.plan, self.handles[move.route.source]
        # Where one did not get there in time, a later move does not wait as long again.
        end = time.monotonic() + (0 if self._is_proxy_late else parse_duration(routing.timeout))
        why = wait_for_proxies(routing.probes, self._version, plan, source.name, end, self.context)
        self._is_proxy_late = bool(why)
        if why:
            self.warn(
                move,
                f"not all proxies led its clients on within {routing.timeout}, so that these were "
                f"waited for as without proxies ({self.goal.cache_ttl} s): {why}",
                "see that each of them loads new routes (`influxops docs routing`)",
            )
            return
        move.is_routed = True
        # What was acknowledged before is visible then, and found by the pass that follows.
        move.safe_at = time.monotonic() + 2 * source.capabilities.visible_after

    def _version(self) -> int:
        """Read the version of the routes."""
        return self.ledger.load_records((), self.context).route_version

    def _without_source(self, move: MoveProgress) -> None:
        """End a move whose old target cannot be read any more, as was allowed."""
        gone = move.route.source in self.state.inventories
        what = "is gone" if gone else "cannot be read"
        self.warn(
            move,
            f"its old copy on {move.route.source} {what}: rows that were written there after the "
            "cut-over, and not copied yet, are not here",
            "",
        )
        self._finish(move, keep=not gone)

    def _finish(self, move: MoveProgress, *, keep: bool = True) -> None:
        """The tenant is where it should be, with all its rows; its old copy is kept for a while."""
        record, due, copied = move.record, self.due() if keep else None, move.counted
        progress = move.progress if keep and move.last.unread else ""
        after = self.ended(move, due, progress, last_seen_at=self.now())
        parts = [f"its old copy is kept until {format_time(due)}"] if due else []
        if copied.conflicts:
            conflicts = pluralize(copied.conflicts, "conflict")
            parts.append(f"{conflicts}: kept as {record.target} has them")
        entry = self.request.entry(
            Event.RETIRING, move.plan, record.secondary_target, message=", ".join(parts)
        )
        if not self.write({move.plan.tenant: (move, after, entry if keep else None)}):
            return
        route, seconds = move.route, time.monotonic() - move.started_at
        message = f"moved from {route.source} to {route.target}: {format_copied(copied, seconds)}"
        if copied.expiring:
            message += f"; {pluralize(copied.expiring, 'row')} about to expire not compared"
        if due:
            message += f"; its old copy may be dropped after {format_time(due)}"
        self.done(move, move.route.target, message, due=due)
