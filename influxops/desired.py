"""What should be: tenants of all sources, merged, named and checked; pure, no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from influxops.durations import parse_retention
from influxops.model import Finding, Retention, Severity, Tenant, Unmanaged
from influxops.naming import Template, broken_rule, nearest, printable


@dataclass(frozen=True, slots=True)
class Desired:
    """What one tenant should have.

    Args:
        tenant: Its id.
        database: Its database's name; valid unless the tenant is held.
        retention: The retention period to have, UNMANAGED where nobody said.
        pin: The only target that its database may be made on; None where placement decides.
    """

    tenant: str
    database: str
    retention: Retention | Unmanaged
    pin: str | None


@dataclass(slots=True)
class DesiredState:
    """All that should be.

    Args:
        tenants: What each tenant should have, by id, in the order of the sources; held ones too.
        held: Why a tenant gets nothing, by id.
        case_doubles: Ids that differ from another only by case, with that other's id. Whether
            they are held depends on what exists.
    """

    tenants: dict[str, Desired] = field(default_factory=dict)
    held: dict[str, Finding] = field(default_factory=dict)
    case_doubles: dict[str, str] = field(default_factory=dict)

    def hold(self, tenant: str, kind: str, message: str, hint: str, database: str = "") -> None:
        """Hold a tenant back, for the first reason that is found."""
        finding = Finding(
            kind, Severity.ERROR, message, hint, tenant=tenant, database=database or None
        )
        self.held.setdefault(tenant, finding)


def desired_state(
    tenants: Iterable[Tenant],
    template: Template,
    retention: Retention | Unmanaged,
    pins: Mapping[str, str],
    targets: Sequence[str],
) -> DesiredState:
    """Merge, name and check the tenants of all sources.

    Args:
        tenants: What the sources gave, ids none of which is empty.
        template: The naming template.
        retention: The default retention period.
        pins: The configured targets of tenants, by id.
        targets: The names of all configured targets.

    Returns:
        What each tenant should have, and which are held and why.
    """
    state = DesiredState()
    merged = _merge(tenants, state)
    for tenant in merged:
        state.tenants[tenant.id] = _desire(tenant, template, retention, pins, targets, state)
    _hold_doubles(state)
    return state


def _merge(tenants: Iterable[Tenant], state: DesiredState) -> list[Tenant]:
    by_id: dict[str, Tenant] = {}
    for tenant in tenants:
        first = by_id.setdefault(tenant.id, tenant)
        if first is tenant or dict(first.attributes) == dict(tenant.attributes):
            continue
        where = (
            first.source if first.source == tenant.source else f"{first.source}, {tenant.source}"
        )
        names = sorted(
            name
            for name in {*first.attributes, *tenant.attributes}
            if first.attributes.get(name) != tenant.attributes.get(name)
        )
        state.hold(
            tenant.id,
            "conflict",
            f"tenant {printable(tenant.id)}: it is given twice ({where}) with different "
            f"{' and '.join(names)}",
            "make the sources agree",
        )
    return list(by_id.values())


def _desire(
    tenant: Tenant,
    template: Template,
    default: Retention | Unmanaged,
    pins: Mapping[str, str],
    targets: Sequence[str],
    state: DesiredState,
) -> Desired:
    who = f"tenant {printable(tenant.id)}"
    attributes = tenant.attributes
    database = attributes.get("database") or template.name(tenant.id)
    rule = broken_rule(database)
    if rule:
        state.hold(
            tenant.id,
            "invalid-name",
            f"{who}: its database name {rule}",
            "rename the tenant or give it a `database` attribute, "
            "or list it in [naming] acknowledged",
        )
    elif tenant.id.endswith("\\") or any(ord(c) < 32 or ord(c) == 127 for c in tenant.id):
        # The id becomes a tag of the marker, and line protocol has no way to write these.
        state.hold(
            tenant.id,
            "invalid-id",
            f"{who}: the id holds a control character, or ends with a backslash",
            "rename the tenant, or list it in [naming] acknowledged",
        )
    retention = default
    if attributes.get("retention"):
        try:
            retention = parse_retention(attributes["retention"])
        except ValueError as error:
            state.hold(
                tenant.id, "invalid-retention", f"{who}: {error}", "mend its `retention`", database
            )
    pin = attributes.get("target") or pins.get(tenant.id)
    if pin is not None and pin not in targets:
        hint = nearest(pin, targets) or f"known targets: {', '.join(targets)}"
        state.hold(
            tenant.id,
            "unknown-target",
            f"{who}: its `target` {printable(pin)} is not configured",
            hint,
            database,
        )
        pin = None
    return Desired(tenant.id, database, retention, pin)


def _hold_doubles(state: DesiredState) -> None:
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    by_case: defaultdict[str, list[str]] = defaultdict(list)
    for desired in state.tenants.values():
        # Held tenants count: what they are held for may be mended, and their name is theirs.
        if not broken_rule(desired.database):
            by_name[desired.database].append(desired.tenant)
            by_case[desired.tenant.casefold()].append(desired.tenant)
    for name, ids in by_name.items():
        for tenant in ids if len(ids) > 1 else ():
            others = ", ".join(printable(other) for other in ids if other != tenant)
            state.hold(
                tenant,
                "name-collision",
                f"tenant {printable(tenant)}: it would share the database {name} with {others}",
                "give all but one of them another `database`",
                name,
            )
    for ids in by_case.values():
        for tenant in ids if len(ids) > 1 else ():
            state.case_doubles[tenant] = next(other for other in ids if other != tenant)
