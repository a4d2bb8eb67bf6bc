"""What databases hold that a person has to decide about: duplicates, and what clients recreated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.database import DatabaseStats
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import TenantPlan
from influxops.domain.text import pluralize, summarize, truncate
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.plan.recorded import is_recreated
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel

#: Databases of one run whose rows are counted; each costs queries of its own.
_MOST = 1_000

#: What targets tell of databases, by target and name.
Stats = Mapping[tuple[str, str], DatabaseStats]


def stats_of(
    databases: Iterable[tuple[str, str]],
    targets: Sequence[TargetHandle],
    context: RunContext,
    *,
    say: bool = True,
) -> Stats:
    """Return what targets tell of databases, by target and name."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for target, name in databases:
        names[target].append(name)
    handles = [handle for handle in targets if handle.name in names]
    tasks = {h.full_name: partial(h.database_stats, names[h.name], context) for h in handles}
    found = in_parallel(tasks, context, say=say)
    return {
        (handle.name, name): stats
        for handle, each in zip(handles, found, strict=True)
        for name, stats in each.items()
    }


def describe_copies(state: RunState) -> RunState:
    """Let planned duplicates say what each copy holds; it asks nothing where none is."""
    targets = state.request.targets
    duplicates = [
        (tenant, tenant.finding)
        for tenant in state.plans.values()
        if tenant.finding is not None and tenant.kind is FindingKind.IN_TWO_TARGETS
    ]
    databases = [
        (copy["target"], tenant.database)
        for tenant, finding in duplicates
        for copy in finding.facts["copies"]
    ]
    stats = stats_of(databases, targets, state.context)
    labels = {handle.name: handle.capabilities.table_label for handle in targets}
    plans = dict(state.plans)
    for tenant, finding in duplicates:
        described = _describe_copies(tenant, finding, stats, labels)
        plans[tenant.tenant] = replace(tenant, finding=described)
    return replace(state, plans=plans) if duplicates else state


def _describe_copies(
    tenant: TenantPlan, finding: Finding, stats: Stats, labels: Mapping[str, str]
) -> Finding:
    copies, words = [], []
    for target in (copy["target"] for copy in finding.facts["copies"]):
        known = stats.get((target, tenant.database)) or DatabaseStats(tenant.database)
        copies.append({"target": target, **known.facts})
        words.append(f"on {target} ({contents_in_words(known, labels[target])})")
    note = " (ignored)" if finding.severity is Severity.INFO else ""
    message = f"the database {tenant.database} is {' and '.join(words)}{note}"
    return replace(finding, message=message, facts={"copies": copies})


def describe_recreated(state: RunState) -> RunState:
    """Let plans say what clients have written in place of what was lost or dropped."""
    targets = state.request.targets
    recreated = [
        (tenant, finding)
        for tenant in state.plans.values()
        if (tenant.finding is not None or tenant.notes)
        and (finding := _of_recreated(tenant)) is not None
    ]
    databases = [(tenant.target or "", tenant.database) for tenant, _ in recreated]
    stats = stats_of(databases[:_MOST], targets, state.context, say=False)
    labels = {handle.name: handle.capabilities.table_label for handle in targets}
    plans = dict(state.plans)
    for tenant, finding in recreated:
        target, name = tenant.target or "", tenant.database
        known = stats.get((target, name)) or DatabaseStats(name, message="not counted")
        what = contents_in_words(known, labels.get(target, ""))
        if known.rows is None and known.message:
            what += f" ({known.message})"
        facts = {**finding.facts, "recreated": {"target": tenant.target, **known.facts}}
        told = replace(finding, message=f"{finding.message}; it holds {what}", facts=facts)
        plans[tenant.tenant] = replace(
            tenant,
            finding=told if tenant.finding is finding else tenant.finding,
            notes=tuple(told if note is finding else note for note in tenant.notes),
        )
    return replace(state, plans=plans) if recreated else state


def _of_recreated(tenant: TenantPlan) -> Finding | None:
    """Return the finding that a client has created a tenant's database again."""
    if tenant.kind in (FindingKind.LOST, FindingKind.GUARD):
        return tenant.finding if is_recreated(tenant.record, tenant.before) else None
    return tenant.recreated_after_drop


def contents_in_words(stats: DatabaseStats, label: str) -> str:
    """Return in words what a database holds; `label` names rows that are in no known table."""
    what = "rows unknown"
    if stats.rows is not None:
        what = ("at most " if stats.at_most else "") + pluralize(stats.rows, "row")
        named = [truncate(table.name) for table in stats.contents if table.name and table.rows]
        if named:
            what += f" in {summarize(named)}"
        elif stats.tables is None and label:
            what += f" of {label}"  # there may be others, which a person must look for
    if stats.last_write is not None:
        what += f", last written {stats.last_write:%Y-%m-%d %H:%M:%S} UTC"
    return what
