"""The values that flow through a run; all frozen, none of them does I/O.

Tenant ─▶ Change (before: Database, after: Database) ─▶ Outcome ─▶ TenantResult
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final


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


class Severity(StrEnum):
    """How much a finding matters: only an error changes the exit code."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Action(StrEnum):
    """What a change does to one database."""

    CREATE = "create"
    SET_RETENTION = "set-retention"
    ADD_MARKER = "add-marker"
    KEEP = "keep"
    DROP = "drop"


class Status(StrEnum):
    """How one change ended.

    `DONE` is durable on the server. `FULL` says that the server has no room, so that the tenant
    may be placed elsewhere. `UNKNOWN` is settled by reading the server again. `SKIPPED` was
    never tried (the run was interrupted, or its target gave up before).
    """

    DONE = "done"
    FAILED = "failed"
    FULL = "full"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as a source knows it.

    Args:
        id: The tenant's id, as text.
        attributes: What else the source says of it. The engine reads `database` (overrides the
            naming template), `retention` (a duration, or `none`) and `target` (overrides the
            placement); an attribute that is NULL in the source is left out.
        source: The name of the source's section; the engine fills it in.
    """

    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """A tenant database, as it is or as it should be.

    Args:
        name: Its name on the server.
        retention: Its retention period in seconds, None without one.
        marker: Whether the marker table `_init` is there.
        telemetry: Whether the table `telemetry` is there.
    """

    name: str
    retention: Retention | Unknown = UNKNOWN
    marker: bool | Unknown = UNKNOWN
    telemetry: bool | Unknown = UNKNOWN


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that somebody should know, and perhaps decide.

    Args:
        kind: A short, stable, hyphenated name: `invalid-name`, `unreachable`, …
        severity: How much it matters.
        message: One sentence: what, for whom, why.
        hint: What to do about it.
        tenant: The id of the tenant that it is about.
        target: The name of the target that it is about.
        database: The name of the database that it is about.
    """

    kind: str
    severity: Severity
    message: str
    hint: str = ""
    tenant: str | None = None
    target: str | None = None
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a target holds, deleted databases left out.

    Args:
        databases: By name; the server's own databases are left out too.
        edition: `Core`, `Enterprise`, or None where the server does not say.
        version: The server's version.
        cluster_uuid: What identifies the server that is really behind the URL.
        capacity: How many databases the server is thought to hold, None where no limit is
            known. An estimate: the configuration overrides it, and the server decides.
        complete: False where the token may not read retention periods and tables.
        findings: What was noticed while reading.
    """

    databases: Mapping[str, Database]
    edition: str | None = None
    version: str | None = None
    cluster_uuid: str | None = None
    capacity: int | None = None
    complete: bool = True
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One step that brings one database to what is desired.

    Args:
        action: What to do.
        tenant: The tenant's id.
        target: The name of the target that holds or will hold the database.
        database: The database's name.
        before: The database as it is; None where there is none.
        after: The database as it will be; None where it will be gone.
        reason: Why, where it is not plain from the action.
    """

    action: Action
    tenant: str
    target: str
    database: str
    before: Database | None = None
    after: Database | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one change ended; exactly one a change.

    Args:
        change: The change.
        status: How it ended.
        message: Why it did not end as wished.
        hint: What to do about it.
    """

    change: Change
    status: Status
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a guard keeps from being done until it is allowed.

    Args:
        guard: The name that `--allow` takes.
        message: What it refuses, and why.
        tenants: The tenants that wait for the decision.
    """

    guard: str
    message: str
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do: a value, the same for a dry run and a real one.

    Args:
        changes: One or more a database, `keep` among them, in the order of the tenants.
        findings: What was noticed while planning.
        refusals: What the guards refuse; the changes that they refuse are not in `changes`.
        refused: The changes that the guards refuse.
        held: Ids of tenants that get nothing until somebody decides.
        unknown: Ids of tenants whose target could not be read.
        doubtful: Ids of tenants that are to be created beyond what their target is thought to
            hold, so that they may find no place.
        databases: The database's name of every tenant in the scope, by id; empty where it has
            none that is valid.
        retentions: The retention period that every tenant in the scope should have, by id.
    """

    changes: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refused: tuple[Change, ...] = ()
    held: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    databases: Mapping[str, str] = field(default_factory=dict)
    retentions: Mapping[str, Retention | Unmanaged] = field(default_factory=dict)

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that would write something."""
        return tuple(change for change in self.changes if change.action is not Action.KEEP)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a run depends on, as `influxops doctor` found it.

    Args:
        name: What was looked at, in a few words.
        ok: Whether it is as it should be; None where it could not be told, or is no fault.
        message: What was found.
        hint: What to do about it.
    """

    name: str
    ok: bool | None
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """What `influxops status` tells of one database beyond the inventory.

    Args:
        name: The database's name.
        telemetry_count: Rows in `telemetry`; 0 without that table, None where it was not read.
        last_write: The newest timestamp in `telemetry`, in UTC; None without rows.
        message: Why something could not be read.
    """

    name: str
    telemetry_count: int | None = None
    last_write: datetime | None = None
    message: str = ""
