"""A report as plain lines, one a tenant: for pipes, cron mails and CI logs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from influxops.plugin import (
    Action,
    Group,
    Report,
    ReportView,
    RunHead,
    Severity,
    SourceState,
    TargetState,
    TenantPlan,
    Verdict,
    count,
    one_line,
)

_LEVELS = {Severity.ERROR: "ERR", Severity.WARNING: "WARN", Severity.INFO: "INFO"}
#: Up to so many tenants that share a reason have a line each, and up to so many causes are told.
_ALIKE, _CAUSES = 20, 20


def header_lines(head: RunHead) -> list[str]:
    """Return what a run works on.

    Args:
        head: What the run read before it wrote anything.

    Returns:
        A line for the configuration, one a source and one a target, safe to print.
    """
    config = one_line(head.origin.config) if head.origin.config else "none, the environment only"
    who = one_line(f"{head.origin.user}@{head.origin.host}")
    what = "dry run" if head.dry_run else "run"
    return [
        f"config    {config} ({what} {one_line(head.run_id)} by {who})",
        *(_source_line(source) for source in head.sources),
        *(_target_line(target) for target in head.targets),
    ]


def _source_line(source: SourceState) -> str:
    found = f"NOT READ: {source.error}" if source.error else count(source.tenants, "tenant")
    return "source    " + one_line(f"{source.name}: {source.location} ({source.kind}), {found}")


def _target_line(target: TargetState) -> str:
    parts = [f"{target.name}: {target.url}"]
    if not target.reachable:
        parts.append(f"NOT READ: {target.error}" if target.error else "NOT READ")
    else:
        server = (target.traits.server or target.kind, target.edition, target.version)
        parts += [" ".join(part for part in server if part), _places(target)]
    if target.state == "draining":
        parts.append("draining")
    if target.identity and target.reachable:  # a wrong server's is in the error
        parts.append(f"{target.traits.identity} {target.identity}")
    return "target    " + one_line(", ".join(part for part in parts if part))


def _places(target: TargetState) -> str:
    left = target.places_left
    if left is None:
        return "" if target.databases is None else count(target.databases, "database")
    guess = " (an estimate)" if target.capacity_is_estimate else ""
    return f"{left:,} of {count(target.capacity or 0, 'place')} left{guess}"


def report_lines(report: Report, *, verbose: bool = False, quiet: bool = False) -> Iterator[str]:
    """Yield a report as plain lines, what is wrong with all of it before what it means for each.

    Args:
        report: The report.
        verbose: Whether to say where, and what is merely worth knowing, and to give every tenant
            a line of its own.
        quiet: Whether to leave out what is well; nothing at all comes when all is.

    Yields:
        `ERR`, `WARN`, `INFO`, `OK` and `PLAN` lines, then the summary and what to do next.
    """
    view = ReportView(report)
    if quiet and not view.is_troubled:
        return
    many = (
        {}
        if verbose
        else {
            (group.severity, group.message): group
            for group in (*view.reasons, *view.also)
            if len(group.labels) > _ALIKE
        }
    )
    # A tenant that is not right is told in any case, what is merely worth knowing is not.
    causes = [
        group
        for group in (*view.general, *many.values())
        if verbose or group.severity is not Severity.INFO or group in view.reasons
    ]
    yield from _cause_lines(causes, most=len(causes) if verbose else _CAUSES)
    yield from _tenant_lines(view, many, verbose=verbose, quiet=quiet)
    yield from view.no_tenants
    if report.tenants or view.is_troubled:
        yield view.summary()
        for step in view.next_steps():
            yield f"Next: {step}"


def _cause_lines(causes: Sequence[Group], *, most: int) -> Iterator[str]:
    """Yield what is about no single tenant, or about very many of them, the worst first."""
    for severity in _LEVELS:
        these = [group for group in causes if group.severity is severity]
        for group in these[:most]:
            yield _line(severity, group.line(), group.advice)
        if len(these) > most:
            yield _line(severity, f"and {len(these) - most:,} more (-v shows all)")


def _tenant_lines(
    view: ReportView, many: Container[tuple[Severity, str]], *, verbose: bool, quiet: bool
) -> Iterator[str]:
    """Yield each tenant's line, and what else was found about it, in the order of the sources.

    Args:
        view: The view.
        many: What was told of many together already.
        verbose: As in `report_lines`.
        quiet: As in `report_lines`.
    """
    several = len(view.report.targets) > 1
    advised: set[tuple[str, str]] = set()  # advice stands with the first who shares it
    for tenant in view.report.tenants:
        label = view.label(tenant)
        if view.is_right(tenant):
            if not quiet:
                yield _right_line(tenant, view, verbose=verbose)
        elif (view.severity(tenant), view.why(tenant)) not in many:
            why, advice = view.why(tenant), view.advice(tenant)
            where = f"{view.on(tenant).strip()}: " if several and tenant.target else ""
            told = (why, advice) in advised and not verbose
            yield _line(view.severity(tenant), f"{label}: {where}{why}", "" if told else advice)
            advised.add((why, advice))
        for finding in view.notes(tenant):
            message = view.message(finding)
            if (finding.severity, message) not in many and (
                verbose or finding.severity is not Severity.INFO
            ):
                advice = view.words.advice(finding.remedy)
                yield _line(finding.severity, f"{label}: {message}", advice)


def _right_line(tenant: TenantPlan, view: ReportView, *, verbose: bool) -> str:
    label, on = view.label(tenant), view.on(tenant)
    if tenant.verdict is Verdict.PENDING:
        line = f"PLAN {view.steps(tenant) or 'change'} {label}{on}"
        retention = view.retention(tenant)
        if any(change.action is Action.SET_RETENTION for change in tenant.changes):
            line += f": {retention}"
        elif verbose and view.has_retention and retention:
            line += f" (retention: {retention})"
        return f"{line} (may find no place)" if tenant.over_estimate else line
    if tenant.verdict is Verdict.CHANGED:
        return f"OK {label}: {view.did(tenant)}{on if verbose else ''}"
    return f"OK {label}: already{on}" if verbose else f"OK {label}"


def _line(severity: Severity, text: str, advice: str = "") -> str:
    return f"{_LEVELS[severity]} {text}" + (f" ({advice})" if advice else "")
