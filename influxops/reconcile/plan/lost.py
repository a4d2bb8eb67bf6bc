"""Lost tenants: a second look before anything is called lost, and what clients wrote since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from influxops.domain.database import DatabaseStats
from influxops.domain.finding import FindingKind
from influxops.domain.plan import Plan, TenantPlan
from influxops.domain.record import Record
from influxops.domain.text import pluralize, summarize, truncate
from influxops.errors import InfluxopsError, Interrupted
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.observe.ledger import ledger_view, without_ledger
from influxops.reconcile.observe.targets import observe_again
from influxops.reconcile.plan.duplicates import contents_in_words, stats_of
from influxops.reconcile.plan.recorded import is_recreated, seems_lost
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext

#: Databases of one run whose rows are counted; each costs queries of its own.
_MOST = 1_000


def look_twice(
    desired: Mapping[str, TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> Observed:
    """Read targets and records again before anything that was promised is called lost.

    What was read first may be older than its record: another run may have claimed the tenant, or
    completed its database, in between. A target that cannot be read again says nothing.
    """
    lost = {
        id_: record
        for id_, record in _seemingly(desired, observed).items()
        if context.scope.covers(id_, record.target)
    }
    if not lost or request.ledger is None:
        return observed
    names = {record.target for record in lost.values()}
    targets = [handle for handle in request.targets if handle.name in names]
    observed = observe_again(observed, targets, request.rules, context)
    away = {each.name for each in observed.targets if not each.reachable} & names
    inventories = {n: i for n, i in observed.inventories.items() if n not in away}
    try:
        memory = request.ledger.load_records(lost.keys(), context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        return without_ledger(replace(observed, inventories=inventories), error.message)
    known = observed.ledger_view.with_records(ledger_view(memory, inventories).records)
    return replace(observed, inventories=inventories, ledger_view=known)


def refused(plans: Sequence[TenantPlan]) -> str:
    """Say whose databases are gone, and how many of them clients have created again."""
    named = summarize([truncate(plan.database) for plan in plans])
    message = f"{pluralize(len(plans), 'tenant')} had a database that is gone: {named}"
    again = sum(is_recreated(plan.record, plan.before) for plan in plans)
    if not again:
        return message
    which = f"of {again:,} of them" if len(plans) > 1 else "of it"
    return (
        f"{message}; clients have created another one in place {which}, which is dropped only "
        "where the guard drop is allowed, too"
    )


def _seemingly(desired: Mapping[str, TenantPlan], observed: Observed) -> dict[str, Record]:
    """Return the records of the tenants that seem to be lost."""
    records = ((id_, observed.ledger_view.record(id_)) for id_ in desired)
    return {id_: each for id_, each in records if each is not None and seems_lost(each, observed)}


def describe_recreated(plan: Plan, targets: Sequence[TargetHandle], context: RunContext) -> Plan:
    """Return a plan whose lost tenants say what clients have written in their place.

    It asks nothing where there is none.
    """
    tenants = {id_: tenant for id_, tenant in plan.tenants.items() if _is_concerned(tenant)}
    if not tenants:
        return plan
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in [*tenants.values()][:_MOST]:
        names[tenant.target or ""].append(tenant.database)
    stats = stats_of(names, targets, context, say=False)
    contents = {handle.name: handle.capabilities.table_label for handle in targets}
    described = {
        id_: _described(
            tenant,
            stats.get(tenant.target or "", {}).get(tenant.database),
            contents.get(tenant.target or "", ""),
        )
        for id_, tenant in tenants.items()
    }
    return replace(plan, tenants={**plan.tenants, **described})


def _is_concerned(tenant: TenantPlan) -> bool:
    is_lost = tenant.finding is not None and tenant.finding.kind in (
        FindingKind.LOST,
        FindingKind.GUARD,
    )
    return is_lost and is_recreated(tenant.record, tenant.before)


def _described(tenant: TenantPlan, stats: DatabaseStats | None, contents: str) -> TenantPlan:
    assert tenant.finding is not None
    known = stats or DatabaseStats(tenant.database, message="not counted")
    what = contents_in_words(known, contents)
    if known.rows is None and known.message:
        what += f" ({known.message})"
    facts = {**tenant.finding.facts, "recreated": {"target": tenant.target, **known.facts}}
    message = f"{tenant.finding.message}; it holds {what}"
    return replace(tenant, finding=replace(tenant.finding, message=message, facts=facts))
