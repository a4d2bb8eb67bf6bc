"""The values of a report: the run, what it worked on, the status of each tenant; all frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Literal

from msgspec import Struct, field

from influxops.domain.database import TargetCapabilities
from influxops.domain.finding import Finding
from influxops.domain.plan import Change, Outcome, Refusal, TenantPlan
from influxops.domain.record import HistoryEntry, Record
from influxops.errors import ExitCode


class SourceState(Struct, frozen=True):
    """One tenant source, as a run found it."""

    name: str  # the name of its section
    kind: str  # its plugin's kind
    location: str  # where it reads, without secrets: `iot@db.example:5432/iotcloud`
    tenants: int = 0  # how many tenants it gave
    error: str = ""  # why it could not be read; empty where it could


class TargetState(Struct, frozen=True):
    """One target, as a run left it."""

    name: str  # the name of its section
    kind: str  # its plugin's kind
    url: str  # where it is, without secrets
    reachable: bool  # whether it could be read, the last time that it was asked
    state: Literal["active", "draining"] = "active"  # what its section says
    edition: str | None = None  # None where it did not say
    version: str | None = None  # None where it did not say
    identity: str | None = None  # what tells its server from every other
    databases: int | None = None  # how many databases it holds; None: unknown
    capacity: int | None = None  # how many it can hold; None: no limit is known
    capacity_is_estimate: bool = False  # whether the target guesses `capacity`
    tables: int | None = None  # how many tables all databases have together; None: unknown
    table_capacity: int | None = None  # how many it can hold, estimated; None: no limit is known
    error: str = ""  # why it could not be read
    #: What its kind has, and what it calls it.
    capabilities: TargetCapabilities = field(default_factory=TargetCapabilities)

    @property
    def free_slots(self) -> int | None:
        """How many databases still fit, None where that is unknown."""
        if self.capacity is None or self.databases is None or not self.reachable:
            return None
        return max(0, self.capacity - self.databases)


class LedgerState(Struct, frozen=True):
    """The ledger, as a run found it."""

    kind: str  # its plugin's kind
    location: str  # where it is, without secrets
    namespace: str  # whose tenants are meant
    records: int = 0  # how many tenants it has
    states: Mapping[str, int] = field(default_factory=dict)  # how many of them, by their state
    error: str = ""  # why it could not be read; empty where it could


class RunOrigin(Struct, frozen=True):
    """Who ran what, and with which configuration."""

    user: str = ""  # the operating system's user
    host: str = ""  # the machine's name
    config: str | None = None  # the configuration file; None where there is none
    operator: str = ""  # who asked for it by console or API; empty where nobody logged in
    #: What it came through: cli, ansible, library, worker, api or console.
    door: str = "library"

    @property
    def who(self) -> str:
        """Who did it, as the ledger and the reports name them."""
        return self.operator or f"{self.user}@{self.host}"


class RunStart(Struct, frozen=True):
    """What a run works on, once it has read its sources and targets and before it writes."""

    run_id: str  # unique to this run; the report carries the same
    dry_run: bool  # whether nothing is to be written
    origin: RunOrigin  # who runs it
    sources: tuple[SourceState, ...]  # as they were read
    targets: tuple[TargetState, ...]  # as they were read
    ledger: LedgerState | None = None  # None where none is configured


class Report(Struct, frozen=True, dict=True):
    """The result of a run, for every front end."""

    run_id: str  # unique to this run
    started: datetime  # in UTC
    seconds: float  # how long it took
    dry_run: bool  # whether nothing was to be written
    origin: RunOrigin  # who ran it
    #: The command that makes such a run: `ensure`, `adopt`, `retire`, `retire --due`, `unretire`.
    command: str = "ensure"
    #: The whole command line that makes what a dry run found; empty where none was typed.
    apply: str = ""
    sources: tuple[SourceState, ...] = ()  # as they were read
    targets: tuple[TargetState, ...] = ()  # as they were left
    ledger: LedgerState | None = None  # None where none is configured
    tenants: tuple[TenantPlan, ...] = ()  # those in the scope, in the order of the sources
    #: What is recorded of tenants that are in no source, and not retired; of a whole run only.
    orphans: tuple[Record, ...] = ()
    refusals: tuple[Refusal, ...] = ()  # what guards refuse
    events: tuple[HistoryEntry, ...] = ()  # what the run wrote into the ledger's history
    notes: tuple[Finding, ...] = ()  # what was found that is about no tenant of `tenants`
    exit_code: ExitCode = ExitCode.OK  # what its command ends with
    #: Whether the run was limited to some tenants or targets.
    is_limited: bool = False

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found: about the run and what it worked on, then the tenants."""
        noted = (tenant for tenant in self.tenants if tenant.finding is not None or tenant.notes)
        return (*self.notes, *(f for tenant in noted for f in tenant.findings))

    @cached_property
    def planned(self) -> tuple[Change, ...]:
        """The changes that were to be made, in the order of the tenants."""
        return tuple(change for tenant in self.tenants for change in tenant.changes)

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """How each change ended, settled by reading again."""
        return tuple(outcome for tenant in self.tenants for outcome in tenant.outcomes)

    @cached_property
    def changed(self) -> tuple[Change, ...]:
        """The changes that were made, those among them that were not finished too."""
        return tuple(change for tenant in self.tenants for change in tenant.made)

    @property
    def interrupted(self) -> bool:
        """Whether the run was ended from outside before it was through."""
        return self.exit_code is ExitCode.INTERRUPTED

    def target(self, name: str | None) -> TargetState | None:
        """Return the target of this name; None where there is none."""
        return next((target for target in self.targets if target.name == name), None)
