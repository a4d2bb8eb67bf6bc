"""What a run knows: what was read, what the ledger says of it, and what was done so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.database import Database, Inventory
from influxops.domain.durations import parse_duration
from influxops.domain.finding import Finding
from influxops.domain.plan import Refusal, TenantPlan
from influxops.domain.record import HistoryEntry, Record, Server, State
from influxops.domain.tenant import Tenant
from influxops.domain.text import did_you_mean, quote
from influxops.errors import ConfigError, InfluxopsError
from influxops.reconcile.policy import Rules
from influxops.reconcile.request import RunRequest
from influxops.report.model import LedgerState, SourceState, TargetState
from influxops.runtime.context import RunContext


class LedgerView(Struct, frozen=True):
    """What is remembered, by the names that the targets have now."""

    #: Whether a ledger is configured, even one that could not be read.
    is_configured: bool = False
    error: str = ""  # why it could not be read
    records: Mapping[str, Record] = field(default_factory=dict)  # by the tenant's id
    servers: Mapping[str, Server] = field(default_factory=dict)  # by the name of their target
    renamed: Mapping[str, str] = field(default_factory=dict)  # new names of targets, by old ones
    #: What was recorded of targets where another server answers now, by the target's name.
    replaced: Mapping[str, Server] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()  # the sources that it has seen, by their identity
    now: datetime = field(default_factory=lambda: datetime.now(UTC))  # the ledger's clock
    #: The tenants that only sources have which it has not seen.
    tenants_of_new_sources: frozenset[str] = frozenset()

    @property
    def is_readable(self) -> bool:
        """Whether it could be read."""
        return self.is_configured and not self.error

    def record(self, tenant: str) -> Record | None:
        """Return the record of a tenant that has, or had, a target; None where there is none."""
        record = self.records.get(tenant)
        if record is None or record.state in (State.PENDING, State.RETIRED):
            return None
        return record

    def confirmed(self, record: Record) -> datetime | None:
        """Return when a tenant's database was last seen: alone, or with all of its target."""
        server = self.servers.get(record.target or "")
        read = server.read if server and record.state is State.READY else None
        return max(filter(None, (record.last_seen_at, read)), default=None)

    def identity(self, target: str) -> str | None:
        """Return the identity of a target's recorded server; None where none is recorded."""
        server = self.servers.get(target)
        return server.identity if server is not None else None

    def with_records(self, records: Mapping[str, Record]) -> LedgerView:
        """Return this with some records as they stand now."""
        return replace(self, records={**self.records, **records}) if records else self


class RunState(Struct, frozen=True):
    """What a run knows so far, as one value: read, planned, done; always enough for a report."""

    request: RunRequest
    context: RunContext

    # What was read, and how that went ----------------------------------------------------------

    tenants: Sequence[Tenant] = ()  # what all sources gave
    #: What each target holds; one that could not be read is left out. One that went away later
    #: keeps what it held when it was read.
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    sources: tuple[SourceState, ...] = ()
    targets: tuple[TargetState, ...] = ()
    findings: tuple[Finding, ...] = ()
    #: The targets that take nothing more in this run, with why: full, or gone.
    closed: Mapping[str, str] = field(default_factory=dict)
    #: Whether a source says who all the tenants are; a program that names some says that of none.
    has_registry: bool = True
    #: Ids that only the source has which a program added.
    added: frozenset[str] = frozenset()
    ledger_view: LedgerView = field(default_factory=LedgerView)  # what the ledger says
    ledger: LedgerState | None = None  # None where none is configured
    #: The databases that each target was asked for, where single tenants were read; a target
    #: that is left out was not asked. None: everything was read.
    looked: Mapping[str, frozenset[str]] | None = None
    #: What was learned of targets that were read in full where single tenants were read.
    learned: tuple[Server, ...] = ()
    #: How many databases a target is known to hold, where its inventory names only some.
    used: Mapping[str, int] = field(default_factory=dict)
    #: The targets that a program itself named, by the tenant's id; no registry's, and no pin.
    named_targets: Mapping[str, str] = field(default_factory=dict)

    # What is to be done: a value, the same for a dry run and a real one -----------------------

    desired: Mapping[str, TenantPlan] = field(default_factory=dict)  # what each tenant should have
    #: The tenants in the scope with their changes, in the order of the sources.
    plans: Mapping[str, TenantPlan] = field(default_factory=dict)
    plan_notes: tuple[Finding, ...] = ()  # what planning noticed that is about no single tenant
    refusals: tuple[Refusal, ...] = ()  # what the guards refuse

    # What was done ----------------------------------------------------------------------------

    settled: Mapping[str, TenantPlan] = field(default_factory=dict)  # after their changes
    recorded: Set[str] = frozenset()  # those of them whose result is in the ledger
    #: The tenants whose claims stay at the end: a write of their copy was abandoned.
    kept: frozenset[str] = frozenset()
    events: tuple[HistoryEntry, ...] = ()  # what was written into the ledger's history
    notes: tuple[Finding, ...] = ()  # what was noticed beside observing and planning
    error: InfluxopsError | None = None  # what ended the run before it was through

    def note(self, *findings: Finding) -> RunState:
        """Return it with more that was noticed."""
        return replace(self, notes=(*self.notes, *findings))

    def planned(self, plans: Mapping[str, TenantPlan], notes: Iterable[Finding] = ()) -> RunState:
        """Return it with what is to be done, and what planning noticed about no single tenant."""
        return replace(self, plans=plans, plan_notes=tuple(notes), refusals=())

    @property
    def rules(self) -> Rules:
        """What the configuration says of planning."""
        return self.request.rules

    @property
    def now(self) -> datetime:
        """The ledger's clock."""
        return self.ledger_view.now

    @property
    def is_pending(self) -> bool:
        """Whether it would change anything."""
        return any(plan.changes for plan in self.plans.values())

    def covers(self, tenant: str | None, target: str | None = None) -> bool:
        """Return whether the run may write something about this tenant on this target."""
        tenants, targets = self.context.tenants, self.context.targets
        return (tenants is None or tenant is None or tenant in tenants) and (
            targets is None or target is None or target in targets
        )

    @property
    def is_selected(self) -> bool:
        """Whether only what concerns some tenants was read."""
        return self.looked is not None

    def is_registered(self, tenant: str) -> bool:
        """Return whether another source has a tenant than the one that a program added."""
        return tenant in self.desired and tenant not in self.added

    def database(self, target: str | None, name: str) -> Database | None:
        """Return a database of a target; None where that has none, or was not read."""
        inventory = self.inventories.get(target or "")
        return inventory.databases.get(name) if inventory is not None else None

    def shows_all(self, target: str | None) -> bool:
        """Return whether a target was read, and shows all that it holds."""
        inventory = self.inventories.get(target or "")
        return inventory is not None and inventory.complete

    def identity(self, target: str | None) -> str | None:
        """Return the identity of a target's server; None where it has none, or was not read."""
        inventory = self.inventories.get(target or "")
        return inventory.identity if inventory is not None else None

    def is_replaced(self, target: str | None) -> bool:
        """Return whether another server answers at a target, and nobody said that it is meant."""
        is_allowed = "replaced-server" in self.request.allow
        return target in self.ledger_view.replaced and not is_allowed

    def targets_holding(self, database: str) -> list[str]:
        """Return the names of the targets that hold a database, as the configuration has them."""
        found = self.inventories.items()
        return [name for name, inventory in found if database in inventory.databases]

    @property
    def sources_complete(self) -> bool:
        """Whether every source could be read."""
        return not any(source.error for source in self.sources)

    @property
    def unread(self) -> list[str]:
        """The names of the targets that could not be read at all."""
        return [t.name for t in self.targets if t.name not in self.inventories]

    def named_records(self, tenants: Iterable[str]) -> list[Record]:
        """Return the records of named tenants."""
        records = self.ledger_view.records
        names = list(dict.fromkeys(tenants))
        unknown = [id_ for id_ in names if id_ not in records]
        if unknown:
            more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
            raise ConfigError(
                f"the ledger knows no tenant {quote(unknown[0])}{more}",
                hint=did_you_mean(unknown[0], records)
                or "`influxops ensure` records the tenants of the registry",
            )
        return [records[id_] for id_ in names]

    def keep_until(self, seconds: float | None = None) -> datetime:
        """Return until when data is kept that is retired now, by default as the ledger is set."""
        if seconds is None:
            assert self.request.ledger is not None
            seconds = parse_duration(self.request.ledger.settings.retire_after)
        return self.now + timedelta(seconds=seconds)
