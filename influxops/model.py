"""The values that flow through a run; all frozen, none of them does I/O.

Tenant ─▶ TenantPlan (Change before ─▶ after) ─▶ Outcome ─▶ TenantPlan, settled
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final

from msgspec import Struct, field

from influxops.findings import Finding
from influxops.ledger import Record
from influxops.remedy import Remedy


class Unknown(Enum):
    """The type of `UNKNOWN`: what could not be read, so nothing may be concluded from it."""

    UNKNOWN = "unknown"


class Unmanaged(Enum):
    """The type of `UNMANAGED`: what nobody asked influxops to manage."""

    UNMANAGED = "unmanaged"


UNKNOWN: Final = Unknown.UNKNOWN
UNMANAGED: Final = Unmanaged.UNMANAGED

#: Seconds, or None where data is kept for ever.
Retention = int | None


class Action(StrEnum):
    """What a change does to one database."""

    CREATE = "create"
    SET_RETENTION = "set-retention"
    COMPLETE = "add-marker"  # make complete what was made and not finished
    DROP = "drop"
    # what the ledger alone does
    ADOPT = "adopt"  # a database that the plan would not have chosen is the tenant's
    RETIRE = "retire"  # drop it later
    UNRETIRE = "unretire"  # keep it after all
    # what takes two targets
    MOVE = "move"  # to another target, with all that is in it


class Status(StrEnum):
    """How one change ended.

    `DONE` is durable on the server. `FULL` says that the server has no room, so that the tenant
    may be placed elsewhere. `UNCONFIRMED` was made, but whether it survives a crash could not be
    made sure. `UNKNOWN` is settled by reading the server again. `SKIPPED` was never tried (the
    run was interrupted, or its target gave up before).
    """

    DONE = "done"
    FAILED = "failed"
    FULL = "full"
    UNCONFIRMED = "unconfirmed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    """Where a tenant stands.

    `OK` was right before the run, `CHANGED` was made right by it, `PENDING` would be changed.
    The others are not right: `HELD` needs a decision, `REFUSED` waits for a guard to be allowed,
    `FAILED` was tried, `UNKNOWN` could not be read or confirmed.
    """

    OK = "ok"
    CHANGED = "changed"
    PENDING = "pending"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def is_right(self) -> bool:
        """Whether nobody needs to look."""
        return self in (Verdict.OK, Verdict.CHANGED, Verdict.PENDING)


class Tenant(Struct, frozen=True):
    """A tenant as a source knows it."""

    id: str  # as text
    #: What else the source says of it. The engine reads `database` (overrides the naming
    #: template), `retention` (a duration, or `none`) and `target` (overrides the placement);
    #: what is NULL in the source is left out.
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # the name of the source's section; the engine fills it in


class Database(Struct, frozen=True):
    """A tenant database, as it is or as it should be."""

    name: str  # its name on the server
    retention: Retention | Unknown = UNKNOWN  # seconds; None where data is kept for ever
    complete: bool | Unknown = UNKNOWN  # whether the making of it was finished
    in_use: bool | Unknown = UNKNOWN  # whether its tenant has written to it, to whatever table
    #: Whether it was ever marked as complete, where that is known apart from whether it is now:
    #: its marker may be lost from what is stored. A client's write creates one without a marker.
    marked: bool | Unknown = UNKNOWN

    @property
    def is_marked(self) -> bool | Unknown:
        """Whether it was ever marked as complete."""
        return self.complete if self.marked is UNKNOWN else self.marked


class Marker(Struct, frozen=True):
    """What says that a database was made for a tenant."""

    tenant: str  # its id
    at: datetime  # the hour in which the run began that made it first, by that run's clock


class Inventory(Struct, frozen=True):
    """What a target holds, deleted databases left out."""

    databases: Mapping[str, Database]  # by name; the server's own databases are left out
    edition: str | None = None  # None where the server does not say
    version: str | None = None  # None where the server does not say
    identity: str | None = None  # opaque text that tells this server from every other
    capacity: int | None = None  # how many databases it is thought to hold; None: no known limit
    #: False where some databases, or what they are like, may be hidden from the token.
    complete: bool = True
    #: When the data of the newest deleted database of each name goes, as far as the server tells;
    #: None where it does not say when.
    deleted: Mapping[str, datetime | None] = field(default_factory=dict)
    #: How many seconds ago the newest deleted database of each name was deleted, by the clock of
    #: the server; as far as that tells.
    deleted_ago: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # what was noticed while reading


class Change(Struct, frozen=True):
    """One step that brings one database to what is desired."""

    action: Action
    tenant: str  # the tenant's id
    target: str  # the name of the target that holds or will hold the database
    database: str  # the database's name
    before: Database | None = None  # as it is; None where there is none
    after: Database | None = None  # as it will be; None where it will be gone
    reason: str = ""  # why, where it is not plain from the action
    #: Until when the data of what is retired, or was dropped, is kept; None where nobody knows.
    until: datetime | None = None

    @property
    def needs_target(self) -> bool:
        """Whether its target makes it; else the ledger alone does: what is gone is not dropped."""
        if self.action is Action.DROP:
            return self.before is not None
        return self.action not in (Action.ADOPT, Action.RETIRE, Action.UNRETIRE)


class Outcome(Struct, frozen=True):
    """How one change ended; exactly one a change."""

    change: Change
    status: Status
    message: str = ""  # why it did not end as wished; no prefix that names tenant or target
    remedy: Any = ""  # what to do about it: a Remedy, or text
    #: Whether something is there now that was not, although the change did not end well. The
    #: engine settles it by reading again.
    effect: bool = False


class TenantPlan(Struct, frozen=True):
    """One tenant, from what it should have to how it stands at the end of a run: the one value.

    Planning makes it, guards may refuse its changes, the run adds how they ended. Everything
    that is told of a tenant follows from it.
    """

    tenant: str  # its id
    database: str  # the desired database's name; empty where it has none that is valid
    retention: Retention | Unmanaged  # the retention period it should have, in seconds
    verdict: Verdict = Verdict.OK
    pin: str | None = None  # the only target that its database should be on; None: placement
    target: str | None = None  # the target that holds its database, or will
    before: Database | None = None  # the database before the run
    after: Database | None = None  # after the run; in a dry run, as it would be
    changes: tuple[Change, ...] = ()  # what is to be done, refused changes left out
    refused: tuple[Change, ...] = ()  # what a guard refuses
    outcomes: tuple[Outcome, ...] = ()  # how the changes ended, settled by reading again
    finding: Finding | None = None  # explains a verdict that is not right
    notes: tuple[Finding, ...] = ()  # what else was noticed about it
    #: Whether it is to be created beyond what its target is thought to hold.
    over_estimate: bool = False
    #: The targets that could not be read and may hold its database.
    unseen_on: tuple[str, ...] = ()
    record: Record | None = None  # what the ledger has of it; None without one

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found about it, what explains its verdict first."""
        return (self.finding, *self.notes) if self.finding else self.notes

    @property
    def move(self) -> Change | None:
        """The change that takes its database to another target; None without one."""
        return next((change for change in self.changes if change.action is Action.MOVE), None)

    @property
    def is_replacement(self) -> bool:
        """Whether a database is to be dropped, and created again in its place."""
        actions = {change.action for change in (*self.changes, *self.refused)}
        return actions >= {Action.DROP, Action.CREATE}

    @property
    def made(self) -> tuple[Change, ...]:
        """The changes that were made, those among them that were not finished too."""
        return tuple(o.change for o in self.outcomes if o.status is Status.DONE or o.effect)


class Refusal(Struct, frozen=True):
    """What a guard keeps from being done until it is allowed."""

    guard: str  # the name that allows it
    message: str  # what it refuses, and why
    tenants: tuple[str, ...] = ()  # the tenants that wait for the decision
    when: str = "only if that is what you want"  # when it is right to allow it

    @property
    def remedy(self) -> Remedy:
        """What to do: allow it, if that is right."""
        return Remedy.allow(self.guard, self.when)


class Check(Struct, frozen=True):
    """One thing that a run depends on, as `influxops doctor` found it."""

    name: str  # what was looked at, in a few words
    ok: bool | None  # None where it could not be told, or is no fault
    message: str  # what was found
    hint: Any = ""  # what to do about it: a Remedy, or text


class TableStats(Struct, frozen=True):
    """How much is in one table of a database."""

    name: str
    rows: int | None = None  # None: not known
    at_most: bool = False  # whether there may be fewer rows than that
    last_write: datetime | None = None  # the newest time of a row, in UTC; None: none, or not known
    #: Whether what is written to it is telemetry for the guards.
    is_telemetry: bool = True

    @property
    def is_known(self) -> bool:
        """Whether it is known when it was last written to, if it ever was."""
        return self.rows is not None or self.last_write is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What reports have of it, as plain data."""
        return {
            "name": self.name,
            "rows": self.rows,
            "at_most": self.at_most,
            "last_write": _plain(self.last_write),
        }


class DatabaseStats(Struct, frozen=True):
    """What a target tells of one database beyond the inventory."""

    name: str  # the database's name
    #: Rows of what the target's `Traits.contents` names; 0 without any, None: not read.
    telemetry_count: int | None = None
    #: The newest time of a row in any table, in UTC; None without rows, or where it is not known.
    last_write: datetime | None = None
    complete: bool | Unknown = UNKNOWN  # whether it is complete, as the data itself shows
    message: str = ""  # why something could not be read
    #: Each of its tables but what marks it as complete; None where the target does not tell.
    tables: tuple[TableStats, ...] | None = None

    @property
    def contents(self) -> tuple[TableStats, ...]:
        """Its tables; one without a name for a target that does not tell of them."""
        if self.tables is not None:
            return self.tables
        return (TableStats("", self.telemetry_count, last_write=self.last_write),)

    @property
    def rows(self) -> int | None:
        """How many rows there are in all tables, or at most; None where that is not known."""
        counts = [table.rows for table in self.contents if table.rows is not None]
        return sum(counts) if len(counts) == len(self.contents) else None

    @property
    def at_most(self) -> bool:
        """Whether there may be fewer rows than that."""
        return any(table.at_most for table in self.contents)

    @property
    def facts(self) -> dict[str, Any]:
        """What reports have of its contents, as plain data."""
        tables = None if self.tables is None else [table.facts for table in self.tables]
        return {"rows": self.rows, "tables": tables, "last_write": _plain(self.last_write)}


def _plain(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time is not None else None


class CopyOrder(Struct, frozen=True):
    """What is to be copied from one target to another of the same kind."""

    database: str  # its name, on both
    into: Any  # the instance of the plugin that gets it
    #: How far an earlier call was, the last `Copied.progress` of it; empty for the first.
    progress: str = ""
    #: Whether the tenant writes to the copy by now: then only rows that the copy lacks are copied,
    #: so that an old one never overwrites a newer one.
    only_missing: bool = False
    #: Whether nothing is to be written: the one value that is yielded says what there is to copy.
    dry_run: bool = False
    #: With `only_missing` and the progress of a copy that was done: whether it is enough to look at
    #: what came since that copy began. A later call looks at all.
    recent: bool = False
    #: Whether nobody writes to it any more, as somebody said.
    paused: bool = False
    #: Tables that need not be copied where they cannot be read, so that these do not keep the
    #: copy from being done.
    without_tables: tuple[str, ...] = ()
    #: With `dry_run`: whether what is asked is `Copied.ahead`, however long that takes to find out.
    ahead: bool = False


class Copied(Struct, frozen=True):
    """How far copying is."""

    stage: str = ""  # what is being done, for people: `copying`, `comparing`, `catching up`
    progress: str = ""  # from where to go on; the plugin's own text, no longer than 64 KiB
    rows: int = 0  # how many were written by this call; one that was copied again counts again
    total: int | None = None  # how many rows there are to copy; None where that is not known
    tables: int = 0  # how many tables there are
    #: How many bytes were written by this call; a dry run: about how many would be.
    bytes: int = 0
    #: How many rows a second can be copied, as far as reading some of them tells (a dry run); 0
    #: where that was not measured.
    rate: float = 0.0
    conflicts: int = 0  # how many rows were left as the copy has them (`only_missing`)
    expiring: int = 0  # how many rows were not compared, because their retention period ends
    #: How many rows, or fields of rows, only the copy has (`CopyOrder.ahead`); None where that was
    #: not asked, or cannot be told.
    ahead: int | None = None
    done: bool = False  # whether all that was there is in the copy, and was compared
    #: What was noticed, or stands in the way: an error means that it cannot be copied.
    findings: tuple[Finding, ...] = ()
    at_most: bool = False  # whether `total` may count a row twice
    #: Why tables cannot be copied, by name; all others are. Those of `without_tables` are among
    #: them, and no reason not to be done.
    unread: Mapping[str, str] = field(default_factory=dict)
    #: How many of `rows` each table got (`only_missing`), as far as the plugin tells.
    rows_by_table: Mapping[str, int] = field(default_factory=dict)


class Traits(Struct, frozen=True):
    """What a kind of target has, and what it calls it; what it has not is refused for it.

    A target declares it as its class's `traits`.
    """

    server: str = ""  # what it is, for people: "InfluxDB 3"
    retention: tuple[int, int] | None = None  # shortest and longest period in seconds; None: none
    marker: str = ""  # what says that a database is complete, in a word; empty where nothing does
    contents: str = ""  # what `telemetry_count` counts, in a word: "telemetry"; empty without any
    identity: str = "identity"  # what it calls the identity of a server
    #: Seconds after which a query is sure to find a row whose write was acknowledged.
    visible_after: float = 0.0
    #: Returns the rule that a database's name breaks, to be read after "its database name …".
    name_rule: Callable[[str], str] = lambda name: ""
    #: Returns the rule that a tenant's id breaks, to be read after "its id …".
    tenant_rule: Callable[[str], str] = lambda tenant: ""
