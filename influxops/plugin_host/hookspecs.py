"""The hooks that the engine runs, and what it expects of who implements them.

Version 2. A plugin is a class; its entry point in the group `influxops.plugins` gives its kind.
The engine makes one instance a configured section, `cls(section, settings)`, and calls each hook
for one instance at a time. An instance may be called again, and from another thread, but never
from two threads at once. What a hook raises is its instance's own failure: it ends nothing else.
A hook may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pluggy

from influxops.constants import PROJECT
from influxops.domain.change import Change, Outcome
from influxops.domain.check import Check
from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import DatabaseStats, Inventory, Marker
from influxops.domain.finding import Finding
from influxops.domain.record import HistoryEntry, HistoryQuery, LedgerSnapshot, LedgerUpdate, Record
from influxops.domain.tenant import Tenant
from influxops.report.model import Report, RunStart
from influxops.runtime.context import RunContext

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def influxops_tenants(context: RunContext) -> Iterable[Tenant | Finding]:  # type: ignore[empty-body]
    """Read all tenants of a source: the tenant-source hook.

    It must give every tenant, whatever the run's scope, or raise: a source that was read in
    part would make orphans of the rest. It may give findings in between, an id that is NULL for
    instance. It must not write.

    Raises:
        SourceError: When the tenants could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_list_databases(verify: Collection[str], context: RunContext) -> Inventory:  # type: ignore[empty-body]
    """Read what a target holds, in a number of requests that does not grow with it.

    It must leave deleted databases out, must say UNKNOWN for what the token may not read, and
    must not write. It is called again after changes.

    Args:
        verify: Names of databases for which the usual signs do not prove that they are
            complete: whether they are must be read from what is stored, at a request each if
            need be. UNKNOWN where even that proves nothing. Usually empty.

    Raises:
        TargetError: When the target could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_ensure(changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:  # type: ignore[empty-body]
    """Make all changes of one target: the database-ensure hook.

    It must yield exactly one outcome a change, in any order, DONE only once it is durable, and
    as soon as it is known. It must not raise for what concerns a single change, and must not
    start another change once `context.check()` raises. It may batch as its server likes best. It
    must be safe to repeat: the process may be killed anywhere, and started again.
    """


@hookspec(firstresult=True)
def influxops_get_tenants(ids: Collection[str], context: RunContext) -> Iterable[Tenant]:  # type: ignore[empty-body]
    """Look up single tenants of a source, where a run is about some. Optional.

    It gives those that are there, each just as `influxops_tenants` would, at a cost that grows
    with the ids and not with the source. It must not write.

    Args:
        ids: The tenants' ids; none, to find out whether the source can be read at all.

    Raises:
        SourceError: When it could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_get_databases(names: Collection[str], context: RunContext) -> Inventory:  # type: ignore[empty-body]
    """Look at single databases of a target, where a run is about some tenants. Optional.

    It gives an inventory with those of them that are there, at a cost that does not grow with
    what else the target holds. `complete` is about these databases. It must not write.

    Args:
        names: The databases' names; none, to find out whether the target can be read at all.

    Raises:
        TargetError: When it could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_markers(  # type: ignore[empty-body]
    names: Collection[str], context: RunContext
) -> Iterable[tuple[str, Marker]]:
    """Read what the markers of some databases say. Optional, targets.

    It is asked about the few that a ledger should know and does not. What has no marker, or one
    that cannot be read, is left out. It must not write.

    Args:
        names: The databases' names.

    Yields:
        A name, and the oldest marker of that database.

    Raises:
        TargetError: When the target could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_create_databases(changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:  # type: ignore[empty-body]
    """Make databases quickly, for an application that waits. Optional, targets.

    All changes are of the kind `CREATE`. It yields an outcome as soon as it is known: DONE once
    the database itself is durable, with `effect` where it was made and without where it was there
    already. What else makes it complete is left out, and comes later, as a `COMPLETE` change. It
    must be safe to repeat.

    Raises:
        TargetError: When the target itself is in trouble (it cannot be reached, is silent, refuses
            the token), so that asking for another one is no use. Changes without an outcome may
            have been made.
    """


@hookspec
def influxops_started(head: RunStart, context: RunContext) -> None:
    """Tell what a run works on, before anything is written. Optional, reporters.

    It is called at most once a run, after sources and targets were read; a run that ends before
    has no head, and its report still comes.

    Raises:
        ReporterError: When it could not be told; that is a warning.
    """


@hookspec
def influxops_report(report: Report, context: RunContext) -> None:
    """Tell somebody how a run ended: the reporting hook.

    It is called once a run, dry runs included (`report.dry_run`), also after failures. What it
    raises is a warning and changes nothing. The context that it is given ends with the
    reporter's own time (`timeout` of its settings).
    """


@hookspec(firstresult=True)
def influxops_check(context: RunContext) -> Iterable[Check]:  # type: ignore[empty-body]
    """Look at all that this instance depends on, for `influxops doctor`. Optional.

    It should go on after a check that fails as far as that makes sense, and must not write.
    """


@hookspec(firstresult=True)
def influxops_database_stats(names: Sequence[str], context: RunContext) -> Iterator[DatabaseStats]:  # type: ignore[empty-body]
    """Tell how much is in each of these databases of a target, for `influxops status`. Optional.

    It yields one value a name, in any order. The guard `recent-telemetry` goes by `last_write` of
    each of its `tables` that is telemetry; where a target tells of none, by that of the database.
    A number or a time that is not known is None, never 0.
    """


@hookspec(firstresult=True)
def influxops_write_activity(  # type: ignore[empty-body]
    name: str, since: datetime, until: datetime, step: int, context: RunContext
) -> Iterable[tuple[datetime, int]]:
    """Tell how much a tenant wrote over time to a database of a target, for a plot. Optional.

    It must not write. Spans begin at multiples of `step` since 1970-01-01, in UTC.

    Args:
        name: The database's name.
        since: The oldest time that counts.
        until: The first time that does not count any more.
        step: Seconds of one span.

    Returns:
        For each span that has rows: when it begins, and how many there are; in any order.

    Raises:
        TargetError: When it could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_lock(context: RunContext) -> AbstractContextManager[None]:  # type: ignore[empty-body]
    """Give a context in which no other run of the same registry changes anything. Optional.

    For sources.

    Raises:
        LockBusy: On entering, when another run holds it.
        SourceError: On entering, when no lock can be had here; on leaving, when it was lost. The
            run goes on with a warning, and looks for duplicates.
    """


@hookspec(firstresult=True)
def influxops_session(context: RunContext) -> AbstractContextManager[None]:  # type: ignore[empty-body]
    """Give a context in which this run is alive in a ledger.

    What the run has claimed stays claimed (`is_held`) until the context is left or the process is
    gone, however it ended. It never waits for another run.

    Raises:
        LedgerError: On entering, when the run cannot be registered; on leaving, when that was lost.
    """


@hookspec(firstresult=True)
def influxops_copy(order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:  # type: ignore[empty-body]
    """Copy a database to another target of the same kind, for `influxops move`. Optional, targets.

    It is called for the target that holds the database, which it must not change. It yields how
    far it is after each step that need not be done again, at least every few seconds, and ends
    with one that says `done`: all rows that were there are in the copy, read anew on both sides.
    The process may be killed anywhere; it is then called again with the last `progress` that it
    yielded, or an earlier one. Before that it is asked what the copy has and the source lacks
    (`order.ahead`): where it cannot tell, only what the copy lacks is copied.

    Raises:
        TargetError: When it could not go on; what was copied stays.
    """


@hookspec(firstresult=True)
def influxops_load_records(tenants: Collection[str] | None, context: RunContext) -> LedgerSnapshot:  # type: ignore[empty-body]
    """Read what a ledger remembers: its records, servers and sources.

    It must not write. The number of statements must not grow with the tenants.

    Args:
        tenants: Ids, where only their records are wanted; None for all.

    Raises:
        LedgerError: When it could not be read, or holds what cannot be; the message says why.
    """


@hookspec(firstresult=True)
def influxops_claim(records: Sequence[Record], context: RunContext) -> Iterable[Record]:  # type: ignore[empty-body]
    """Take tenants into this run's hands, each only if its record is still the one it is based on.

    What was taken has this run as `holder`. All in one transaction, in a number of statements
    that does not grow with the tenants.

    Args:
        records: What each record is to be; `version` is the one that it is based on, 0 where
            there is none.

    Returns:
        The record of each of these tenants as it stands now: one that was taken has this run as
        `holder` and a greater version; another run got the others first.

    Raises:
        LedgerError: When nothing was written, because this run does not live (`influxops_session`)
            for instance, or nobody knows whether it was; the message says which, and why.
    """


@hookspec(firstresult=True)
def influxops_commit(writing: LedgerUpdate, context: RunContext) -> Iterable[Record]:  # type: ignore[empty-body]
    """Write what came of a run, all of it or nothing.

    A record is written only if it is still the one it is based on, as by `influxops_claim`; it
    has no holder then. The entries of the history are appended whatever became of the records.

    The ledger sets `since` of a record anew where its state is another one, and `since` of a
    server where its identity is another one; a server without `read` keeps the one that is there.
    New names of targets take effect before all else, and give no record another version.

    Returns:
        The record of each of these tenants as it stands now.

    Raises:
        LedgerError: When nothing was written, or nobody knows whether it was; the message says
            which, and why.
    """


@hookspec(firstresult=True)
def influxops_history(wanted: HistoryQuery, context: RunContext) -> Iterable[HistoryEntry]:  # type: ignore[empty-body]
    """Give a ledger's history, or a part of it, the oldest entry first.

    Raises:
        LedgerError: When it could not be read.
    """


@hookspec(firstresult=True)
def influxops_count_by_target(context: RunContext) -> Mapping[str, int]:  # type: ignore[empty-body]
    """Count how many databases a ledger has recorded on each target, by its name. Optional.

    Without it, an application's `Provisioner` places nothing where there are several targets.

    Raises:
        LedgerError: When it could not be read.
    """


@hookspec(firstresult=True)
def influxops_enqueue(
    tenants: Sequence[str], connection: Any, context: RunContext
) -> Awaitable[None] | None:
    """Note that tenants should have a database, in an application's own transaction. Optional.

    For ledgers. A tenant that has no record gets one that is `PENDING`; all others stay as they
    are. It is done under a savepoint, so that whatever fails leaves the transaction as it was, and
    it waits for no other transaction for longer than a moment.

    Args:
        tenants: The tenants' ids.
        connection: The application's connection, of the ledger's own kind of database.
        context: Whose time bounds it.

    Returns:
        None once it is written; where the connection is asynchronous, what is to be awaited.

    Raises:
        LedgerError: When nothing was written; the message says why.
    """


@hookspec
def influxops_close() -> None:
    """Let go of connections; the instance is not called again. Optional."""
