"""Importing: a tenant's database gets the data of an export, and is created for it if need be.

    files checked ─▶ created, as by `ensure` ─▶ claimed ─▶ copied and compared ─▶ recorded

Clients may write from the moment on in which the database is there: what only the database has
stays. If the process is killed the same command goes on, since what is there already is only
compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace

from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import UNMANAGED
from influxops.domain.export import MANIFEST, Manifest
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import did_you_mean, pluralize, quote, truncate
from influxops.errors import ConfigError, InfluxopsError, Interrupted
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.apply import execute_plan
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.move.copy import about, follow
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.desired import refuse_unknown_targets
from influxops.reconcile.plan.ensure import make_plan, only_creating
from influxops.reconcile.state import RunState
from influxops.report.wording import format_copied
from influxops.runtime.manifests import read_manifest


def find_exports(folder: Path) -> dict[str, tuple[Path, Manifest]]:
    """Return the exports in a directory, or the one that it is itself, by tenant."""
    try:
        if not folder.is_dir():
            raise ConfigError(f"there is no directory {folder}")
        inside = [folder] if (folder / MANIFEST).exists() else sorted(folder.iterdir())
        folders = [each for each in inside if each.is_dir()]
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror or error}") from None
    found: dict[str, tuple[Path, Manifest]] = {}
    for each in folders:
        manifest = read_manifest(each)
        if manifest is None:
            continue
        if manifest.tenant in found:
            both = f"{found[manifest.tenant][0]} and {each}"
            raise ConfigError(f"{both} are both of the tenant {quote(manifest.tenant)}")
        found[manifest.tenant] = (each, manifest)
    if not found:
        raise ConfigError(f"there is no export in {folder}", hint="it would have a manifest.json")
    return found


class Import(Operation):
    """Writes exports to their tenants' databases.

    Args:
        exports: The folder and the manifest of each, by tenant.
        to: The target on which databases are created that are not there yet.
    """

    command: ClassVar[str] = "import"
    needs_ledger: ClassVar[bool] = False

    def __init__(
        self, exports: Mapping[str, tuple[Path, Manifest]], *, to: str | None = None
    ) -> None:
        self._exports, self._to = exports, to
        # That a lost database is created again is what an import is for.
        self.recreate = frozenset(exports)
        self._looked: dict[str, CopyProgress] = {}

    def plan(self, state: RunState) -> RunState:
        """Plan it: files are looked at, and the rows that are in databases already."""
        refuse_unknown_targets(state.rules, filter(None, [self._to]))
        desired = dict(state.desired)
        for id_ in self._exports:
            if id_ in desired:
                desired[id_] = self._wanted(desired[id_])
            elif state.sources_complete:
                raise ConfigError(
                    f"no source knows the tenant {quote(id_)}",
                    hint=did_you_mean(id_, desired) or "add it to the registry first",
                )
        made = make_plan(replace(self._marked(state, ()), desired=desired)).plans
        tenants = {}
        handles = {handle.name: handle for handle in state.request.targets}
        for id_ in self._exports:
            plan = made.get(id_)
            if plan is None:
                plan = TenantPlan(id_, "", UNMANAGED).mark_unknown(
                    FindingKind.NOT_READ, "no source that could be read knows it"
                )
            tenants[id_] = self._one(plan, handles, state)
        return state.planned(tenants)

    def _marked(self, state: RunState, tenants: Collection[str]) -> RunState:
        """Return it with records that say of which of its tenants the import has begun."""
        view = state.ledger_view
        if not view.is_readable:
            return state
        records = {
            id_: (view.records.get(id_) or Record(id_, State.PENDING)).importing(
                str(self._exports[id_][0]) if id_ in tenants else ""
            )
            for id_ in self._exports
            if id_ in tenants or id_ in view.records
        }
        return replace(state, ledger_view=view.with_records(records))

    def _wanted(self, plan: TenantPlan) -> TenantPlan:
        """Return what a tenant should have: where this run wants it, as the export had it."""
        if plan.retention is UNMANAGED:
            plan = replace(plan, retention=self._exports[plan.tenant][1].retention)
        if self._to is None or plan.pin == self._to:
            return plan
        if plan.pin is not None:
            return plan.blocked(
                FindingKind.MISPLACED,
                f"its target is to be {plan.pin}, as its source or [placement] pins say",
                f"change that to {self._to} first, or import without --to",
            )
        return replace(plan, pin=self._to)

    def _one(
        self, plan: TenantPlan, handles: Mapping[str, TargetHandle], state: RunState
    ) -> TenantPlan:
        folder, manifest = self._exports[plan.tenant]
        if plan.is_replacement and plan.before is not None:
            # What a client has created in place of a lost one stays, and gets the data.
            after = replace(plan.before, complete=True)
            plan = replace(plan, status=TenantStatus.OK, changes=(), finding=None)
            plan = plan.with_changes(plan.change(Action.COMPLETE, after=after))
        plan = only_creating(plan)
        if not plan.status.is_ok:
            return plan
        handle = handles.get(plan.target or "")
        if self._to not in (None, plan.target) or handle is None:
            return plan.unchanged().blocked(
                FindingKind.MISPLACED,
                f"its database is on {plan.target}, not on {self._to}",
                "import it there, and move it then",
            )
        if handle.kind != manifest.kind or not handle.implements("influxops_import"):
            why = f"the target {handle.name} cannot read the files of a {manifest.kind}"
            return plan.unchanged().blocked(FindingKind.NOTE, why)
        if manifest.ended is None:
            return plan.unchanged().blocked(
                FindingKind.NOTE,
                f"the export in {folder} is not whole",
                Hint.command(
                    typed(
                        "export",
                        plan.tenant,
                        options=f"--output {shlex.quote(str(folder.parent))}",
                    ),
                    "finish it with {}",
                ),
            )
        order = CopyRequest(plan.database, folder=str(folder), tenant=plan.tenant, dry_run=True)
        try:
            what = f"{truncate(plan.database)} from {folder}"
            steps = handle.import_(order, state.context)
            found = follow(steps, what, order, state.context, handle.name)
            if plan.before is not None:
                there = replace(order, ahead=True)
                steps = handle.import_(there, state.context)
                held = follow(steps, what, there, state.context, handle.name)
                if held.ahead or held.conflicts:
                    plan = plan.note(_not_empty(plan, held))
        except Interrupted:
            raise
        except InfluxopsError as error:
            return plan.unchanged().blocked(FindingKind.NOTE, error.message, error.remedy)
        self._looked[plan.tenant] = found
        last = plan.changes[-1].after if plan.changes else plan.before
        change = plan.change(Action.IMPORT, after=last)
        if state.context.dry_run:
            message = f"to be imported from {folder}: {format_copied(found)}"
            plan = plan.note(plan.info(FindingKind.IMPORTED, message, facts=_facts(folder, found)))
        return plan.with_changes(*plan.changes, change)

    def execute(self, state: RunState) -> Iterator[RunState]:
        """Create what is missing, as `ensure` does, then import one tenant after the other."""
        wanted = [id_ for id_, plan in state.plans.items() if _imports(plan)]

        def creating(state: RunState) -> RunState:
            return _without_imports(self.guarded_plan(state))

        # Until all is there and was compared, what is created is not called good.
        state = _without_imports(self._marked(state, {*filter(partial(_is_new, state), wanted)}))
        for known in execute_plan(state, creating):
            yield (state := known)
        # These grow while the run goes on: each tenant costs the same, however many there are.
        plans, settled, recorded = dict(state.plans), dict(state.settled), set(state.recorded)
        records = dict(state.ledger_view.records)
        for id_ in wanted:
            state.context.check()
            now = settled.get(id_) or plans[id_]
            if now.status not in (TenantStatus.OK, TenantStatus.CHANGED):
                continue
            own = {id_: records[id_]} if id_ in records else {}
            view = replace(state.ledger_view, records=own)
            alone = replace(state, settled={}, recorded=frozenset(), ledger_view=view)
            known = self._import(now, alone)
            settled.pop(id_, None)
            recorded.discard(id_)
            plans |= known.plans
            settled |= known.settled
            recorded |= known.recorded
            records |= known.ledger_view.records
            view = replace(known.ledger_view, records=records)
            state = replace(
                known, plans=plans, settled=settled, recorded=recorded, ledger_view=view
            )
            yield state

    def _import(self, made: TenantPlan, state: RunState) -> RunState:
        """Import one tenant; return a state that has only what is known of it."""
        request, context = state.request, state.context
        before = made.after
        plan = replace(made, status=TenantStatus.OK, outcomes=(), changes=(), before=before)
        plan = plan.with_changes(plan.change(Action.IMPORT, after=before))
        state, own = reserve([plan], replace(state, plans={plan.tenant: plan}))
        if not own:
            return state
        handle = next(each for each in request.targets if each.name == plan.target)
        folder, _ = self._exports[plan.tenant]
        order = CopyRequest(plan.database, folder=str(folder), tenant=plan.tenant)
        try:
            steps = handle.import_(order, context)
            what = f"{truncate(plan.database)} from {folder}"
            copied = follow(steps, what, order, context, handle.name)
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("importing %s failed", plan.database, exc_info=True)
            settled = _failed(plan, error)
        else:
            settled = _imported(plan, copied, folder)
        state = record(replace(state, settled={plan.tenant: settled}))
        settled = state.settled[plan.tenant]
        whole = replace(settled, before=made.before, outcomes=(*made.outcomes, *settled.outcomes))
        whole = replace(whole, changes=(*made.changes, *plan.changes))
        return replace(state, settled={plan.tenant: whole})


def _is_new(state: RunState, tenant: str) -> bool:
    """Return whether a tenant has no database that was good before this import."""
    found = state.ledger_view.record(tenant)
    made = (Action.CREATE, Action.COMPLETE)
    return (
        found is None
        or bool(found.imported_from)
        or found.state not in (State.READY, State.MOVING, State.RETIRING)
        or any(change.action in made for change in state.plans[tenant].changes)
    )


def _imports(plan: TenantPlan) -> bool:
    return any(change.action is Action.IMPORT for change in plan.changes)


def _without_imports(state: RunState) -> RunState:
    return replace(state, plans={id_: _without_import(each) for id_, each in state.plans.items()})


def _without_import(plan: TenantPlan) -> TenantPlan:
    """Return a tenant that only gets its database."""
    if not _imports(plan):
        return plan
    changes = tuple(change for change in plan.changes if change.action is not Action.IMPORT)
    status = TenantStatus.PENDING if changes else TenantStatus.OK
    return replace(plan, changes=changes, status=status)


def _not_empty(plan: TenantPlan, held: CopyProgress) -> Finding:
    parts = []
    if held.ahead:
        parts.append(f"{pluralize(held.ahead, 'row')} (or fields of rows) that the export lacks")
    if held.conflicts:
        parts.append(f"{pluralize(held.conflicts, 'row')} with other values")
    return plan.warning(FindingKind.NOT_EMPTY, f"its database has {' and '.join(parts)}")


def _facts(folder: Path, copied: CopyProgress) -> dict[str, object]:
    return {
        "folder": str(folder),
        "rows": copied.total,
        "tables": copied.tables,
        "kept": copied.ahead,
        "conflicts": copied.conflicts,
    }


def _imported(plan: TenantPlan, copied: CopyProgress, folder: Path) -> TenantPlan:
    message = f"{format_copied(copied)}, from {folder}"
    if copied.ahead:
        message += f"; kept: {pluralize(copied.ahead, 'row')} (or fields) that the export lacks"
    notes = [plan.info(FindingKind.IMPORTED, message, facts=_facts(folder, copied))]
    notes += [about(plan, finding) for finding in copied.findings]
    (change,) = plan.changes
    done = Outcome(change, ChangeResult.DONE, message)
    return replace(plan, status=TenantStatus.CHANGED, outcomes=(done,)).note(*notes)


def _failed(plan: TenantPlan, error: InfluxopsError) -> TenantPlan:
    message = f"importing it did not end: {error.message}"
    finding = plan.error(FindingKind.CHANGE_FAILED, message, error.remedy or "run it again")
    (change,) = plan.changes
    outcome = Outcome(change, ChangeResult.FAILED, error.message, error.remedy)
    return replace(plan, status=TenantStatus.FAILED, finding=finding, outcomes=(outcome,))
