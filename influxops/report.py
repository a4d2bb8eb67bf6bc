"""What a run tells: who made it, what it worked on, where each tenant stands; all frozen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from influxops.model import Action, Change, Database, Finding, Outcome, Plan, Status


class TenantState(StrEnum):
    """Where a tenant stands at the end of a run.

    `OK` was right before the run, `CHANGED` was made right by it, `PENDING` would be changed
    (dry runs only). The others are not right: `HELD` needs a decision, `REFUSED` waits for
    `--allow`, `FAILED` was tried, `UNKNOWN` could not be read.
    """

    OK = "ok"
    CHANGED = "changed"
    PENDING = "pending"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SourceState:
    """One tenant source, as a run found it.

    Args:
        name: The name of its section.
        kind: Its plugin's kind.
        location: Where it reads, without secrets: `iot@db.example:5432/iotcloud`.
        tenants: How many tenants it gave.
        error: Why it could not be read; empty where it could.
    """

    name: str
    kind: str
    location: str
    tenants: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target, as a run left it.

    Args:
        name: The name of its section.
        kind: Its plugin's kind.
        url: Where it is, without secrets.
        reachable: Whether its inventory could be read.
        state: `active` or `draining`.
        edition: The server's edition.
        version: The server's version.
        cluster_uuid: The server's identity.
        databases: How many databases it holds, None where that is unknown.
        capacity: How many it can hold; None where no limit is known.
        capacity_is_estimate: Whether `capacity` is guessed from the edition.
        error: Why it could not be read.
    """

    name: str
    kind: str
    url: str
    reachable: bool
    state: Literal["active", "draining"] = "active"
    edition: str | None = None
    version: str | None = None
    cluster_uuid: str | None = None
    databases: int | None = None
    capacity: int | None = None
    capacity_is_estimate: bool = False
    error: str = ""

    @property
    def places_left(self) -> int | None:
        """How many databases still fit, None where that is unknown."""
        if self.capacity is None or self.databases is None:
            return None
        return max(0, self.capacity - self.databases)


@dataclass(frozen=True, slots=True)
class TenantResult:
    """Where one tenant stands at the end of a run.

    Args:
        tenant: Its id.
        state: Where it stands.
        target: The target that holds its database, or would.
        database: Its database's name; empty where it has none that is valid.
        url: That target's URL.
        actions: What was done, or would be.
        before: The database before the run.
        after: The database after the run; in a dry run, as it would be.
        message: Why it is not right.
        hint: What to do about it.
    """

    tenant: str
    state: TenantState
    target: str | None = None
    database: str = ""
    url: str | None = None
    actions: tuple[Action, ...] = ()
    before: Database | None = None
    after: Database | None = None
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who ran what, and with which configuration.

    Args:
        user: The operating system's user.
        host: The machine's name.
        config: The configuration file; None where the environment is the configuration.
    """

    user: str
    host: str
    config: str | None = None


@dataclass(frozen=True, slots=True)
class RunHead:
    """What a run works on, once it has read its sources and targets and before it writes.

    Args:
        run_id: Unique to this run; the report carries the same.
        dry_run: Whether nothing is to be written.
        origin: Who runs it.
        sources: The tenant sources.
        targets: The targets.
    """

    run_id: str
    dry_run: bool
    origin: Origin
    sources: tuple[SourceState, ...]
    targets: tuple[TargetState, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run tells, for reporters and for JSON.

    Args:
        run_id: Unique to this run.
        started: When it started, in UTC.
        seconds: How long it took.
        dry_run: Whether nothing was to be written.
        origin: Who ran it.
        sources: The tenant sources.
        targets: The targets.
        plan: What was to be done.
        outcomes: How each pending change ended, settled by the re-read.
        tenants: Where each tenant stands.
        findings: The plan's findings, settled by what happened, and those that came after it.
        exit_code: What a command that made this run ends with.
    """

    run_id: str
    started: datetime
    seconds: float
    dry_run: bool
    origin: Origin
    sources: tuple[SourceState, ...]
    targets: tuple[TargetState, ...]
    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    tenants: tuple[TenantResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0

    @property
    def changed(self) -> tuple[Change, ...]:
        """The changes that were made."""
        return tuple(o.change for o in self.outcomes if o.status is Status.DONE)

    @property
    def interrupted(self) -> bool:
        """Whether the run was ended from outside before it was through."""
        return self.exit_code == 130
