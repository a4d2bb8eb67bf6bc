"""A report as plain lines, one a tenant: for pipes, cron mails and CI logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from influxops import (
    Action,
    Report,
    RunHead,
    Severity,
    SourceState,
    TargetState,
    TenantResult,
    one_line,
)
from influxops import TenantState as State
from influxops_reports.words import Note, Story, count, retention_change

_LEVELS = {Severity.ERROR: "ERR", Severity.WARNING: "WARN", Severity.INFO: "INFO"}

#: What is to be done, as the beginning of a sentence that goes on with the database's name.
_TO_DO = {
    Action.CREATE: "create",
    Action.SET_RETENTION: "set retention of",
    Action.ADD_MARKER: "add marker to",
    Action.DROP: "drop",
}


def header_lines(head: RunHead) -> list[str]:
    """Say what a run works on.

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
        server = " ".join(part for part in (target.edition, target.version) if part)
        parts += [f"InfluxDB 3 {server}" if target.kind == "influxdb3" else server]
        parts.append(_places(target))
    if target.state == "draining":
        parts.append("draining")
    if target.cluster_uuid and target.reachable:  # a wrong server's is in the error
        parts.append(f"cluster-uuid {target.cluster_uuid}")
    return "target    " + one_line(", ".join(part.strip() for part in parts if part.strip()))


def _places(target: TargetState) -> str:
    left = target.places_left
    if left is None:
        return "" if target.databases is None else count(target.databases, "database")
    guess = " (an estimate)" if target.capacity_is_estimate else ""
    return f"{left:,} of {count(target.capacity or 0, 'place')} left{guess}"


def report_lines(report: Report, *, verbose: bool = False, quiet: bool = False) -> Iterator[str]:
    """Give a report as plain lines.

    Args:
        report: The report.
        verbose: Whether to say what was done and where, and what is merely worth knowing.
        quiet: Whether to leave out what is well; nothing at all comes when all is.

    Returns:
        `OK`, `PLAN`, `WARN`, `ERR` and `INFO` lines, then the summary and what to do next.
    """
    story = Story(report)
    if quiet and not story.troubled:
        return
    lowest = Severity.INFO if verbose else Severity.WARNING
    for tenant in report.tenants:
        line = _tenant_line(tenant, story, verbose=verbose)
        if not quiet or line.startswith(("ERR", "WARN")):
            yield line
        yield from _note_lines(story.by_tenant.get(tenant.tenant, ()), lowest)
    known = {tenant.tenant for tenant in report.tenants}
    for id_, notes in story.by_tenant.items():
        if id_ not in known:
            yield from _note_lines(notes, lowest)
    yield from _note_lines(story.general, lowest)
    yield from story.no_tenants
    if report.tenants or story.troubled:
        yield story.summary()
        for step in story.next_steps():
            yield f"Next: {step}"


def _tenant_line(tenant: TenantResult, story: Story, *, verbose: bool) -> str:
    label = story.label(tenant)
    on = f" on {one_line(tenant.target)}" if tenant.target else ""
    if not story.is_right(tenant):
        return f"{_LEVELS[story.severity(tenant)]} {label}: {story.why(tenant)}"
    if tenant.state is State.PENDING:
        actions = [action for action in tenant.actions if action is not Action.KEEP]
        line = f"PLAN {' and '.join(_TO_DO[action] for action in actions)} {label}{on}"
        if Action.SET_RETENTION in actions or verbose:
            line += f": retention {retention_change(tenant.before, tenant.after)}"
        return f"{line} (may find no place)" if tenant.tenant in story.beyond else line
    if not verbose:
        return f"OK {label}"
    did = story.did(tenant) if tenant.state is State.CHANGED else "already"
    return f"OK {label}: {did}{on}"


def _note_lines(notes: Iterable[Note], lowest: Severity) -> Iterator[str]:
    for note in notes:
        if note.severity is not Severity.INFO or lowest is Severity.INFO:
            # An error's hint is told once, at the end; a warning's has no other place.
            hint = f" ({note.hint})" if note.hint and note.severity is not Severity.ERROR else ""
            yield f"{_LEVELS[note.severity]} {note.line}{hint}"
