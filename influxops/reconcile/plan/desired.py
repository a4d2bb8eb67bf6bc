"""What each tenant should have, from what the sources say; and names that no source knows."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache

from msgspec.structs import replace

from influxops.domain.database import UNMANAGED, Retention, TargetCapabilities, Unmanaged
from influxops.domain.durations import format_duration, parse_retention
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.tenant import Tenant, meant_attribute
from influxops.domain.text import did_you_mean, format_time, quote, summarize, truncate
from influxops.errors import ConfigError
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import RunState

#: What a configuration file can say of a tenant that is to stay as it is.
_ACKNOWLEDGE = "or list it in [tenants] ignore"
#: How many others a message names where ids get into each other's way.
_NAMED = 3
#: Every so many tenants, planning looks whether the run is over.
LOOK = 1_000


def with_desired(state: RunState, check: Callable[[], None] | None = None) -> RunState:
    """Add what each tenant should have, by id, in the order of the sources.

    A tenant that gets nothing until that is decided is blocked by the first reason that is found.
    `check` raises when the run is over, as the context's does.
    """
    rules, check = state.rules, check or state.context.check
    plans: dict[str, TenantPlan] = {}
    conflicts: dict[str, Finding] = {}
    first: dict[str, Tenant] = {}  # those that are given first, once one is given twice
    capabilities, records = cache(rules.capabilities), state.ledger_view.records
    for number, tenant in enumerate(state.tenants):
        if number % LOOK == 0:
            check()
        if tenant.id not in plans:
            record = state.ledger_view.record(tenant.id) if records else None
            plans[tenant.id] = _desired(tenant, rules, record, capabilities)
            continue
        first = first or {each.id: each for each in reversed(state.tenants)}
        known = first[tenant.id]
        if known.attributes != tenant.attributes:
            conflicts[tenant.id] = _conflict(known, tenant)
    for id_, finding in conflicts.items():
        plans[id_] = replace(plans[id_], finding=None).block(finding)
    check()
    _block_collisions(plans)
    check()
    _block_alike(plans, state)
    for id_ in rules.acknowledged & plans.keys():
        plans[id_] = plans[id_].acknowledge()
    return replace(state, desired=plans)


#: Returns the capabilities of the targets that a tenant with a pin may be on.
_Capabilities = Callable[[str | None], Collection[TargetCapabilities]]


def _desired(
    tenant: Tenant, rules: Rules, record: Record | None, capabilities: _Capabilities
) -> TenantPlan:
    if record is None:
        return _named(tenant, rules, capabilities)
    # What is recorded outranks the template: that was another one then, or a name was adopted.
    given = tenant.attributes.get("database") or record.database
    attributes = {**tenant.attributes, "database": record.database}
    plan = _named(replace(tenant, attributes=attributes), rules, capabilities)
    if given == record.database:
        return plan
    return plan.blocked(
        FindingKind.CONFLICT,
        f"its source calls its database {truncate(given)}, but {truncate(record.database)} on "
        f"{record.target} is recorded",
        Hint.command(
            typed("adopt", f"{tenant.id}={given}"),
            "correct the source, or run {} if that one holds its data",
        ),
    )


def _named(tenant: Tenant, rules: Rules, capabilities: _Capabilities) -> TenantPlan:
    attributes = tenant.attributes
    pin = attributes.get("target") or rules.pins.get(tenant.id)
    unknown_pin = pin if pin is not None and pin not in rules.targets else None
    pin = None if unknown_pin else pin
    database = attributes.get("database") or rules.template.name(tenant.id)
    name_rule = id_rule = ""
    every = capabilities(pin)
    for each in every:
        name_rule = name_rule or each.validate_name(database)
        id_rule = id_rule or each.validate_tenant(tenant.id)
    retention, bad_retention = rules.retention, ""
    if text := attributes.get("retention"):
        retention, bad_retention = _retention(text, every)
    plan = TenantPlan(tenant.id, "" if name_rule else database, retention, pin=pin)
    if name_rule:
        how = "rename the tenant or give it a `database` attribute"
        if tenant.id != tenant.id.strip():
            name_rule = f"{name_rule}: its id begins or ends with white space"
            how = "take the white space out of its id, where the source has it"
        remedy = rules.or_in_file(how, _ACKNOWLEDGE)
        return plan.blocked(FindingKind.INVALID_NAME, f"its database name {name_rule}", remedy)
    if attributes and (wrong := next(filter(meant_attribute, attributes), "")):
        message = f"its attribute {quote(wrong)} means nothing"
        remedy = f"did you mean {meant_attribute(wrong)}?"
        return plan.blocked(FindingKind.UNKNOWN_ATTRIBUTE, message, remedy)
    if id_rule:
        remedy = rules.or_in_file("rename the tenant", _ACKNOWLEDGE)
        return plan.blocked(FindingKind.INVALID_ID, f"its id {id_rule}", remedy)
    if bad_retention:
        return plan.blocked(FindingKind.INVALID_RETENTION, bad_retention, "correct its `retention`")
    if unknown_pin:
        message = f"its `target` {quote(unknown_pin)} is not configured"
        return plan.blocked(
            FindingKind.UNKNOWN_TARGET, message, _nearest_target(unknown_pin, rules)
        )
    return plan


def _nearest_target(name: str, rules: Rules) -> str:
    return did_you_mean(name, rules.targets) or f"targets: {', '.join(rules.targets)}"


def _retention(
    text: str, every: Collection[TargetCapabilities]
) -> tuple[Retention | Unmanaged, str]:
    """Return the retention period that a tenant should have, and what is wrong with it."""
    if text == UNMANAGED.value:
        return UNMANAGED, ""
    try:
        seconds = parse_retention(text)
    except ValueError as error:
        return UNMANAGED, str(error)
    for capabilities in every:
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
    return Finding.error(
        FindingKind.CONFLICT,
        f"it is given twice ({where}) with different {' and '.join(names)}",
        "make the sources agree",
    )


def _block_collisions(plans: dict[str, TenantPlan]) -> None:
    """Block ids that would share a database."""
    # Blocked tenants count: what they are blocked for may be mended, and their name is theirs.
    for name, ids in _shared(plans, lambda plan: plan.database):
        for id_ in ids:
            plans[id_] = plans[id_].blocked(
                FindingKind.NAME_COLLISION,
                f"it would share the database {name} with {_others(ids, id_)}",
                "give all but one of them another `database`",
            )


def _shared(
    plans: Mapping[str, TenantPlan], key_of: Callable[[TenantPlan], str]
) -> list[tuple[str, list[str]]]:
    """Return what several tenants with a database have in common, with their ids."""
    named = [plan for plan in plans.values() if plan.database]
    keys = [key_of(plan) for plan in named]
    if len(set(keys)) == len(keys):
        return []  # as nearly always, and in a moment
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for key, plan in zip(keys, named, strict=True):
        by_key[key].append(plan.tenant)
    return [(key, ids) for key, ids in by_key.items() if len(ids) > 1]


def _others(ids: Sequence[str], id_: str) -> str:
    """Name some others of a group; each message stays short however large the group is."""
    named = [quote(other) for other in ids[: _NAMED + 1] if other != id_][:_NAMED]
    more = len(ids) - 1 - len(named)
    return f"{', '.join(named)} and {more:,} more" if more else summarize(named)


def _block_alike(plans: dict[str, TenantPlan], state: RunState) -> None:
    """Block ids that differ only by case or composition, unless their database exists already."""

    def look(plan: TenantPlan) -> str:
        return unicodedata.normalize("NFC", plan.tenant).casefold()

    advice = "rename one of them; people and tools mix them up"
    for _, ids in _shared(plans, look):
        for id_ in ids:
            plan = plans[id_]
            message = (
                f"it differs only by case from {quote(next(each for each in ids if each != id_))}"
            )
            homes = state.targets_holding(plan.database)
            if not homes:
                remedy = state.rules.or_in_file(advice.replace(";", ","), _ACKNOWLEDGE)
                plans[id_] = plan.blocked(FindingKind.CASE, message, remedy)
            elif plan.status is TenantStatus.OK:
                note = plan.warning(FindingKind.CASE, message, advice, target=homes[0])
                plans[id_] = plan.note(note)


def unknown_configured_tenants(
    desired: Mapping[str, TenantPlan], rules: Rules
) -> Iterator[Finding]:
    """Yield findings on configured tenants that no source knows: a misspelt pin pins no tenant."""
    names = dict.fromkeys(sorted(rules.acknowledged - desired.keys()), "[tenants] ignore")
    names |= {id_: "[placement] pins" for id_ in rules.pins if id_ not in desired}
    for number, (id_, table) in enumerate(names.items()):
        hint = _nearest_tenant(id_, desired, number)
        yield Finding(
            FindingKind.UNKNOWN_TENANT,
            Severity.WARNING if hint else Severity.INFO,
            f"{table} names {quote(id_)}, which no source knows",
            hint or "take it out, or add it to the registry",
        )


def _nearest_tenant(tenant: str, desired: Mapping[str, TenantPlan], number: int) -> str:
    """Return what an id was probably meant for: all are compared, so only for the first few."""
    return did_you_mean(tenant, desired) if number < 5 else ""


def refuse_unknown_targets(rules: Rules, names: Iterable[str]) -> None:
    """Refuse a target that is not configured."""
    for target in sorted(names):
        if target not in rules.targets:
            raise ConfigError(
                f"no target is called {quote(target)}", hint=_nearest_target(target, rules)
            )


def with_unknown_tenants(state: RunState) -> RunState:
    """Add the tenants of the scope that no source knows to what is planned, blocked.

    A database that is named as such a tenant's would be is reported, with where it is. Where no
    source knows any of them, it raises a ConfigError.
    """
    desired, named = state.desired, state.context.tenants or frozenset()
    unknown = sorted(named - desired.keys())
    if not unknown or not state.sources_complete:
        return state
    if len(unknown) == len(named):
        more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
        left, advice = _left(unknown[0], state)
        raise ConfigError(
            f"no source knows the tenant {quote(unknown[0])}{more}{left}",
            hint=did_you_mean(unknown[0], desired) or advice,
        )
    plans = dict(state.plans)
    for number, id_ in enumerate(unknown):
        left, advice = _left(id_, state)
        hint = _nearest_tenant(id_, desired, number) or advice
        plans[id_] = TenantPlan(id_, "", UNMANAGED).blocked(
            FindingKind.UNKNOWN_TENANT, f"no source knows it{left}", hint
        )
    return replace(state, plans=plans)


def _left(tenant: str, state: RunState) -> tuple[str, str | Hint]:
    """Return what exists of a tenant that no source knows, in words, and what to do about it."""
    record = state.ledger_view.record(tenant)
    if record is not None and record.state is State.RETIRING:
        due = (
            f" is dropped after {format_time(record.drop_after)}"
            if record.drop_after
            else " is to be dropped"
        )
        left = f"; it is retiring: {truncate(record.database)} on {record.target}{due}"
        return left, Hint.command(typed("unretire", tenant), "run {} to keep it")
    name = state.rules.template.name(tenant)
    homes = state.targets_holding(name)
    if not homes:
        return "", "add it to the registry first"
    return f", but a database {truncate(name)} is on {' and on '.join(homes)}", (
        "influxops leaves it alone; add the tenant to the registry, or drop what is left of it"
    )
