"""The plan of `influxops forget`: a tenant that has no database anywhere is not remembered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from msgspec import Struct

from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, TenantPlan
from influxops.domain.record import Record
from influxops.domain.text import summarize, truncate
from influxops.reconcile.operation import RecordOperation
from influxops.reconcile.plan.recorded import plan_from_record
from influxops.reconcile.state import RunState


class Forget(RecordOperation, Struct, frozen=True):
    """Takes tenants' records out of the ledger; its history stays."""

    command: ClassVar[str] = "forget"

    tenants: tuple[str, ...]

    def candidates(self, state: RunState) -> Iterator[TenantPlan]:
        """Return them as recorded."""
        for record in state.named_records(self.tenants):
            yield plan_from_record(record, record.target, state)

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a tenant is forgotten, or say why that is not to be done."""
        record = plan.record
        assert record is not None
        if record.tenant in state.desired:
            why = "a source still has it, so the next run would record it again"
            return plan.blocked(FindingKind.STILL_REGISTERED, why, "take it out of the registry")
        if not state.sources_complete:
            why = "not every source could be read, so whether one still has it is unknown"
            return plan.defer(FindingKind.NOT_READ, why)
        for name in self._names(record, state):
            if homes := state.targets_holding(name):
                why = f"its database {truncate(name)} is on {' and on '.join(homes)}"
                remedy: str | Hint = "drop it there if it holds nothing of worth"
                if record.target in homes and name == record.database:
                    remedy = Hint.command(typed("retire", record.tenant), "run {} first")
                return plan.blocked(FindingKind.STILL_EXISTS, why, remedy)
        asked = dict.fromkeys((*state.rules.targets, record.target, record.secondary_target))
        unread = [name for name in asked if name is not None and not state.shows_all(name)]
        if unread:
            why = f"its database may be on {summarize(unread)}, which cannot be read in full"
            return plan.defer(FindingKind.NOT_READ, why)
        return plan.with_changes(plan.change(Action.FORGET))

    @staticmethod
    def _names(record: Record, state: RunState) -> set[str]:
        """Return what a tenant's database is called, or would be; no other tenant has it."""
        others = {
            each.database
            for each in state.ledger_view.records.values()
            if each.tenant != record.tenant
        }
        others |= {each.database for each in state.desired.values()}
        name = state.rules.template.name(record.tenant)
        return {record.database, name} - {""} - (others - {record.database})
