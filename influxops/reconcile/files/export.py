"""Exporting: a tenant's data is written to files while it is in use, and stays where it is."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from msgspec.structs import replace

from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import UNMANAGED
from influxops.domain.export import file_name
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import Event, LedgerUpdate
from influxops.domain.text import did_you_mean, pluralize, quote, summarize, truncate
from influxops.errors import ConfigError, ExportError, InfluxopsError, Interrupted
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.move.copy import about, follow
from influxops.reconcile.observe.ledger import failed_ledger
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.recorded import is_cut_over, is_recreated, lost, plan_from_record
from influxops.reconcile.request import GRACE
from influxops.reconcile.state import RunState
from influxops.report.wording import format_copied
from influxops.runtime.context import RunContext
from influxops.runtime.manifests import writing

#: Seconds of an export after which rows may have come behind it: it is looked at again, but so
#: many times at most.
_SHORT, _LOOKS = 1.0, 10


class Chosen(Protocol):
    """Chooses among the tenants that there are."""

    def check(self, tenants: Collection[str], targets: Iterable[str | None]) -> None:
        """Raise a ConfigError for what means none of them."""

    def takes_found(self, plan: TenantPlan) -> bool:
        """Return whether a tenant is meant."""


class Export(Operation):
    """Writes the data of the run's tenants to files.

    Args:
        folder: The directory in which each tenant gets a folder.
        compare: Whether each row is read a second time, to compare it with the files.
        without_tables: Tables that do not keep an export from being whole where they cannot be
            read.
        chosen: Chooses the tenants, where the run names none.
    """

    command: ClassVar[str] = "export"
    needs_ledger: ClassVar[bool] = False

    def __init__(
        self,
        folder: Path,
        *,
        compare: bool = False,
        without_tables: tuple[str, ...] = (),
        chosen: Chosen | None = None,
    ) -> None:
        self._folder, self._compare, self._without_tables = folder, compare, without_tables
        self._chosen = chosen

    def guarded_plan(self, state: RunState) -> RunState:
        """Plan it: what only reads needs no guard."""
        return self.plan(state)

    def plan(self, state: RunState) -> RunState:
        """Plan which tenants are exported."""
        named = state.context.tenants or frozenset()
        if self._chosen is not None:
            view = state.ledger_view
            named = frozenset({*state.desired, *filter(view.record, view.records)})
            if state.sources_complete and not view.error:
                self._chosen.check(named, state.rules.targets)
        plans = {id_: self._one(id_, state) for id_ in sorted(named)}
        if self._chosen is not None:
            plans = {id_: each for id_, each in plans.items() if self._chosen.takes_found(each)}
        return state.planned(plans)

    def _one(self, id_: str, state: RunState) -> TenantPlan:
        record = state.ledger_view.record(id_)
        if record is not None:
            plan = plan_from_record(record, record.target, state)
            if is_recreated(record, plan.before):
                plan = plan.note(*filter(None, [lost(plan, state).finding]))
        else:
            plan = _unrecorded(id_, state)
        if plan.status is not TenantStatus.OK:
            return plan
        target = plan.target or ""
        handle = next((each for each in state.request.targets if each.name == target), None)
        if handle is None:
            why = f"it is recorded on {target}, which is not configured any more"
            return plan.mark_unknown(FindingKind.NOT_CONFIGURED, why)
        if target not in state.inventories:
            return plan.mark_unknown(FindingKind.NOT_READ, f"the target {target} cannot be read")
        if plan.before is None:
            why = f"its database {truncate(plan.database)} is not on {target}, where it is recorded"
            return plan.blocked(FindingKind.LOST, why, Hint.command("plan", "see {}"))
        if not handle.implements("influxops_export"):
            why = f"the target {target} cannot write its data to files"
            return plan.blocked(FindingKind.NOTE, why)
        if record is not None and is_cut_over(record):
            why = f"rows that came late to {record.secondary_target} may be missing: its move "
            why += "has not ended"
            move = typed("move", id_, options=f"--to {target}")
            again = Hint.command(move, "go on with {} first")
            plan = plan.note(plan.warning(FindingKind.MOVING, why, again))
        return plan.with_changes(plan.change(Action.EXPORT))

    def execute(self, state: RunState) -> Iterator[RunState]:
        """Export one tenant after the other; what fails is that tenant's own."""
        handles = {handle.name: handle for handle in state.request.targets}
        # It grows while the run goes on: each tenant costs the same, however many there are.
        settled = dict(state.settled)
        state = replace(state, settled=settled, recorded=settled.keys())
        for plan in [plan for plan in state.plans.values() if plan.changes]:
            state.context.check()
            done = self._export(plan, handles[plan.target or ""], state.context)
            settled[plan.tenant] = done
            yield (state := tell(done, state))

    def _export(self, plan: TenantPlan, handle: TargetHandle, context: RunContext) -> TenantPlan:
        order = CopyRequest(
            plan.database, compare=self._compare, without_tables=self._without_tables
        )
        try:
            return exported(plan, *export_database(plan, handle, self._folder, order, context))
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("exporting %s failed", plan.database, exc_info=True)
            finding = plan.error(FindingKind.CHANGE_FAILED, error.message, error.remedy)
            (change,) = plan.changes
            outcome = Outcome(change, ChangeResult.FAILED, error.message, error.remedy)
            return replace(plan, status=TenantStatus.FAILED, finding=finding, outcomes=(outcome,))


def export_database(
    plan: TenantPlan, handle: TargetHandle, folder: Path, order: CopyRequest, context: RunContext
) -> tuple[CopyProgress, Path]:
    """Write a tenant's database to files; return what was written, and where."""
    own = folder / file_name(plan.tenant)
    with writing(own):
        own.mkdir(mode=0o750, parents=True, exist_ok=True)
    order = replace(order, folder=str(own), tenant=plan.tenant)
    where = f" to {folder}"
    steps = handle.export(order, context)
    last = follow(steps, f"{truncate(plan.database)}{where}", order, context, handle.name)
    return last, own


def export_first(
    plans: Sequence[TenantPlan], folder: Path, state: RunState, *, recent: bool = False
) -> tuple[RunState, list[TenantPlan]]:
    """Export what is to be dropped, each row compared; return what may be dropped now.

    Where that was done a moment ago, `recent` rows are all that is looked at.

    It is looked at again until that takes no time or finds no rows, as where a server is slow. What
    is written to all the time is not dropped.
    """
    context, handles = state.context, {handle.name: handle for handle in state.request.targets}
    tenants, whole = dict(state.plans), list[TenantPlan]()
    for plan in plans:
        order = CopyRequest(plan.database, compare=True, recent=recent)
        try:
            handle = handles[plan.target or ""]
            if plan.before is None:
                whole.append(plan)
                continue
            if not handle.implements("influxops_export"):
                raise ExportError(f"the target {handle.name} cannot write its data to files")
            began = time.monotonic()
            copied, own = export_database(plan, handle, folder, order, context)
            late, looks = -1, 0
            while time.monotonic() - began > _SHORT and copied.late != late:
                if looks == _LOOKS:
                    raise ExportError("rows come to it all the time", hint="stop what writes there")
                began, late, looks = time.monotonic(), copied.late, looks + 1
                again = replace(order, recent=True)
                copied, own = export_database(plan, handle, folder, again, context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("exporting %s failed", plan.database, exc_info=True)
            why = f"it could not be exported, so it is not dropped: {error.message}"
            tenants[plan.tenant] = plan.defer(FindingKind.EXPORTED, why, error.remedy)
        else:
            # The history of the drop says where the data is.
            changes = [replace(each, reason=f"exported to {own}") for each in plan.changes]
            written = plan.with_changes(*changes).note(*_notes(plan, copied, own))
            tenants[plan.tenant] = written
            whole.append(written)
    return replace(state, plans=tenants), whole


def exported(plan: TenantPlan, copied: CopyProgress, folder: Path) -> TenantPlan:
    """Return a tenant whose data was exported."""
    notes = _notes(plan, copied, folder)
    (change,) = plan.changes
    done = Outcome(change, ChangeResult.DONE, notes[0].message)
    return replace(plan, status=TenantStatus.CHANGED, outcomes=(done,)).note(*notes)


def _notes(plan: TenantPlan, copied: CopyProgress, folder: Path) -> list[Finding]:
    """Return what there is to say of an export, what it holds first."""
    message = f"{format_copied(copied)}, to {folder}"
    if copied.late:
        message += f"; {pluralize(copied.late, 'row')} of it written in the meantime"
    known = {
        "folder": str(folder),
        "rows": copied.total,
        "tables": copied.tables,
        "bytes": copied.bytes,
        "late": copied.late,
        "unread": dict(copied.unread),
    }
    notes = [plan.info(FindingKind.EXPORTED, message, facts=known)]
    return [*notes, *(about(plan, finding) for finding in copied.findings)]


def tell(plan: TenantPlan, state: RunState) -> RunState:
    """Write into the ledger's history that a tenant was exported."""
    request, context = state.request, state.context
    if request.ledger is None or not state.ledger_view.is_readable:
        return state
    (outcome,) = plan.outcomes
    entry = request.entry(
        Event.EXPORTED,
        plan,
        plan.target,
        ended=outcome.status.value,
        message=outcome.message,
    )
    try:
        request.ledger.commit(LedgerUpdate(entries=(entry,)), context.with_grace_period(GRACE))
    except InfluxopsError as error:
        return state.note(failed_ledger(error))
    return state


def _unrecorded(id_: str, state: RunState) -> TenantPlan:
    """Return a tenant that no ledger has, with its database if one target holds it."""
    plan = state.desired.get(id_)
    if plan is None:
        if state.sources_complete and not state.ledger_view.error:
            raise ConfigError(
                f"neither a source nor the ledger knows the tenant {quote(id_)}",
                hint=did_you_mean(id_, state.desired)
                or "`influxops status` shows all that are known",
            )
        return TenantPlan(id_, "", UNMANAGED).mark_unknown(
            FindingKind.NOT_READ, "no source that could be read knows it"
        )
    if plan.status is not TenantStatus.OK:
        return plan
    homes = state.targets_holding(plan.database)
    if len(homes) > 1:
        return plan.on_several(homes, "find out which one holds the data, and adopt that")
    if not homes and state.unread:
        why = f"it may be on {summarize(state.unread)}, which cannot be read"
        return plan.mark_unknown(FindingKind.NOT_READ, why)
    if not homes:
        why = f"no target holds its database {truncate(plan.database)}"
        return plan.blocked(FindingKind.NO_DATABASE, why, Hint.command("ensure", "{} creates it"))
    before = state.database(homes[0], plan.database)
    return replace(plan, target=homes[0], before=before, after=before)
