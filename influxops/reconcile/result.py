"""Build the final report of a run: its findings as they ended, severities, exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Refusal, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.errors import ExitCode
from influxops.reconcile.operation import Operation
from influxops.reconcile.state import RunState
from influxops.report.model import LedgerState, Report, RunOrigin
from influxops.report.wording import without_slot

_UNREAD = (FindingKind.UNREACHABLE, FindingKind.REFUSED, FindingKind.WRONG_SERVER)


def conclude(state: RunState, operation: Operation, origin: RunOrigin) -> Report:
    """Return the report of a run."""
    context = state.context
    records = state.ledger_view.records
    tenants = tuple(
        replace(final, record=record)
        if records and (record := records.get(final.tenant)) not in (None, final.record)
        else final
        for final in (_final(plan, state) for plan in state.plans.values())
    )
    # Those about which something may be said: of very many, few.
    noted = [t for t in tenants if t.status is not TenantStatus.OK or t.finding is not None]
    notes = [*_notes(state, noted)]
    if operation.reconciles and not operation.drops:
        notes += _without_slot(noted, state.rules.acknowledged)
    code = _exit_code(notes, noted, state.refusals)
    if state.error is not None:
        code = state.error.exit_code
    return Report(
        run_id=context.id,
        started=context.started,
        seconds=context.seconds,
        dry_run=context.dry_run,
        origin=origin,
        command=operation.command,
        sources=state.sources,
        targets=state.targets,
        ledger=_counted(state),
        events=state.events,
        tenants=tenants,
        orphans=_orphans(state) if operation.reconciles and not context.is_limited else (),
        refusals=state.refusals,
        notes=tuple(notes),
        exit_code=code,
        is_limited=context.is_limited or not operation.reconciles,
    )


def _counted(state: RunState) -> LedgerState | None:
    """Return the ledger's state with how many tenants it has in each state now."""
    if state.ledger is None or not state.ledger_view.is_readable:
        return state.ledger
    records = state.ledger_view.records
    states = dict(Counter(record.state.value for record in records.values()))
    return replace(state.ledger, records=len(records), states=states)


def _orphans(state: RunState) -> tuple[Record, ...]:
    """Return what is recorded of tenants that are in no source and were not retired."""
    if not state.sources or any(source.error for source in state.sources):
        return ()
    if not state.ledger_view.records:
        return ()
    known, gone = {tenant.id for tenant in state.tenants}, (State.RETIRING, State.RETIRED)
    records = state.ledger_view.records.values()
    return tuple(r for r in records if r.tenant not in known and r.state not in gone)


def _final(plan: TenantPlan, state: RunState) -> TenantPlan:
    """Return the final result of a tenant; a change that was never attempted has failed."""
    settled = state.settled.get(plan.tenant)
    if settled is not None:
        return settled
    if plan.status is not TenantStatus.PENDING or state.context.dry_run:
        return plan
    finding = plan.error(
        FindingKind.NOT_ATTEMPTED,
        "not tried: the run ended before",
        "run it again",
    )
    return replace(plan, status=TenantStatus.FAILED, finding=finding, after=plan.before)


def _notes(state: RunState, tenants: Sequence[TenantPlan]) -> Iterator[Finding]:
    """Yield the findings about no single tenant, with the severity that they have for this run."""
    context = state.context
    waits = any(plan.unseen_on and not plan.status.is_ok for plan in tenants)
    applied = bool(state.settled) and not context.dry_run
    # Tenants that a guard refuses need no slot.
    beyond = {
        p.target for p in tenants if p.may_exceed_capacity and p.status is not TenantStatus.GUARDED
    }
    for finding in (*state.findings, *state.plan_notes, *state.notes):
        if finding.kind is FindingKind.OVER_CAPACITY and (applied or finding.target not in beyond):
            continue  # the server has decided, or will not be asked
        severity = finding.severity
        if finding.kind in _UNREAD:
            # A target that no tenant in the scope depends on, or that may be unavailable.
            elsewhere = (context.tenants is not None and not waits) or not state.covers(
                None, finding.target
            )
            if elsewhere or ("unreachable" in state.request.allow and not waits):
                severity = Severity.WARNING
        elif (
            finding.source is not None
            and finding.kind is not FindingKind.FAILED_SOURCE
            and severity is Severity.ERROR
            and _is_elsewhere(finding.source, state)
        ):
            # A fault elsewhere in the registry does not fail a run for some of its tenants.
            severity = Severity.WARNING
        yield replace(finding, severity=severity) if severity != finding.severity else finding
    if state.error is not None:
        error = state.error
        yield Finding(FindingKind(error.kind), Severity.ERROR, error.message, error.remedy)


def _without_slot(
    tenants: Iterable[TenantPlan], acknowledged: Collection[str]
) -> Iterator[Finding]:
    """Yield how many tenants have no slot, or may get none, where slots have run out."""
    asked = [plan for plan in tenants if plan.tenant not in acknowledged]
    number = sum(plan.kind is FindingKind.OVER_CAPACITY for plan in asked)
    perhaps = sum(p.may_exceed_capacity and p.status is TenantStatus.PENDING for p in asked)
    if number or perhaps:
        text, remedy = without_slot(number, perhaps)
        facts = {"without_slot": number, "beyond": perhaps}
        yield Finding.warning(FindingKind.OVER_CAPACITY, text, remedy, facts=facts)


def _is_elsewhere(source: str, state: RunState) -> bool:
    """Return whether a source has tenants that the run is not about."""
    named = state.context.tenants
    return named is not None and any(
        tenant.id not in named for tenant in state.tenants if tenant.source == source
    )


def _exit_code(
    notes: Iterable[Finding], tenants: Iterable[TenantPlan], refusals: Sequence[Refusal]
) -> ExitCode:
    """Return what a run ends with: 1 before 4 before 0."""
    findings = (*notes, *(plan.finding for plan in tenants if plan.finding is not None))
    if any(f.severity is Severity.ERROR and f.kind is not FindingKind.GUARD for f in findings):
        return ExitCode.FAILED
    return ExitCode.REFUSED if refusals else ExitCode.OK
