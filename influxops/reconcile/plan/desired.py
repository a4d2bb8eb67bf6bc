"""TODO desired."""

from __future__ import annotations

import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, Retention, Unmanaged
from influxops.domain.durations import format_duration, parse_retention
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Record
from influxops.domain.tenant import Tenant, meant_attribute
from influxops.domain.text import did_you_mean, quote, summarize, truncate
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed

#: What a configuration file can say of a tenant that is to stay as it is.
_ACKNOWLEDGE = "or list it in [tenants] ignore"
#: How many others a message names where ids get into each other's way.
_NAMED = 3
#: Every so many tenants, planning looks whether the run is over.
LOOK = 1_000


def desire(observed: Observed, rules: Rules, check: Callable[[], None]) -> dict[str, TenantPlan]:
    """Return what each tenant should have, by id, in the order of the sources.

    A tenant that gets nothing until somebody decides is BLOCKED, with the finding that says why;
    the first reason that is found counts.

    Args:
        check: Raises when the run is over; called now and then.
    """
    plans: dict[str, TenantPlan] = {}
    conflicts: dict[str, Finding] = {}
    first: dict[str, Tenant] = {}
    for number, tenant in enumerate(observed.tenants):
        if number % LOOK == 0:
            check()
        known = first.setdefault(tenant.id, tenant)
        if known is tenant:
            plans[tenant.id] = _desired(tenant, rules, observed.ledger_view.record(tenant.id))
        elif known.attributes != tenant.attributes:
            conflicts[tenant.id] = _conflict(known, tenant)
    for id_, finding in conflicts.items():
        plans[id_] = replace(plans[id_], finding=None).block(finding)
    _hold_collisions(plans, check)
    _hold_alike(plans, observed, rules, check)
    for id_ in rules.acknowledged & plans.keys():
        plans[id_] = plans[id_].acknowledge()
    return plans


def _desired(tenant: Tenant, rules: Rules, record: Record | None) -> TenantPlan:
    attributes = tenant.attributes
    if record is not None:
        # What was promised outranks the template: it was another one then, or a name was adopted.
        given = attributes.get("database") or record.database
        plan = _named(
            replace(tenant, attributes={**attributes, "database": record.database}), rules
        )
        if given == record.database:
            return plan
        return plan.block(_recorded_otherwise(tenant.id, given, record))
    return _named(tenant, rules)


def _recorded_otherwise(tenant: str, given: str, record: Record) -> Finding:
    return blocked(
        FindingKind.CONFLICT,
        f"its source calls its database {truncate(given)}, but {truncate(record.database)} on "
        f"{record.target} is recorded",
        Hint.command(
            f"adopt {shlex.quote(tenant)}={shlex.quote(given)}",
            "correct the source, or run {} if that one holds its data",
        ),
    )


def _named(tenant: Tenant, rules: Rules) -> TenantPlan:
    attributes = tenant.attributes
    pin = attributes.get("target") or rules.pins.get(tenant.id)
    unknown_pin = pin if pin is not None and pin not in rules.targets else None
    pin = None if unknown_pin else pin
    database = attributes.get("database") or rules.template.name(tenant.id)
    capabilities = rules.capabilities(pin)
    name_rule = next(filter(None, (each.validate_name(database) for each in capabilities)), "")
    id_rule = next(filter(None, (each.validate_tenant(tenant.id) for each in capabilities)), "")
    retention, bad_retention = _retention(attributes.get("retention"), rules, pin)
    plan = TenantPlan(tenant.id, "" if name_rule else database, retention, pin=pin)
    if name_rule:
        return plan.block(
            blocked(
                FindingKind.INVALID_NAME,
                f"its database name {name_rule}",
                rules.or_in_file(
                    "rename the tenant or give it a `database` attribute", _ACKNOWLEDGE
                ),
            ),
        )
    if wrong := next(filter(meant_attribute, attributes), ""):
        return plan.block(
            blocked(
                FindingKind.UNKNOWN_ATTRIBUTE,
                f"its attribute {quote(wrong)} means nothing",
                f"did you mean {meant_attribute(wrong)}?",
            ),
        )
    if id_rule:
        return plan.block(
            blocked(
                FindingKind.INVALID_ID,
                f"its id {id_rule}",
                rules.or_in_file("rename the tenant", _ACKNOWLEDGE),
            ),
        )
    if bad_retention:
        return plan.block(
            blocked(FindingKind.INVALID_RETENTION, bad_retention, "correct its `retention`")
        )
    if unknown_pin:
        return plan.block(
            blocked(
                FindingKind.UNKNOWN_TARGET,
                f"its `target` {quote(unknown_pin)} is not configured",
                did_you_mean(unknown_pin, rules.targets) or f"targets: {', '.join(rules.targets)}",
            ),
        )
    return plan


def _retention(
    text: str | None, rules: Rules, pin: str | None
) -> tuple[Retention | Unmanaged, str]:
    """Return the retention period that a tenant should have, and what is wrong with it."""
    if not text:
        return rules.retention, ""
    if text == UNMANAGED.value:
        return UNMANAGED, ""
    try:
        seconds = parse_retention(text)
    except ValueError as error:
        return UNMANAGED, str(error)
    for capabilities in rules.capabilities(pin):
        if capabilities.retention is None:
            return UNMANAGED, f"{capabilities.server or 'its target'} keeps no retention periods"
        least, most = capabilities.retention
        if seconds is not None and not least <= seconds <= most:
            return UNMANAGED, (
                f"its retention period {text} is outside of what {capabilities.server} takes: "
                f"{format_duration(least)} to {format_duration(most)}, or `none`"
            )
    return seconds, ""


def _conflict(first: Tenant, second: Tenant) -> Finding:
    where = first.source if first.source == second.source else f"{first.source}, {second.source}"
    names = sorted(
        name
        for name in {*first.attributes, *second.attributes}
        if first.attributes.get(name) != second.attributes.get(name)
    )
    return blocked(
        FindingKind.CONFLICT,
        f"it is given twice ({where}) with different {' and '.join(names)}",
        "make the sources agree",
    )


def _hold_collisions(plans: dict[str, TenantPlan], check: Callable[[], None]) -> None:
    """Hold ids that would share a database."""
    check()
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for plan in plans.values():
        # Held tenants count: what they are held for may be mended, and their name is theirs.
        if plan.database:
            by_name[plan.database].append(plan.tenant)
    for name, ids in by_name.items():
        for id_ in ids if len(ids) > 1 else ():
            plans[id_] = plans[id_].block(
                blocked(
                    FindingKind.NAME_COLLISION,
                    f"it would share the database {name} with {_others(ids, id_)}",
                    "give all but one of them another `database`",
                ),
            )


def _others(ids: Sequence[str], id_: str) -> str:
    """Name some others of a group; each message stays short however large the group is."""
    named = [quote(other) for other in ids[: _NAMED + 1] if other != id_][:_NAMED]
    more = len(ids) - 1 - len(named)
    return f"{', '.join(named)} and {more:,} more" if more else summarize(named)


def _hold_alike(
    plans: dict[str, TenantPlan], observed: Observed, rules: Rules, check: Callable[[], None]
) -> None:
    """Hold ids that differ only by case or composition, unless their database is there already."""
    check()
    by_look: defaultdict[str, list[str]] = defaultdict(list)
    for plan in plans.values():
        if plan.database:
            by_look[unicodedata.normalize("NFC", plan.tenant).casefold()].append(plan.tenant)
    for ids in by_look.values():
        for id_ in ids if len(ids) > 1 else ():
            plan = plans[id_]
            other = next(each for each in ids if each != id_)
            finding = blocked(
                FindingKind.CASE,
                f"it differs only by case from {quote(other)}",
                rules.or_in_file("rename one of them, people and tools mix them up", _ACKNOWLEDGE),
            )
            homes = homes_of(plan.database, observed)
            if not homes:
                plans[id_] = plan.block(finding)
            elif plan.status is TenantStatus.OK:
                note = replace(
                    finding,
                    severity=Severity.WARNING,
                    remedy="rename one of them; people and tools mix them up",
                    tenant=id_,
                    target=homes[0],
                    database=plan.database,
                )
                plans[id_] = plan.note(note)


def homes_of(database: str, observed: Observed) -> list[str]:
    """Return the names of the targets that hold a database, in the order of the configuration."""
    return [
        name for name, inventory in observed.inventories.items() if database in inventory.databases
    ]


def unknown_configured_tenants(
    names: Mapping[str, str], plans: Mapping[str, TenantPlan]
) -> Iterable[Finding]:
    """Tell of configured tenants that no source knows: a misspelt pin pins nobody.

    Args:
        names: Ids, with the table of the configuration that names each.
        plans: What each tenant should have.
    """
    for number, (id_, table) in enumerate(names.items()):
        # A near miss is looked for among all tenants, so only for the first few.
        hint = did_you_mean(id_, plans) if number < _LOOKED_UP else ""
        yield Finding(
            FindingKind.UNKNOWN_TENANT,
            Severity.WARNING if hint else Severity.INFO,
            f"{table} names {quote(id_)}, which no source knows",
            hint or "take it out, or add it to the registry",
        )


_LOOKED_UP = 5
