"""A tenant that is on more than one target: what each copy holds, so that somebody can decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.database import DatabaseStats
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Plan, TenantPlan
from influxops.domain.text import pluralize, summarize, truncate
from influxops.plugin_host.target import TargetHandle
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel


def stats_of(
    names: Mapping[str, Sequence[str]],
    targets: Sequence[TargetHandle],
    context: RunContext,
    *,
    say: bool = True,
) -> dict[str, dict[str, DatabaseStats]]:
    """Return what targets tell of databases, by target and name.

    Args:
        names: The databases' names, by target.
        targets: The targets; those that are not named are not asked.
        say: Whether a target that takes long is named in the log.
    """
    handles = [handle for handle in targets if handle.name in names]
    tasks = {h.full_name: partial(h.database_stats, names[h.name], context) for h in handles}
    found = in_parallel(tasks, context, say=say)
    return {h.name: each for h, each in zip(handles, found, strict=True)}


def describe_copies(plan: Plan, targets: Sequence[TargetHandle], context: RunContext) -> Plan:
    """Return a plan whose doubles say what each copy holds; it asks nothing where there is none."""
    doubles = {id_: tenant for id_, tenant in plan.tenants.items() if _is_double(tenant)}
    if not doubles:
        return plan
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in doubles.values():
        assert tenant.finding is not None
        for copy in tenant.finding.facts["copies"]:
            names[copy["target"]].append(tenant.database)
    stats = stats_of(names, targets, context)
    contents = {h.name: h.capabilities.table_label for h in targets}
    tenants = {
        id_: replace(tenant, finding=_described(tenant, stats, contents))
        for id_, tenant in doubles.items()
    }
    return replace(plan, tenants={**plan.tenants, **tenants})


def _is_double(tenant: TenantPlan) -> bool:
    return tenant.finding is not None and tenant.finding.kind is FindingKind.IN_TWO_TARGETS


def _described(
    tenant: TenantPlan, stats: dict[str, dict[str, DatabaseStats]], contents: dict[str, str]
) -> Finding:
    assert tenant.finding is not None
    copies, words = [], []
    for copy in tenant.finding.facts["copies"]:
        target = copy["target"]
        known = stats.get(target, {}).get(tenant.database, DatabaseStats(tenant.database))
        copies.append({"target": target, **known.facts})
        words.append(f"on {target} ({contents_in_words(known, contents[target])})")
    note = " (acknowledged)" if tenant.finding.severity is Severity.INFO else ""
    return replace(
        tenant.finding,
        message=f"the database {tenant.database} is {' and '.join(words)}{note}",
        facts={"copies": copies},
    )


def contents_in_words(stats: DatabaseStats, contents: str) -> str:
    """Return in words what a database holds.

    Args:
        stats: What its target tells of it.
        contents: What the rows of a target that tells of no tables are, in a word.
    """
    what = "rows unknown"
    if stats.rows is not None:
        what = ("at most " if stats.at_most else "") + pluralize(stats.rows, "row")
        named = [truncate(table.name) for table in stats.contents if table.name and table.rows]
        if named:
            what += f" in {summarize(named)}"
        elif stats.tables is None and contents:
            what += f" of {contents}"  # there may be others, which somebody must look for
    if stats.last_write is not None:
        what += f", last written {stats.last_write:%Y-%m-%d %H:%M:%S} UTC"
    return what
