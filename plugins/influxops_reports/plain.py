"""A report as plain lines, one a tenant: for pipes, cron mails and CI logs."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence

from influxops.plugin import (
    Action,
    FindingGroup,
    LedgerState,
    Report,
    ReportView,
    RunStart,
    Severity,
    SourceState,
    TargetState,
    TenantPlan,
    TenantStatus,
    one_line,
    pluralize,
)

_LEVELS = {Severity.ERROR: "ERR", Severity.WARNING: "WARN", Severity.INFO: "INFO"}
#: Tenants that share a reason have a line each up to this number; and causes that are listed.
_MAX_ALIKE, _MAX_CAUSES = 20, 20


def header_lines(head: RunStart | Report, *, brief: bool = False) -> list[str]:
    """Return what a run works on, safe to print: configuration, sources, targets and ledger.

    If it is `brief`, a target is to fit in a line of a terminal.
    """
    config = one_line(head.origin.config) if head.origin.config else "none, the environment only"
    who = one_line(head.origin.who)
    what = "dry run" if head.dry_run else "run"
    return [
        f"config    {config} ({what} {one_line(head.run_id)} by {who})",
        *(_source_line(source) for source in head.sources),
        *(_target_line(target, brief=brief) for target in head.targets),
        *([_ledger_line(head.ledger)] if head.ledger is not None else ()),
    ]


def _source_line(source: SourceState) -> str:
    found = f"NOT READ: {source.error}" if source.error else pluralize(source.tenants, "tenant")
    where = f"{source.location} " if source.location else ""  # a plugin need not say it
    return "source    " + one_line(f"{source.name}: {where}({source.kind}), {found}")


def _target_line(target: TargetState, *, brief: bool) -> str:
    parts = [f"{target.name}: {target.url or target.kind}"]
    if not target.reachable:
        parts.append(f"NOT READ: {target.error}" if target.error else "NOT READ")
    else:
        kind = "" if brief and target.edition else target.capabilities.server or target.kind
        server = (kind, target.edition, target.version)
        parts += [" ".join(part for part in server if part), _slots(target, brief=brief)]
    if target.state == "draining":
        parts.append("draining")
    if target.identity and target.reachable and not brief:  # a wrong server's is in the error
        parts.append(f"{target.capabilities.identity} {target.identity}")
    return "target    " + one_line(", ".join(part for part in parts if part))


def _ledger_line(ledger: LedgerState) -> str:
    found = f"NOT READ: {ledger.error}" if ledger.error else pluralize(ledger.records, "record")
    return "ledger    " + one_line(
        f"{ledger.location} ({ledger.kind}), namespace {ledger.namespace}, {found}"
    )


def _slots(target: TargetState, *, brief: bool) -> str:
    left = target.free_slots
    if left is None:
        return "" if target.databases is None else pluralize(target.databases, "database")
    if brief:
        about = "~" if target.capacity_is_estimate else ""
        return f"{left:,} of {about}{pluralize(target.capacity or 0, 'slot')} free"
    capacity = "estimated capacity" if target.capacity_is_estimate else "capacity"
    return f"{pluralize(left, 'slot')} free ({capacity} {target.capacity or 0:,})"


def report_lines(
    report: Report, *, verbose: bool = False, quiet: bool = False, changes_only: bool = False
) -> Iterator[str]:
    """Yield `ERR`, `WARN`, `INFO`, `OK` and `PLAN` lines, the summary and what to do next.

    Causes come before tenants. `verbose` adds targets and infos, and gives every tenant a line of
    its own; `quiet` leaves out what is well, and all when all is; `changes_only` leaves out who was
    right already.
    """
    view = ReportView(report)
    if quiet and view.is_routine:
        return
    shown = list(_LEVELS) if verbose else [Severity.ERROR, Severity.WARNING]
    limit = math.inf if verbose else _MAX_ALIKE
    # A tenant that is not right is shown whatever its severity.
    many = [group for group in view.failure_groups if len(group.labels) > limit]
    many += [g for g in view.extra_groups if len(g.labels) > limit and g.severity in shown]
    general = [group for group in view.run_groups if group.severity in shown]
    yield from _cause_lines([*general, *many], limit=None if verbose else _MAX_CAUSES)
    left_out = [*TenantStatus] if quiet else [TenantStatus.OK] if changes_only else []
    yield from _tenant_lines(view, many, shown, left_out, verbose=verbose)
    yield from view.no_tenants if quiet else view.asides
    if report.tenants or view.needs_attention:
        yield view.summary()
        for step in view.next_steps():
            yield f"Next: {step}"


def _cause_lines(causes: Sequence[FindingGroup], *, limit: int | None) -> Iterator[str]:
    """Yield the causes that are about no single tenant, or about very many, the worst first."""
    for severity in _LEVELS:
        these = [group for group in causes if group.severity is severity]
        for group in these[:limit]:
            yield _line(severity, group.line(), group.advice)
        if limit is not None and len(these) > limit:
            yield _line(severity, f"and {len(these) - limit:,} more (-v shows all)")


def _tenant_lines(
    view: ReportView,
    many: Sequence[FindingGroup],
    shown: Container[Severity],
    left_out: Container[TenantStatus],
    *,
    verbose: bool,
) -> Iterator[str]:
    """Yield each tenant's line, and its further findings, in the order of the sources.

    Findings of `many` were listed as causes already; `shown` are the severities of those that are
    listed beside a tenant's own line. Tenants that are right have none where it is `left_out`.
    """
    several = len(view.report.targets) > 1
    listed = {(g.kind, g.severity, g.message, g.advice) for g in many}
    # Advice is given with the first tenant that it helps.
    advised = set() if verbose else {group.advice for group in (*view.run_groups, *many)}
    for tenant in view.report.tenants:
        found = view.notes(tenant)
        if not (is_ok := view.is_ok(tenant)):
            found = (view.reason(tenant), *found)
        elif tenant.status not in left_out:
            yield _right_line(tenant, view, verbose=verbose)
        for finding in found:
            message, advice = view.message(finding), view.words.advice(finding.remedy)
            is_reason = finding is found[0] and not is_ok
            if (finding.kind, finding.severity, message, advice) in listed or (
                finding.severity not in shown and not is_reason
            ):
                continue
            where = f"{view.target_text(tenant).strip()}: " if several and tenant.target else ""
            text = f"{view.label(tenant)}: {where if is_reason else ''}{message}"
            yield _line(finding.severity, text, "" if advice in advised else advice)
            if not verbose:
                advised.add(advice)


def _right_line(tenant: TenantPlan, view: ReportView, *, verbose: bool) -> str:
    label = view.label(tenant)
    if tenant.status is TenantStatus.OK and not verbose:
        return f"OK {label}"
    on = view.target_text(tenant) if verbose or tenant.status is not TenantStatus.CHANGED else ""
    if tenant.status is TenantStatus.PENDING:
        line = f"PLAN {view.steps_text(tenant) or 'change'} {label}{on}"
        retention = view.retention(tenant)
        if any(change.action is Action.SET_RETENTION for change in tenant.changes):
            line += f": {retention}"
        elif verbose and view.has_retention and retention:
            line += f" (retention: {retention})"
        if view.kept_text(tenant):
            line += f" {view.kept_text(tenant)}"
        return f"{line} (may exceed the capacity)" if tenant.may_exceed_capacity else line
    if tenant.status is TenantStatus.CHANGED:
        return f"OK {label}: {view.action_text(tenant)}{on}"
    return f"OK {label}: already{on}"


def _line(severity: Severity, text: str, advice: str = "") -> str:
    return f"{_LEVELS[severity]} {text}" + (f" ({advice})" if advice else "")
