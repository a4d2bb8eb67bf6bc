"""Plans of `influxops retire TENANT…` and `unretire`: a tenant's database is to be dropped, later.

Nothing is dropped here: that is recorded, and `influxops.reconcile.plan.drop_due` does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from operator import itemgetter
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, DatabaseStats
from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import format_time, summarize, truncate
from influxops.reconcile.operation import RecordOperation
from influxops.reconcile.plan.contents import stats_of
from influxops.reconcile.plan.recorded import (
    find_shared_databases,
    is_recreated,
    lost,
    move_in_progress_finding,
    plan_from_record,
    recreated_note,
)
from influxops.reconcile.state import RunState

#: Telemetry that is no older than this is recent: something still writes.
RECENT = timedelta(days=1)


class Retire(RecordOperation, Struct, frozen=True):
    """Retires tenants: their databases are kept for `after` seconds, or as the ledger says.

    To `renew` is to count these from now for one that is retiring already. With `found`, also those
    retire that are not recorded, by the name that their database should have, if it is there.
    """

    command: ClassVar[str] = "retire"

    tenants: tuple[str, ...]
    after: float | None = None
    renew: bool = False
    found: bool = False

    def candidates(self, state: RunState) -> Iterator[TenantPlan]:
        """Return them as recorded; those of which nothing is recorded as they should be."""
        desired = state.desired
        known = [id_ for id_ in self.tenants if not self.found or id_ in state.ledger_view.records]
        records = {record.tenant: record for record in state.named_records(known)}
        new = [id_ for id_ in dict.fromkeys(self.tenants) if id_ not in records and id_ in desired]
        found = [Record(id_, State.READY, desired[id_].database) for id_ in new]
        shared = find_shared_databases([*records.values(), *found], desired, state)
        for id_ in dict.fromkeys(self.tenants):
            if id_ not in records and id_ not in desired:
                continue
            plan = desired.get(id_)
            if record := records.get(id_):
                plan = plan_from_record(record, record.target, state)
            assert plan is not None
            yield plan.block(why) if (why := shared.get(id_)) else plan

    def plan(self, state: RunState) -> RunState:
        """Plan it, and look when telemetry last came."""
        state = super().plan(state)
        return state.planned(check_recent_writes(state.plans, state))

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a tenant is retired, or say why that is not to be done."""
        if plan.record is None:
            return self._found(plan, state)
        record = plan.record
        retired = record.state is State.RETIRED and bool(record.database)
        if record.target is None or record.state is State.PENDING or (retired and not plan.before):
            why = "its database was dropped" if retired else "it has no database"
            return plan.note(plan.info(FindingKind.RETIRING, why))
        if record.state is State.RETIRING and not self.renew:
            due = f": dropped after {format_time(record.drop_after)}" if record.drop_after else ""
            return plan.note(plan.info(FindingKind.RETIRING, f"it is retiring already{due}"))
        if record.state is State.MOVING or record.secondary_target is not None:
            return plan.block(move_in_progress_finding(record))
        if not state.sources_complete:
            why = "not every source could be read, so whether one still has it is unknown"
            return plan.defer(FindingKind.NOT_READ, why)
        if state.is_registered(record.tenant):
            message = "a source still has it, so the next run for all tenants unretires it"
            remedy = "take it out of the registry"
            plan = plan.note(plan.warning(FindingKind.STILL_REGISTERED, message, remedy))
        plan = recreated_note(plan, state)
        until = state.keep_until(self.after)
        return plan.with_changes(plan.change(Action.RETIRE, until=until))

    def _found(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a tenant is retired of which nothing is recorded."""
        homes = [h for h in state.targets_holding(plan.database) if plan.pin in (None, h)]
        unread = [name for name in state.unread if plan.pin in (None, name)]
        if len(homes) > 1:
            return plan.on_several(homes, "say which: give its `target`")
        if unread:
            why = f"it may be on {summarize(unread)}, which cannot be read"
            return plan.defer(FindingKind.NOT_READ, why)
        if not homes:
            return replace(plan, retention=UNMANAGED)
        identity = state.inventories[homes[0]].identity
        record = Record(plan.tenant, State.READY, plan.database, homes[0], identity)
        found = plan_from_record(record, homes[0], state)
        return replace(self.plan_one(found, state), record=None)


class Unretire(RecordOperation, Struct, frozen=True):
    """Keeps tenants which are retiring."""

    command: ClassVar[str] = "unretire"

    tenants: tuple[str, ...]

    def candidates(self, state: RunState) -> Iterator[TenantPlan]:
        """Return them as recorded."""
        for record in state.named_records(self.tenants):
            yield plan_from_record(record, record.target, state)

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a tenant that is retiring is kept."""
        record = plan.record
        assert record is not None
        if record.state is State.RETIRED:
            return self._dropped(plan, record, state)
        if record.state is not State.RETIRING:
            return plan
        if is_recreated(record, plan.before):
            return lost(plan, state)
        if record.claimed_by and not record.is_claimed:
            warning = plan.warning(
                FindingKind.OUTCOME_UNKNOWN,
                "a drop of it was not answered, and may still be carried out",
                Hint.command("ensure", "run {} in a while, which says whether it is still there"),
            )
            plan = plan.note(warning)
        return plan.with_changes(plan.change(Action.UNRETIRE))

    @staticmethod
    def _dropped(plan: TenantPlan, record: Record, observed: RunState) -> TenantPlan:
        """Return why a tenant that was dropped cannot be kept any more."""
        if not record.database:
            return plan.blocked(FindingKind.RETIRING, "it never had a database")
        when = f" {format_time(record.state_since)}" if record.state_since else ""
        message = f"its database {truncate(record.database)} was dropped{when}"
        inventory = observed.inventories.get(record.target or "")
        until = inventory.deleted.get(record.database) if inventory else None
        if until is not None:
            message += f"; {record.target} keeps its data until {format_time(until)}"
        if plan.before is not None:
            message += "; the one that is there now is another"
        return plan.blocked(
            FindingKind.RETIRING,
            message,
            Hint.command(
                typed("ensure", record.tenant),
                "add it to the registry and run {} for a new, empty one",
            ),
        )


def check_recent_writes(plans: Mapping[str, TenantPlan], state: RunState) -> dict[str, TenantPlan]:
    """Return tenants with a note where telemetry came recently; postponed where that is unknown."""
    context = state.context
    asked = {
        id_: plan
        for id_, plan in plans.items()
        # Not where a target was read, and has no database.
        if plan.changes and (plan.before or not state.shows_all(plan.changes[0].target))
    }
    context.on_stage("counting", len(asked))
    databases = {id_: (each.changes[0].target, each.database) for id_, each in asked.items()}
    stats = stats_of(databases.values(), state.request.targets, context)
    result = dict(plans)
    for id_, plan in asked.items():
        result[id_] = _check_recent_writes(plan, stats.get(databases[id_]), state)
    context.check()
    return result


def _check_recent_writes(
    plan: TenantPlan, stats: DatabaseStats | None, state: RunState
) -> TenantPlan:
    target = plan.changes[0].target
    if target not in state.inventories:
        why = f"its target {target} cannot be read"
        return plan.defer(FindingKind.NOT_READ, f"when telemetry last came is not known: {why}")
    tables = [table for table in stats.contents if table.is_telemetry] if stats else []
    times = [(table.last_write, table.name) for table in tables if table.last_write is not None]
    newest, name = max(times, key=itemgetter(0), default=(None, ""))
    if newest is not None and newest > state.now - RECENT:
        where = f" in {truncate(name)}" if name else ""
        return _recent_write_note(plan, f"telemetry came {format_time(newest)}{where}")
    if stats is not None and all(table.is_known for table in tables):
        # Rows without a time of the newest are not known to be old.
        if any(table.rows and table.last_write is None for table in tables):
            return _recent_write_note(plan, "when telemetry came is not told")
        return plan
    why = (stats.message if stats else "") or "its target does not tell"
    message = f"when telemetry last came could not be read: {why}"
    if "recent-telemetry" in state.request.allow:
        return _recent_write_note(plan, message)
    remedy = Hint.allow("recent-telemetry", "only if no client writes to it any more")
    return plan.defer(FindingKind.NOT_READ, message, remedy)


def _recent_write_note(plan: TenantPlan, message: str) -> TenantPlan:
    return plan.note(plan.warning(FindingKind.RECENT_TELEMETRY, message, "stop what writes to it"))
