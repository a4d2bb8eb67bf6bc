"""The hooks that the engine runs: what each kind of plugin must implement, and what it may.

A plugin is a class; its entry point in the group `influxops.plugins` gives its kind. The engine
makes one instance a configured section, `cls(section, settings)`, and calls each hook for one
instance at a time. An instance may be called again, and from another thread, but never from two
threads at once, unless a hook does not return after an interrupt. A hook may leave out arguments
that it does not need. One that cannot do its work raises its kind's error (SourceError,
TargetError, LedgerError, ReporterError), whose message says why, and whether anything may have been
written; that is its instance's own failure and ends nothing else.

`SourceHooks`, `TargetHooks`, `LedgerHooks` and `ReporterHooks` are what a kind must implement (the
base classes of `influxops.plugin` derive from them); every other class here is a mixin for one
optional hook. A plugin that derives from a mixin has to implement its hook.
"""

# What is specified here is never called: a plugin implements it.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pluggy

from influxops.constants import PROJECT
from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import DatabaseStats, Inventory, Marker
from influxops.domain.finding import Check, Finding
from influxops.domain.plan import Change, Outcome
from influxops.domain.record import HistoryEntry, HistoryQuery, LedgerSnapshot, LedgerUpdate, Record
from influxops.domain.route import Routes
from influxops.domain.tenant import Tenant
from influxops.report.model import Report, RunStart
from influxops.runtime.context import RunContext

#: The version of these hooks; it grows when a plugin has to be changed for them.
API_VERSION = 3

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class SourceHooks:
    """What a tenant source must implement."""

    @hookspec(firstresult=True)
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant | Finding]:
        """Read all tenants of a source: the tenant-source hook.

        It must give every tenant, whatever the run's scope, or raise: a source that was read in
        part would make orphans of the rest. It may give findings in between, an id that is NULL
        for instance. It must not write.
        """


class TenantLookup:
    """A source that can read single tenants, where a run is about some."""

    @hookspec(firstresult=True)
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        """Read single tenants, each just as `influxops_tenants` would.

        The cost grows with the ids and not with the source. It must not write.

        Args:
            ids: Their ids; none, to find out whether the source can be read at all.
        """


class RegistryLock:
    """A source that can keep other runs of the same registry out, where no ledger does."""

    @hookspec(firstresult=True)
    def influxops_lock(self, context: RunContext) -> AbstractContextManager[None]:
        """Return a context in which no other run of the same registry changes anything.

        Raises:
            LockBusy: On entering, when another run holds it.
            SourceError: On entering, when no lock can be had here; on leaving, when it was lost.
                The run goes on with a warning, and looks for duplicates.
        """


class TargetHooks:
    """What a database target must implement."""

    @hookspec(firstresult=True)
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read what a target holds, in a number of requests that does not grow with it.

        It must leave deleted databases out, must say UNKNOWN for what the token may not read, and
        must not write. It is called again after changes.

        Args:
            verify: Names of databases for which the usual signs do not prove that they are
                complete: whether they are must be read from what is stored, at a request each if
                need be. UNKNOWN where even that proves nothing. Usually empty.
        """

    @hookspec(firstresult=True)
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make all changes of one target: the database-ensure hook.

        It must yield exactly one outcome a change, in any order, DONE only once it is durable, and
        as soon as it is known. It must not raise for what concerns a single change, and must not
        start another change once `context.check()` raises. Changes may be batched. It must be safe
        to repeat: the process may be killed anywhere, and started again.
        """


class DatabaseLookup:
    """A target that can read single databases, where a run is about some tenants."""

    @hookspec(firstresult=True)
    def influxops_get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        """Read those of some databases that exist.

        The cost does not grow with what else the target holds. `complete` is about these
        databases. It must not write.

        Args:
            names: Their names; none, to find out whether the target can be read at all.
        """


class DatabaseMarkers:
    """A target that can read the markers of databases, where a ledger may be older than it."""

    @hookspec(firstresult=True)
    def influxops_get_markers(
        self, names: Collection[str], context: RunContext
    ) -> Iterable[tuple[str, Marker]]:
        """Read the markers of the few databases that a ledger should know and does not.

        What has no marker, or one that cannot be read, is left out. It must not write.

        Yields:
            A name, and the oldest marker of that database.
        """


class FastCreation:
    """A target that can create databases for an application that waits."""

    @hookspec(firstresult=True)
    def influxops_create_databases(
        self, changes: Sequence[Change], context: RunContext
    ) -> Iterator[Outcome]:
        """Create databases; what else makes them complete comes later, as a `COMPLETE` change.

        All changes are of the kind `CREATE`. It yields an outcome as soon as it is known: DONE
        once the database itself is durable, with `partially_applied` where
        it was created just now and without where it existed already. It must be safe to repeat.

        Raises:
            TargetError: When the target itself is in trouble (it cannot be reached, is silent,
                refuses the token), so that asking for another one is no use. Changes without an
                outcome may have been made.
        """


class DatabaseStatistics:
    """A target that can count what is in databases: `influxops status`, `recent-telemetry`."""

    @hookspec(firstresult=True)
    def influxops_database_stats(
        self, names: Sequence[str], context: RunContext
    ) -> Iterator[DatabaseStats]:
        """Count what is in each of these databases.

        It yields one value a name, in any order. The guard `recent-telemetry` uses `last_write` of
        each of its `tables` that is telemetry; where a target gives no tables, that of the
        database. A number or a time that is not known is None, never 0.
        """


class WriteActivity:
    """A target that can count what a tenant wrote over time, for the console's chart."""

    @hookspec(firstresult=True)
    def influxops_write_activity(
        self, name: str, since: datetime, until: datetime, step: int, context: RunContext
    ) -> Iterable[tuple[datetime, int]]:
        """Count what was written to a database over time. It must not write.

        Args:
            since: The oldest time that counts.
            until: The first time that does not count any more.
            step: Seconds of one span; spans begin at multiples of it since 1970-01-01, in UTC.

        Returns:
            For each span that has rows: when it begins, and how many there are; in any order.
        """


class DatabaseCopy:
    """A target that can copy a database to another one of its kind, for `influxops move`."""

    @hookspec(firstresult=True)
    def influxops_copy(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Copy a database to another target of the same kind.

        It is called for the target that holds the database, which it must not change. It yields
        its progress after each step that need not be done again, at least every few seconds, and
        ends with one that says `done`: all rows that the source had are in the copy, read again on
        both sides. The process may be killed anywhere; it is then called again with the last
        `progress` that it yielded, or an earlier one. Before that it is asked what the copy has and
        the source lacks (`order.ahead`): where it cannot tell, only what the copy lacks is copied.
        """


class DatabaseExport:
    """A target that can write a database to files: `influxops export`."""

    @hookspec(firstresult=True)
    def influxops_export(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Write a database to files in `order.folder`, which exists, while it is in use.

        The database must not be changed. `Manifest` is kept in the folder's `manifest.json`: it is
        replaced at once, names only files that are durable, and has `ended` once it is whole. It
        yields its progress at least every few seconds, and ends with one that says `done`. The
        process may be killed anywhere: it is called again, and goes on where the manifest is. A
        whole export is brought up to date, and never loses a row that the database lacks for
        another reason than its retention period. A table that cannot be read is in `unread`, and
        all others are written.
        """


class DatabaseImport:
    """A target that can read the files of an export: `influxops import`."""

    @hookspec(firstresult=True)
    def influxops_import(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Write the files in `order.folder` to a database, which exists.

        What else the database holds stays, and where both have a field of a row it gets the
        value of the files. It ends with a progress that says `done`: all rows of the files are in
        the database, read again. It must be safe to repeat.

        With `order.dry_run` nothing is written and the database need not exist: each file is held
        against the manifest (ExportError where one is not as it was written). With `order.ahead`,
        too, the database is looked at: `CopyProgress.ahead` counts the rows that the files lack,
        `conflicts` those with other values.
        """


class LedgerHooks:
    """What a ledger must implement."""

    @hookspec(firstresult=True)
    def influxops_load_records(
        self, tenants: Collection[str] | None, context: RunContext
    ) -> LedgerSnapshot:
        """Read a ledger's records, servers and sources.

        It must not write. The number of statements must not grow with the tenants.

        Args:
            tenants: Ids, where only their records are wanted; None for all.
        """

    @hookspec(firstresult=True)
    def influxops_claim(self, records: Sequence[Record], context: RunContext) -> Iterable[Record]:
        """Claim tenants for this run, each only if its record is still the one it is based on.

        All in one transaction, in a number of statements that does not grow with the tenants.

        Args:
            records: What each record is to be; `version` is the one that it is based on, 0 where
                there is none.

        Returns:
            The record of each of these tenants as it is now: one that was claimed has this run as
            `holder` and a greater version; another run got the others first.
        """

    @hookspec(firstresult=True)
    def influxops_commit(self, update: LedgerUpdate, context: RunContext) -> Iterable[Record]:
        """Write the results of a run, all of them or nothing.

        A record is written only if it is still the one it is based on, as by `influxops_claim`; it
        has no holder then. The entries of the history are appended whether records were written or
        not; one that did not end well may be counted with an equal one of its tenant instead.

        The ledger sets `since` of a record again where its state is another one, and `since` of a
        server where its identity is another one; a server without `read` keeps the one that is
        stored. New names of targets take effect before all else, and give no record another
        version.

        Returns:
            The record of each of these tenants as it is now.
        """

    @hookspec(firstresult=True)
    def influxops_history(self, query: HistoryQuery, context: RunContext) -> Iterable[HistoryEntry]:
        """Read a ledger's history, or a part of it, the oldest entry first."""

    @hookspec(firstresult=True)
    def influxops_session(self, context: RunContext) -> AbstractContextManager[None]:
        """Return a context in which this run is alive in a ledger.

        What the run has claimed stays claimed (`is_held`) until the context is left or the process
        is gone, however it ended. It never waits for another run.
        """


class RecordCounts:
    """A ledger that can count databases, to place what an application asks for."""

    @hookspec(firstresult=True)
    def influxops_count_by_target(self, context: RunContext) -> Mapping[str, int]:
        """Count how many databases a ledger has recorded on each target, by its name.

        Without it, an application's `Provisioner` places nothing where there are several targets.
        """


class TenantQueue:
    """A ledger that can note tenants in an application's own transaction."""

    @hookspec(firstresult=True)
    def influxops_enqueue(
        self, tenants: Sequence[str], connection: Any, context: RunContext
    ) -> Awaitable[None] | None:
        """Note in an application's own transaction that tenants should have a database.

        A tenant that has no record gets one that is `PENDING`; all others stay as they are. It is
        done under a savepoint, so that a failure leaves the transaction as it was, and it waits
        for no other transaction for longer than a moment.

        Args:
            connection: The application's, of the ledger's own kind of database.
            context: Its time bounds the wait.

        Returns:
            None once it is written; where the connection is asynchronous, what is to be awaited.
        """


class RouteChanges:
    """A ledger that tells when clients are led somewhere else."""

    @hookspec(firstresult=True)
    def influxops_watch_routes(self, context: RunContext) -> Iterator[int]:
        """Yield `route_version` at once, right after each change, and every few seconds.

        It goes on until the run is over, and its other hooks are called in between. What was
        committed by any process counts.

        Raises:
            ConfigError: When changes cannot be seen from here in time.
        """


class ReporterHooks:
    """What a reporter must implement."""

    @hookspec
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Report how a run ended: the reporting hook.

        It is called once a run, dry runs included (`report.dry_run`), also after failures. What it
        raises is a warning and changes nothing. The context that it is given ends with the
        reporter's own time (`timeout` of its settings).
        """


class StartNotice:
    """A reporter that also says what a run works on, before anything is written."""

    @hookspec
    def influxops_started(self, head: RunStart, context: RunContext) -> None:
        """Report what a run works on.

        It is called at most once a run, after sources and targets were read; a run that ends before
        has no head, and its report still comes.
        """


class RouteFiles:
    """A reporter that writes where the clients of each database are led."""

    @hookspec
    def influxops_write_routes(
        self, read: Callable[[], Routes], allow: frozenset[str], context: RunContext
    ) -> None:
        """Write the routes where they differ from what was written last.

        It is called after each run that is no dry one, right after a change within a run, and by
        workers after any change. What it raises is a warning.

        Args:
            read: Reads them from the ledger, as they are now.
            allow: The guards that are allowed.
        """


class HealthChecks:
    """A plugin of any kind that looks at what it depends on, for `influxops doctor`."""

    @hookspec(firstresult=True)
    def influxops_check(self, context: RunContext) -> Iterable[Check]:
        """Look at all that this instance depends on.

        It should go on after a check that fails as far as that makes sense, and must not write.
        """


class Closing:
    """A plugin of any kind that keeps connections open between hooks."""

    @hookspec
    def influxops_close(self) -> None:
        """Close what is open; the instance is not called again."""


#: What a plugin of each role must implement.
REQUIRED: Mapping[str, type] = {
    "sources": SourceHooks,
    "targets": TargetHooks,
    "reporters": ReporterHooks,
    "ledger": LedgerHooks,
}
#: What it may.
OPTIONAL = (
    TenantLookup,
    RegistryLock,
    DatabaseLookup,
    FastCreation,
    DatabaseStatistics,
    WriteActivity,
    DatabaseCopy,
    DatabaseExport,
    DatabaseImport,
    DatabaseMarkers,
    RecordCounts,
    TenantQueue,
    RouteChanges,
    StartNotice,
    RouteFiles,
    HealthChecks,
    Closing,
)


def hooks_of(spec: type) -> dict[str, Any]:
    """Return the hooks that a class of this module specifies, by name."""
    return {name: hook for name, hook in vars(spec).items() if name.startswith(f"{PROJECT}_")}
