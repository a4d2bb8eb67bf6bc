"""Plans of `influxops retire TENANT…` and `unretire`: a tenant's database is to be dropped, later.

Nothing is dropped here: the ledger is told, and `influxops.reconcile.plan.drop_due` does the rest.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.database import UNMANAGED, DatabaseStats, TableStats
from influxops.domain.durations import parse_duration
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, format_time, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.desired import homes_of
from influxops.reconcile.plan.recorded import busy, is_busy, is_recreated, lost, sharing
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: Telemetry that is no older than this is of late: somebody still writes.
RECENT = timedelta(days=1)


class Retire(Operation, Struct, frozen=True):
    """Retires tenants.

    Args:
        tenants: Their ids.
        after: Seconds for which their databases are kept; None for what the ledger's settings say.
        renew: Whether who is retiring already is kept that long from now on.
        found: Whether also those are retired that are not recorded, by the name that their
            database should have; who has none is left alone.
    """

    command: ClassVar[str] = "retire"

    tenants: tuple[str, ...]
    after: float | None = None
    renew: bool = False
    found: bool = False

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it.

        Raises:
            ConfigError: When the ledger knows nothing of one of them.
        """
        if not observed.ledger_view.is_readable:
            return Plan({})
        until = self._until(observed, request)
        known = [
            id_ for id_ in self.tenants if not self.found or id_ in observed.ledger_view.records
        ]
        records = [*recorded(known, observed)]
        found = [
            Record(id_, State.READY, desired[id_].database)
            for id_ in self.tenants
            if self.found and id_ not in observed.ledger_view.records and id_ in desired
        ]
        shared = sharing([*records, *found], desired, observed)
        plans = {
            record.tenant: standing(record, record.target, observed).block(why)
            if (why := shared.get(record.tenant))
            else self._planned(record, until, observed, context)
            for record in records
        }
        for id_ in self.tenants:
            if id_ not in plans and id_ in desired:
                plans[id_] = (
                    desired[id_].block(why)
                    if (why := shared.get(id_))
                    else self._found(desired[id_], until, observed, context)
                )
        plans = {id_: plans[id_] for id_ in self.tenants if id_ in plans}
        return Plan(with_telemetry(plans, observed, request, context))

    def _found(
        self, plan: TenantPlan, until: datetime, observed: Observed, context: RunContext
    ) -> TenantPlan:
        """Plan that a tenant is retired of which nothing is recorded."""
        if plan.status is TenantStatus.BLOCKED:
            return plan
        homes = [home for home in homes_of(plan.database, observed) if plan.pin in (None, home)]
        unread = [name for name in observed.unread if plan.pin in (None, name)]
        if len(homes) > 1:
            where = f"the database {truncate(plan.database)} is on {' and on '.join(homes)}"
            found = blocked(FindingKind.IN_TWO_TARGETS, where, "say which: give its `target`")
            facts = {"copies": [{"target": home} for home in homes]}
            return plan.block(replace(found, facts=facts))
        if unread:
            why = f"it may be on {summarize(unread)}, which cannot be read"
            return plan.defer(FindingKind.NOT_READ, why)
        if not homes:
            return replace(plan, retention=UNMANAGED)
        identity = observed.inventories[homes[0]].identity
        record = Record(plan.tenant, State.READY, plan.database, homes[0], identity)
        return replace(self._planned(record, until, observed, context), record=None)

    def _until(self, observed: Observed, request: RunRequest) -> datetime:
        after = self.after
        if after is None:
            assert request.ledger is not None
            after = parse_duration(request.ledger.settings.retire_after)
        return observed.ledger_view.now + timedelta(seconds=after)

    def _planned(
        self, record: Record, until: datetime, observed: Observed, context: RunContext
    ) -> TenantPlan:
        plan = standing(record, record.target, observed)
        if is_busy(record, context.id):
            return busy(plan, record)
        retired = record.state is State.RETIRED
        if record.target is None or record.state is State.PENDING or (retired and not plan.before):
            return _noted(plan, "its database was dropped" if retired else "it has no database")
        if record.state is State.RETIRING and not self.renew:
            due = f": dropped after {format_time(record.drop_after)}" if record.drop_after else ""
            return _noted(plan, f"it is retiring already{due}")
        if record.state is State.MOVING or record.secondary_target is not None:
            return plan.block(on_the_move(record))
        if not observed.sources_complete:
            return plan.defer(
                FindingKind.NOT_READ,
                "not every source could be read, so nobody knows whether one still has it",
            )
        if record.tenant in observed.known_elsewhere:
            note = Finding(
                FindingKind.STILL_REGISTERED,
                Severity.WARNING,
                "a source still has it, so the next run for all tenants unretires it",
                "take it out of the registry",
                record.tenant,
                record.target,
                record.database,
            )
            plan = plan.note(note)
        plan = with_note_of_lost(plan, record, observed)
        return changed(plan, Action.RETIRE, record.target, until=until)


class Unretire(Operation, Struct, frozen=True):
    """Keeps tenants which are retiring.

    Args:
        tenants: Their ids.
    """

    command: ClassVar[str] = "unretire"

    tenants: tuple[str, ...]

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it.

        Raises:
            ConfigError: When the ledger knows nothing of one of them.
        """
        if not observed.ledger_view.is_readable:
            return Plan({})
        plans = {}
        for record in recorded(self.tenants, observed):
            plan = standing(record, record.target, observed)
            if is_busy(record, context.id):
                plan = busy(plan, record)
            elif record.state is State.RETIRED:
                plan = plan.block(_gone(record, plan, observed))
            elif record.state is State.RETIRING and is_recreated(record, plan.before):
                plan = plan.block(lost(plan, record, observed))
            elif record.state is State.RETIRING:
                plan = changed(plan, Action.UNRETIRE, record.target or "")
            plans[record.tenant] = plan
        return Plan(plans)


def recorded(tenants: Iterable[str], observed: Observed) -> Iterable[Record]:
    """Return the records of named tenants.

    Raises:
        ConfigError: When the ledger knows nothing of one of them.
    """
    records = observed.ledger_view.records
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


def standing(record: Record, target: str | None, observed: Observed) -> TenantPlan:
    """Return a tenant as its record has it, and its database on one of its targets as it is.

    Args:
        target: The target; None where it has none.
    """
    inventory = observed.inventories.get(target or "")
    found = inventory.databases.get(record.database) if inventory is not None else None
    return TenantPlan(
        record.tenant,
        record.database,
        UNMANAGED,
        target=target,
        before=found,
        after=found,
        record=record,
    )


def with_note_of_lost(plan: TenantPlan, record: Record, observed: Observed) -> TenantPlan:
    """Return a tenant with a note where a client has created its database again: that is retired.

    Somebody has decided that all of it goes.
    """
    if not is_recreated(record, plan.before):
        return plan
    note = replace(lost(plan, record, observed), severity=Severity.WARNING, remedy="")
    note = replace(note, tenant=plan.tenant, target=plan.target, database=plan.database)
    return plan.note(note)


def changed(
    plan: TenantPlan, action: Action, target: str, *, until: datetime | None = None
) -> TenantPlan:
    """Return a tenant with one change that is planned for it.

    Args:
        action: What is done.
        target: The target that it is done on, or that the ledger has of it.
        until: Until when its data is kept.
    """
    after = None if action is Action.DROP else plan.before
    change = Change(action, plan.tenant, target, plan.database, plan.before, after, until=until)
    return replace(plan, status=TenantStatus.PENDING, changes=(change,), after=after)


def with_telemetry(
    plans: Mapping[str, TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> dict[str, TenantPlan]:
    """Return tenants with what is known of their telemetry, of which there should be none of late.

    Where that cannot be read, nothing is done unless it is allowed.

    Args:
        plans: The tenants; those for which nothing is to be done are not asked about.
    """
    asked = {id_: plan for id_, plan in plans.items() if plan.changes and _may_hold(plan, observed)}
    names: defaultdict[str, list[str]] = defaultdict(list)
    for plan in asked.values():
        names[plan.changes[0].target].append(plan.database)
    context.on_stage("counting", len(asked))
    handles = [handle for handle in request.targets if handle.name in names]
    found = in_parallel(
        {h.full_name: partial(h.database_stats, names[h.name], context) for h in handles}, context
    )
    stats = {handle.name: each for handle, each in zip(handles, found, strict=True)}
    result = dict(plans)
    for id_, plan in asked.items():
        known = stats.get(plan.changes[0].target, {}).get(plan.database)
        result[id_] = _with_telemetry(plan, known, observed, request)
    context.check()
    return result


def _may_hold(plan: TenantPlan, observed: Observed) -> bool:
    """Return whether there may be telemetry: not where a target was read and has no database."""
    inventory = observed.inventories.get(plan.changes[0].target)
    return plan.before is not None or inventory is None or not inventory.complete


def _with_telemetry(
    plan: TenantPlan, stats: DatabaseStats | None, observed: Observed, request: RunRequest
) -> TenantPlan:
    inventory = observed.inventories.get(plan.changes[0].target)
    if inventory is None:
        why = f"its target {plan.changes[0].target} cannot be read"
        return plan.defer(FindingKind.NOT_READ, f"when telemetry last came is not known: {why}")
    tables = [table for table in stats.contents if table.is_telemetry] if stats else []
    since = observed.ledger_view.now - RECENT
    recent = [table for table in tables if table.last_write and table.last_write > since]
    if recent:
        newest = max(recent, key=_last_write)
        where = f" in {truncate(newest.name)}" if newest.name else ""
        return _wrote(plan, f"telemetry came {format_time(_last_write(newest))}{where}")
    if stats is not None and all(table.is_known for table in tables):
        # Rows without a time of the newest are not known to be old.
        if any(table.rows and table.last_write is None for table in tables):
            return _wrote(plan, "when telemetry came is not told")
        return plan
    why = (stats.message if stats else "") or "its target does not tell"
    message = f"when telemetry last came could not be read: {why}"
    if "recent-telemetry" in request.allow:
        return _wrote(plan, message)
    remedy = Hint.allow("recent-telemetry", "only if nobody writes to it any more")
    return plan.defer(FindingKind.NOT_READ, message, remedy)


def _last_write(table: TableStats) -> datetime:
    assert table.last_write is not None
    return table.last_write


def _wrote(plan: TenantPlan, message: str) -> TenantPlan:
    note = plan.warning(
        FindingKind.RECENT_TELEMETRY,
        message,
        "stop what writes to it",
    )
    return plan.note(note)


def on_the_move(record: Record) -> Finding:
    """Return why a tenant that has a second copy of its database is held."""
    if record.state is State.MOVING:
        return blocked(
            FindingKind.MOVING,
            f"it is moving from {record.target} to {record.secondary_target}",
            Hint.command(
                f"move {shlex.quote(record.tenant)} --to "
                f"{shlex.quote(record.secondary_target or '')}",
                "end that first: run {}",
            ),
        )
    due = f" before {format_time(record.drop_after)}" if record.drop_after else ""
    return blocked(
        FindingKind.MOVING,
        f"it was moved, and the copy that it left on {record.secondary_target} is not dropped{due}",
        Hint.command("retire --due", "run {} when it is due, then this again"),
    )


def _noted(plan: TenantPlan, message: str) -> TenantPlan:
    """Return a tenant for which nothing is to be done."""
    note = Finding(
        FindingKind.RETIRING,
        Severity.INFO,
        message,
        tenant=plan.tenant,
        target=plan.target,
        database=plan.database or None,
    )
    return plan.note(note)


def _gone(record: Record, plan: TenantPlan, observed: Observed) -> Finding:
    """Return why a tenant that was dropped cannot be kept any more."""
    when = f" {format_time(record.state_since)}" if record.state_since else ""
    message = f"its database {truncate(record.database)} was dropped{when}"
    inventory = observed.inventories.get(record.target or "")
    until = inventory.deleted.get(record.database) if inventory else None
    if until is not None:
        message += f"; {record.target} keeps its data until {format_time(until)}"
    if plan.before is not None:
        message += "; the one that is there now is another"
    return blocked(
        FindingKind.RETIRING,
        message,
        Hint.command(
            f"ensure {shlex.quote(record.tenant)}",
            "add it to the registry and run {} for a new, empty one",
        ),
    )
