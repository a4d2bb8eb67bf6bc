"""Plugins in memory, loaded by entry points as any other: what the engine is tested with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, cast

from msgspec.structs import replace

from influxops.constants import PLUGIN_GROUP
from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Check,
    CopyProgress,
    CopyRequest,
    Database,
    DatabaseStats,
    Finding,
    HistoryEntry,
    HistoryQuery,
    Inventory,
    LedgerSettings,
    LedgerSnapshot,
    LedgerUpdate,
    Location,
    LockBusy,
    Marker,
    Outcome,
    PluginSettings,
    Record,
    Report,
    ReporterSettings,
    RunContext,
    Secret,
    SourceError,
    SourceSettings,
    TableStats,
    TargetCapabilities,
    TargetError,
    TargetSettings,
    Tenant,
    hookimpl,
    setting,
)
from influxops.plugin import Server as Known
from influxops.plugin_host.discovery import PluginType

#: When a server removes the data of what is dropped.
REMOVED = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass
class Server:
    """What a `MemoryTarget` stands for; tests look at it, and break it."""

    databases: dict[str, Database] = field(default_factory=dict)
    limit: int | None = None
    edition: str | None = None
    capacity: int | None = None
    uuid: str | None = ""
    down: str = ""
    reads: int = 0
    shows_all: bool = True
    verify: list[frozenset[str]] = field(default_factory=list)
    #: Is called with the hook's name before each reading.
    before_reading: Callable[[str], object] = lambda hook: None
    #: Ends the run while this reading, counted from 1, is under way.
    cancels_reading: int = 0
    #: It cannot be read any more after so many changes.
    dies_after: int | None = None
    #: Databases that are not complete when they are made for the first time.
    loses: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)
    #: Is called before each change is made.
    before_change: Callable[[], object] = lambda: None
    #: What to do with a change instead of making it; None drops the outcome.
    outcomes: Mapping[str, ChangeResult | None] = field(default_factory=dict)
    #: Databases that are said to be made and are not.
    lies: frozenset[str] = frozenset()
    #: Databases that another run makes on this server as soon as this one writes to any.
    rival: dict[str, Database] = field(default_factory=dict)
    rival_of: Server | None = None
    says: str = "full"
    #: What the inventory is instead of one, in a tuple of one.
    nonsense: tuple[Any, ...] = ()
    #: Databases that a writer makes again as soon as they are dropped.
    written: frozenset[str] = frozenset()
    #: What is there after a creation, whatever was asked for.
    makes: Database | None = None
    #: Ends the run after this many changes.
    cancels_after: int | None = None
    #: Ends the run during the next change, which ends so.
    cancels_with: ChangeResult | None = None
    error: Exception | None = None
    #: Raises after this database was made, without an outcome for it.
    breaks_after: str = ""
    #: Makes everything and says nothing.
    silent: bool = False
    #: A database that is made, and cannot be confirmed.
    unconfirmed: str = ""
    #: Databases whose marker is seen to be missing only when they are looked at closely.
    hidden: set[str] = field(default_factory=set)
    #: Never answers, and does not look whether the run is over; until this is set.
    stuck: threading.Event | None = None
    #: Never answers.
    hangs: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    #: When rows last came to a database; why that is unknown.
    last: dict[str, datetime] = field(default_factory=dict)
    #: What is reported of each table of a database; of others, only how many rows they have.
    tables: dict[str, tuple[TableStats, ...]] = field(default_factory=dict)
    mute: str = ""
    #: Deleted databases, and when their data goes.
    deleted: dict[str, datetime | None] = field(default_factory=dict)
    #: How many seconds ago databases were deleted; what markers say.
    deleted_ago: dict[str, float] = field(default_factory=dict)
    markers: dict[str, Marker] = field(default_factory=dict)
    asked_markers: list[str] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    #: What databases hold, for copying: a value by key and by the database's name.
    data: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Rows that are copied a step.
    step: int = 2
    #: Called with the order before each step of a copy from here; breaks it, or writes more rows.
    copying: Callable[[CopyRequest], None] = lambda order: None
    orders: list[CopyRequest] = field(default_factory=list)
    #: Why tables of databases cannot be copied.
    unread: dict[str, str] = field(default_factory=dict)
    #: What stands in the way of copying.
    in_the_way: tuple[Finding, ...] = ()
    #: Cannot tell what only a copy has.
    knows_no_ahead: bool = False

    def write(self, database: str, **rows: int) -> None:
        """Write rows, as a tenant does."""
        self.data.setdefault(database, {}).update(rows)


@dataclass
class Books:
    """What a `MemoryLedger` keeps; tests look at it, and break it."""

    records: dict[str, Record] = field(default_factory=dict)
    servers: dict[str, Known] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    history: list[HistoryEntry] = field(default_factory=list)
    #: The runs that live, beside those that are in their context.
    living: set[str] = field(default_factory=set)
    #: What goes wrong, by the hook's name without `influxops_`.
    broken: dict[str, Exception] = field(default_factory=dict)
    #: Another run takes these tenants as soon as one reserves.
    rival: dict[str, Record] = field(default_factory=dict)
    #: Called when a place was reserved: what happens between planning and doing.
    after_reserve: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list)
    route_version: int = 0
    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)
    #: Called with the hook's name before it does anything.
    calling: Callable[[str], None] = lambda hook: None
    #: Called with the hook's name after it has written.
    called: Callable[[str], None] = lambda hook: None

    def write(self, records: Iterable[Record], holder: str, run: str) -> list[Record]:
        found = []
        for record in records:
            now = self.records.get(record.tenant)
            version = now.version if now is not None else 0
            is_others = now is not None and now.claimed_by in self.living - {run}
            if version == record.version and not is_others:
                since = (
                    now.state_since if now is not None and now.state == record.state else self.now
                )
                self.records[record.tenant] = replace(
                    record,
                    claimed_by=holder,
                    version=version + 1,
                    state_since=since,
                    is_claimed=False,
                )
            current = self.records[record.tenant]
            held = current.claimed_by not in ("", run) and current.claimed_by in self.living
            found.append(replace(current, is_claimed=held))
        return found


@dataclass
class World:
    """All servers, registries and reports of one test."""

    servers: dict[str, Server] = field(default_factory=dict)
    tenants: dict[str, list[Tenant | Finding]] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    lock: str = "free"
    books: Books = field(default_factory=Books)
    wrapped: list[int] = field(default_factory=list)
    closed: int = 0


WORLDS: dict[str, World] = {}


def broken_rule(name: str) -> str:
    """Give the rule that a name breaks."""
    if "/" in name:
        return "holds a slash"
    if not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
        return "holds something else than ASCII letters, digits, underscores and hyphens"
    return f"has {len(name)} characters" if len(name) > 511 else ""


class _Base:
    Settings: ClassVar[type[PluginSettings]]

    def __init__(self, section: str, settings: Any) -> None:
        self.section = section
        self.settings = settings
        self.world = WORLDS[settings.world]


class MemorySource(_Base):
    """Gives the tenants of its world."""

    class Settings(SourceSettings):
        world: str = setting(description="Which world.")
        host: str = setting("localhost", description="Where.", env=("MEMORY_HOST",))
        password: Secret | None = setting(None, description="Secret.", env=("MEMORY_PASS",))

        def location(self) -> Location:
            return Location(
                f"memory@{self.host}",
                self.host,
                is_default="host" not in self.given,
                subject="the registry",
            )

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant | Finding] | None:
        given = self.world.tenants.get(self.section, [])
        return None if given is None else self._given(given)

    def _given(self, given: Iterable[Tenant | Finding]) -> Iterator[Tenant | Finding]:
        yield from given
        if self.section in self.world.broken:
            raise self.world.broken[self.section]

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterable[Check]:
        yield Check("memory", True, "is there")
        if self.section in self.world.broken:
            raise self.world.broken[self.section]

    @hookimpl
    def influxops_lock(self, context: RunContext) -> contextlib.AbstractContextManager[None]:
        return self._lock()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if self.world.lock == "busy":
            raise LockBusy("somebody else holds it")
        if self.world.lock == "none":
            raise SourceError("there is none")
        yield
        if self.world.lock == "breaks":
            raise RuntimeError("the connection was lost")


class MemoryTarget(_Base):
    """Holds databases in memory, with a limit where its server has one."""

    capabilities = TargetCapabilities(
        server="Memory",
        retention=(3600, 10**9),
        completion_marker="marker",
        table_label="telemetry",
        validate_name=broken_rule,
        validate_tenant=lambda id_: "holds a control character" if not id_.isprintable() else "",
    )

    class Settings(TargetSettings):
        world: str = setting(description="Which world.")
        url: str = setting("http://localhost:8181", description="Where.", env=("MEMORY_URL",))
        uuid: str | None = setting(None, description="Who.")
        token: Secret | None = setting(None, description="Secret.")

        @property
        def expected_identity(self) -> str | None:
            return self.uuid

        def location(self) -> Location:
            host = self.url.split("/")[2].split(":")[0]
            return Location(self.url, host, is_default="url" not in self.given)

    @property
    def server(self) -> Server:
        return self.world.servers.setdefault(self.section, Server(uuid=self.section))

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        server = self.server
        server.before_reading("list_databases")
        server.reads += 1
        server.verify.append(frozenset(verify))
        if server.cancels_reading == server.reads:
            context.cancel()
            context.check()
        if server.stuck is not None:
            server.stuck.wait()
        if server.hangs:
            with context.on_end(server.gone.set):
                server.gone.wait()
            context.check()
        if server.dies_after is not None and len(server.changes) >= server.dies_after:
            raise TargetError("connection refused", hint="start it")
        if server.down:
            raise TargetError(server.down, hint="start it")
        if server.nonsense:
            (given,) = server.nonsense
            return Inventory(given) if isinstance(given, dict) else cast(Inventory, given)
        databases = {
            name: replace(each, complete=False) if name in server.hidden & {*verify} else each
            for name, each in server.databases.items()
        }
        return Inventory(
            databases,
            server.edition,
            "3.0",
            server.uuid,
            server.capacity,
            server.shows_all,
            dict(server.deleted),
            dict(server.deleted_ago),
        )

    @hookimpl
    def influxops_get_markers(
        self, names: Collection[str], context: RunContext
    ) -> Iterable[tuple[str, Marker]]:
        server = self.server
        server.asked_markers += sorted(names)
        return [(name, server.markers[name]) for name in names if name in server.markers]

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        server = self.server
        for change in changes:
            server.before_change()
            if server.error is not None:
                raise server.error
            if len(server.changes) == server.cancels_after:
                context.cancel()
            context.check()
            server.changes.append(change)
            if server.cancels_with is not None:
                context.cancel()
                yield Outcome(change, server.cancels_with, "under way")
                continue
            if server.rival_of is not None:
                server.rival_of.databases.update(server.rival)
            if change.database in server.outcomes:
                status = server.outcomes[change.database]
                if status is not None:
                    yield Outcome(change, status, "as the test wants it")
                continue
            if change.database in server.lies:
                pass
            elif change.action is Action.DROP:
                del server.databases[change.database]
                server.deleted[change.database] = REMOVED
                if change.database in server.written:
                    server.databases[change.database] = Database(None, False, True)
            elif (
                change.before is None
                and server.limit is not None
                and len(server.databases) >= server.limit
            ):
                yield Outcome(change, ChangeResult.NO_CAPACITY, server.says)
                continue
            else:
                assert change.after is not None
                made = server.makes or change.after
                if change.database in server.loses:
                    server.loses.remove(change.database)
                    made = replace(made, complete=False)
                server.databases[change.database] = made
                server.hidden.discard(change.database)
            if change.database == server.breaks_after:
                raise ZeroDivisionError("oops")
            if server.silent:
                continue
            if change.database == server.unconfirmed:
                yield Outcome(change, ChangeResult.UNCONFIRMED, "its marker is not confirmed")
                continue
            yield Outcome(change, ChangeResult.DONE)

    @hookimpl
    def influxops_database_stats(self, names: Sequence[str]) -> Iterator[DatabaseStats]:
        for name in names:
            if self.server.mute:
                yield DatabaseStats(name, message=self.server.mute)
            else:
                count, last = self.server.rows.get(name, 0), self.server.last.get(name)
                tables = self.server.tables.get(name)
                yield DatabaseStats(name, count, last, tables=tables)

    @hookimpl
    def influxops_copy(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Copy in passes until one finds nothing new; a step is some rows, in their order."""
        server = self.server
        server.orders.append(order)
        ours = server.data.get(order.database, {})
        if order.ahead:
            there = order.into.server.data.get(order.database, {})
            more = None if server.knows_no_ahead else len(there.keys() - ours.keys())
            others = sum(ours.get(key, value) != value for key, value in there.items())
            yield CopyProgress("looking", ahead=more, conflicts=others)
            return
        if order.dry_run:
            yield CopyProgress(
                "planning", "", total=len(ours), tables=1, findings=server.in_the_way
            )
            return
        into: MemoryTarget = order.into
        if order.database not in into.server.databases:
            raise TargetError(f"there is no database {order.database} on {into.section}")
        theirs = into.server.data.setdefault(order.database, {})
        # "~" is after all keys: what has seen all of them. A further pass looks again.
        # What was left out on purpose comes after it.
        after, *told_without = order.progress.split("|")
        without = {*order.without_tables, *told_without}
        rows = conflicts = 0
        if after == "~" and not order.recent:
            after = ""
        while True:
            server.copying(order)
            context.check()
            keys = sorted(key for key in ours if key > after)[: server.step]
            for key in keys:
                if key not in theirs or (theirs[key] != ours[key] and not order.only_missing):
                    theirs[key] = ours[key]
                    rows += 1
                conflicts += theirs[key] != ours[key]
            context.on_progress(len(keys))
            after = keys[-1] if keys else ""
            is_equal = all(key in theirs for key in ours)
            is_over = not keys and (order.only_missing or is_equal)
            told = "~" if is_over else after
            done = is_over and server.unread.keys() <= without
            yield CopyProgress(
                "copying",
                "".join((told, *(f"|{name}" for name in sorted(without)))),
                rows,
                len(ours),
                1,
                0,
                conflicts=conflicts,
                ahead=len(theirs.keys() - ours.keys()) if order.merge else None,
                unread=server.unread,
                done=done,
                rows_by_table={"telemetry": rows} if rows else {},
                findings=server.in_the_way,
            )
            if is_over:
                return


class MemoryLedger(_Base):
    """Keeps the books of its world."""

    class Settings(LedgerSettings):
        world: str = setting(description="Which world.")

        def location(self) -> Location:
            return Location("memory books", "localhost")

    def _called(self, hook: str) -> Books:
        books = self.world.books
        books.calls.append(hook)
        books.calling(hook)
        if hook in books.broken:
            raise books.broken[hook]
        return books

    @hookimpl
    def influxops_load_records(
        self, tenants: Collection[str] | None, context: RunContext
    ) -> LedgerSnapshot:
        books = self._called("load_records")
        records = {
            id_: replace(
                record,
                is_claimed=record.claimed_by in books.living and record.claimed_by != context.id,
            )
            for id_, record in books.records.items()
            if tenants is None or id_ in tenants
        }
        return LedgerSnapshot(
            records,
            tuple(books.servers.values()),
            frozenset(books.sources),
            books.now,
            books.route_version,
        )

    @hookimpl
    def influxops_claim(self, records: Sequence[Record], context: RunContext) -> list[Record]:
        books = self._called("claim")
        books.after_reserve()
        books.records.update(books.rival)
        found = books.write(records, context.id, context.id)
        books.called("claim")
        return found

    @hookimpl
    def influxops_commit(self, update: LedgerUpdate, context: RunContext) -> list[Record]:
        books = self._called("commit")
        there = {(server.target, server.identity) for server in update.servers}
        books.records = {
            id_: replace(record, target=update.renamed.get(record.target or "", record.target))
            if (record.target, record.identity) not in there
            else record
            for id_, record in books.records.items()
        }
        for old in update.renamed:
            books.servers.pop(old, None)
        for server in update.servers:
            known = books.servers.get(server.target)
            is_known = known is not None and known.identity == server.identity
            since = known.since if known is not None and is_known else books.now
            books.servers[server.target] = replace(server, since=since)
        books.sources |= update.sources
        books.history += [replace(e, at=books.now, run=context.id) for e in update.entries]
        books.route_version += bool(update.records)
        found = books.write(update.records, "", context.id)
        for each in update.forgotten:
            if books.records[each.tenant].version == each.version:
                del books.records[each.tenant]
        books.called("commit")
        return found

    @hookimpl
    def influxops_history(self, query: HistoryQuery, context: RunContext) -> list[HistoryEntry]:
        return [
            entry
            for entry in self._called("history").history
            if query.tenants is None or entry.tenant in query.tenants
        ]

    @hookimpl
    def influxops_session(self, context: RunContext) -> contextlib.AbstractContextManager[None]:
        return self._lives(context)

    @contextlib.contextmanager
    def _lives(self, context: RunContext) -> Iterator[None]:
        books = self._called("session")
        books.living.add(context.id)
        yield
        books.living.discard(context.id)


class MemoryReporter(_Base):
    """Keeps the reports of its world."""

    class Settings(ReporterSettings):
        world: str = setting(description="Which world.")
        webhook: Secret | None = setting(None, description="Secret.")

    @hookimpl
    def influxops_started(self) -> None:
        if f"{self.section} started" in self.world.broken:
            raise self.world.broken[f"{self.section} started"]

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        if self.section in self.world.broken:
            raise self.world.broken[self.section]
        self.world.reports.append(report)

    @hookimpl
    def influxops_close(self) -> None:
        self.world.closed += 1


class WrappingReporter(MemoryReporter):
    """Times what targets do, as a plugin for tracing would."""

    @hookimpl(wrapper=True)
    def influxops_ensure(
        self, changes: Sequence[Change], context: RunContext
    ) -> Generator[None, Iterator[Outcome], Iterator[Outcome]]:
        self.world.wrapped.append(len(changes))
        outcomes = yield
        return outcomes


def kind(name: str, value: str) -> PluginType:
    """Make a kind of an object of this module, or of anywhere."""
    return PluginType(name, (EntryPoint(name, value, PLUGIN_GROUP),))


KINDS = {
    each.name: each
    for each in (
        kind("memory", "tests.fakes:MemorySource"),
        kind("memorydb", "tests.fakes:MemoryTarget"),
        kind("otherdb", "tests.fakes:MemoryTarget"),
        kind("books", "tests.fakes:MemoryLedger"),
        kind("memo", "tests.fakes:MemoryReporter"),
        kind("wrapping", "tests.fakes:WrappingReporter"),
    )
}
