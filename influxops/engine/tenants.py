"""What a process does for some tenants without a full run: plan them, and allocate their slots.

They are planned by the functions that plan all of them. What takes all tenants to see (two ids that
share a name, a registry that lost half of them) is left to full runs. `creation.py` creates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, TargetHints
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.plan import (
    Action,
    ChangeResult,
    Outcome,
    TenantPlan,
    TenantStatus,
)
from influxops.domain.record import LedgerUpdate, Record, State
from influxops.errors import InfluxopsError, LedgerError, TargetAuthError
from influxops.reconcile.guards import guard
from influxops.reconcile.ledger.commit import give_up, is_overdue, record
from influxops.reconcile.observe.reread import confirm_losses
from influxops.reconcile.observe.selected import may_be_anothers, no_check, observe_selected
from influxops.reconcile.observe.stale_ledger import stale_ledger
from influxops.reconcile.plan.contents import describe_recreated
from influxops.reconcile.plan.desired import with_desired
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.plan.recorded import explain_lost, how_to_go_on
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import RunState
from influxops.report.model import RunOrigin
from influxops.runtime.context import RunContext

#: States in which a tenant waits for its database.
_WAITING = (State.PENDING, State.ALLOCATED)


class TenantRequest(Struct, frozen=True):
    """A tenant that a caller asks for."""

    tenant: str  # its id
    retention: str | None = None  # the retention period that it is made with, instead of its own
    target: str | None = None  # the only target that it may be made on
    origin: RunOrigin | None = None  # who asks; None: who runs this process

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of the tenant that it overrides."""
        given = {"retention": self.retention, "target": self.target}
        return {name: value for name, value in given.items() if value is not None}


def signed(request: RunRequest, asked: Iterable[TenantRequest]) -> RunRequest:
    """Return what a run works with, whose history says who asked for each tenant."""
    origins = {each.tenant: each.origin for each in asked if each.origin is not None}
    return replace(request, origins=origins)


class SelectedPlan(Struct, frozen=True):
    """What was decided on some tenants.

    The database of a tenant that is OK exists; its changes complete it, or keep it although it was
    retiring. One that is PENDING is to be created. UNKNOWN cannot be decided now. Any other gets
    nothing before something else changes, but one whose finding is CLAIMED.
    """

    tenants: Mapping[str, TenantPlan]  # one for each id that was asked for
    observed: RunState
    #: What could not be read, by the full name of its section.
    failed: Mapping[str, InfluxopsError] = field(default_factory=dict)
    #: How many databases the ledger counts on each target; None where that was not asked.
    counted: Mapping[str, int] | None = None
    needs_full_run: bool = False  # whether one of the tenants waits for a full run


def plan_selected(
    asked: Iterable[TenantRequest],
    request: RunRequest,
    context: RunContext,
    hints: TargetHints,
    *,
    verify: bool = False,
) -> SelectedPlan:
    """Plan that some tenants have their databases, which are looked at in any case to `verify`."""
    overrides = {each.tenant: each.attributes for each in asked}
    state = RunState(request, context.with_tenants(frozenset(overrides)))
    read, failed, counted = observe_selected(overrides, state, hints, creating_tells=not verify)
    template = request.rules.template
    unread = {id_: TenantPlan(id_, template.name(id_), UNMANAGED) for id_ in overrides}
    if read is None:
        why = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
        tenants = {id_: _postpone(plan, why) for id_, plan in unread.items()}
        return SelectedPlan(tenants, state, failed)
    state = confirm_losses(with_desired(read, no_check))
    state = describe_recreated(guard(make_plan(state, check=no_check)))
    decider = _Decider(failed, state, hints)
    for finding in stale_ledger(state, state.desired):
        decider.stale[finding.tenant] = finding
    tenants = {}
    for id_, missing in unread.items():
        decided = state.plans.get(id_)
        if decided is None:
            unknown = Finding.error(FindingKind.UNKNOWN_TENANT, "no source has it (yet)", "")
            decided = missing.block(unknown)
        else:
            decided = decider.decide(decided)
        tenants[id_] = replace(decided, record=state.ledger_view.records.get(id_))
    return SelectedPlan(tenants, state, failed, counted, decider.needs_full_run)


def postpone(plan: TenantPlan, kind: FindingKind, why: str) -> TenantPlan:
    """Return a tenant on which nothing can be decided for now."""
    return replace(plan, changes=(), after=plan.before).mark_unknown(kind, why)


def _postpone(plan: TenantPlan, why: str) -> TenantPlan:
    return postpone(plan, FindingKind.NOT_READ, why)


def _refuse(plan: TenantPlan, kind: FindingKind, why: str) -> TenantPlan:
    finding = plan.error(kind, why, "`influxops plan` tells more")
    return replace(plan, status=TenantStatus.FAILED, finding=finding, changes=(), after=None)


class _Decider:
    """Decides the plan of single tenants for a waiting caller, where not everything was read."""

    def __init__(
        self,
        failed: Mapping[str, InfluxopsError],
        observed: RunState,
        hints: TargetHints,
    ) -> None:
        self._failed, self._observed = failed, observed
        self._request, self._hints = observed.request, hints
        self.stale: dict[str | None, Finding] = {}  # what servers show and the ledger lacks
        self.needs_full_run = False

    def decide(self, plan: TenantPlan) -> TenantPlan:
        """Return a guarded plan with what follows for its tenant."""
        if plan.kind is FindingKind.CLAIMED:
            return plan
        if stale := self.stale.get(plan.tenant):
            why = f"{stale.message}; a full run tells more"
            return _refuse(replace(plan, target=None), FindingKind.STALE_LEDGER, why)
        if plan.status is TenantStatus.UNKNOWN:
            return self._unread(plan)
        if replaced := self._replaced(plan):
            why = f"another server answers at {replaced} than the recorded one; `influxops ensure` "
            return _refuse(plan, FindingKind.REPLACED_SERVER, f"{why}tells more")
        if plan.is_replacement and plan.finding is not None:
            remedy = how_to_go_on(plan)
            how = remedy.words(f"`influxops {remedy.value}`")
            return _refuse(plan, FindingKind.LOST, f"it is {plan.finding.message} ({how})")
        if plan.status is TenantStatus.BLOCKED or plan.is_replacement:
            return plan
        if may_be_anothers(plan, self._observed):
            self.needs_full_run = True
            return _postpone(plan, f"a full run sees whether {plan.database} is another tenant's")
        if plan.before is not None:
            kept = (Action.COMPLETE, Action.UNRETIRE)
            left = tuple(each for each in plan.changes if each.action in kept)
            found = plan.recreated_after_drop
            return replace(plan, status=TenantStatus.OK, finding=found, changes=left)
        return self._missing(plan)

    def _unread(self, plan: TenantPlan) -> TenantPlan:
        why = plan.reason or "it cannot be read"
        record = self._observed.ledger_view.records.get(plan.tenant)
        target = record.target if record is not None else None
        is_refused = target in self._hints.refused or isinstance(
            self._failed.get(f"target:{target}"), TargetAuthError
        )
        is_provisioned = record is not None and record.is_provisioned
        if is_refused or not is_provisioned or target not in self._observed.unread:
            return _postpone(plan, self._why(why))
        # It was provisioned, and nothing says that it is gone.
        why = f"so the ledger says; {self._why(f'{target} cannot be asked')}"
        finding = plan.warning(FindingKind.NOT_READ, why)
        return replace(plan, status=TenantStatus.OK, target=target, finding=finding, changes=())

    def _why(self, reason: str) -> str:
        """Return a reason with why a target cannot be asked."""
        errors = {**self._hints.away}
        for name in self._observed.unread:
            if (error := self._failed.get(f"target:{name}")) is not None:
                errors[name] = error.message
        first = next(iter(errors.values()), "")
        return f"{reason}: {first}" if first else reason

    def _replaced(self, plan: TenantPlan) -> str | None:
        """Return the target of a tenant that leads to another server than the recorded one."""
        record = self._observed.ledger_view.record(plan.tenant)
        replaced = self._observed.ledger_view.replaced
        targets = (plan.target, record.target if record is not None else None)
        return next((name for name in targets if name in replaced), None)

    def _missing(self, plan: TenantPlan) -> TenantPlan:
        if plan.record is not None and plan.record.is_provisioned:
            why = f"it is lost: {explain_lost(plan.record, self._observed)}"
            return _refuse(plan, FindingKind.LOST, f"{why}; a full run tells more, and what to do")
        if plan.unseen_on:
            names = ", ".join(plan.unseen_on)
            return _postpone(plan, self._why(f"it may be on {names}, not asked now"))
        if plan.status is TenantStatus.GUARDED and plan.finding is not None:
            why = f"{plan.finding.message} ({plan.finding.remedy})"
            return _refuse(plan, FindingKind.GUARD, why)
        if len(self._request.targets) > 1 and self._request.ledger is None:
            why = "there are several targets and no ledger, so a full run places it"
            return _postpone(plan, why)
        if len(self._request.targets) > 1 and not self._observed.used:
            why = "the ledger cannot count what each target holds, so a full run places it"
            return _postpone(plan, why)
        return plan


def commit_seen(
    plans: Iterable[TenantPlan], observed: RunState, request: RunRequest, context: RunContext
) -> None:
    """Record which tenants have their databases, lost them, or are kept while they retire."""
    # One that was created and never confirmed is confirmed by who looks at what is stored.
    tenants = {plan.tenant: plan for plan in plans if not _is_in_doubt(plan.record)}
    kept = {id_: _kept(plan) for id_, plan in tenants.items() if is_kept(plan)}
    # As it was read, in the run that writes it.
    state = replace(observed, request=request, context=context, plans=tenants, settled=kept)
    state = record(state, at_end=True, with_seen=True)
    if state.notes:
        raise LedgerError(state.notes[-1].message, hint=state.notes[-1].remedy)


def _is_in_doubt(record: Record | None) -> bool:
    return record is not None and record.state is State.UNCONFIRMED and not record.is_provisioned


def is_kept(plan: TenantPlan) -> bool:
    """Return whether a tenant was retiring, and is to be kept: a source has it again."""
    return any(change.action is Action.UNRETIRE for change in plan.changes)


def _kept(plan: TenantPlan) -> TenantPlan:
    outcomes = tuple(
        Outcome(c, ChangeResult.DONE) for c in plan.changes if c.action is Action.UNRETIRE
    )
    return replace(plan, status=TenantStatus.CHANGED, outcomes=outcomes, after=plan.before)


def allocate(
    plans: Iterable[TenantPlan],
    observed: RunState,
    request: RunRequest,
    context: RunContext,
    noted: Mapping[str, datetime] | None = None,
) -> dict[str, Record]:
    """Reserve a slot for each tenant that is to be created; record all others as far as is known.

    One that cannot be decided stays wanted, with the reason. Records are returned as they are now:
    another run may have changed them. `noted` says since when tenants wait that did not wait by the
    ledger; the others wait since now.
    """
    if request.ledger is None:
        raise LedgerError("there is no ledger to note anything in")
    plans = [*plans]
    commit_seen(plans, observed, request, context)
    given_up = [
        give_up(plan.record, request)
        for plan in plans
        if plan.kind is FindingKind.UNKNOWN_TENANT
        and plan.record is not None
        and not plan.record.is_claimed
        and is_overdue(plan.record, observed.ledger_view.now)
    ]
    noted = noted or {}
    records = {after.tenant: after for after, _ in given_up}
    for plan in plans:
        after = _waiting(plan, observed, noted.get(plan.tenant))
        if after is not None and plan.tenant not in records:
            records[plan.tenant] = after
    update = LedgerUpdate(tuple(records.values()), entries=tuple(told for _, told in given_up))
    return request.ledger.commit(update, context) if update else {}


def _waiting(plan: TenantPlan, observed: RunState, noted: datetime | None) -> Record | None:
    """Return the new record of a tenant that waits; None where there is nothing to write."""
    before = plan.record or Record(plan.tenant, State.PENDING)
    if plan.record is None or before.state is State.RETIRED:
        before = replace(before, state_since=noted or before.state_since)
    after, why = before, plan.reason
    kind = plan.kind
    is_waiting = before.state in (*_WAITING, State.RETIRED)
    if before.is_claimed or not is_waiting or kind is FindingKind.CLAIMED:
        return None
    if kind is FindingKind.UNKNOWN_TENANT:
        if plan.record is not None and before.state in _WAITING:
            after = replace(before, state=State.PENDING, error=why)
        return after if after != before else None
    if plan.status is TenantStatus.PENDING:
        after = replace(
            before,
            state=State.ALLOCATED,
            database=plan.database,
            target=plan.target,
            identity=observed.identity(plan.target),
        )
    elif plan.status is TenantStatus.UNKNOWN and before.state is State.ALLOCATED:
        after = replace(before, error=why)  # its slot stays taken
    elif plan.status is not TenantStatus.OK:
        after = replace(before, state=State.PENDING, error=why)
    return after if after != before or (plan.record is None and after.error) else None
