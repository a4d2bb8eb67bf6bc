"""What planning goes by: what the configuration says, and what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from influxops.model import UNMANAGED, Inventory, Retention, Tenant, Unmanaged
from influxops.naming import Template
from influxops.placement import Place, Policy


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """What the configuration says of a target.

    Args:
        capacity: How many databases it holds; None for what the target itself estimates.
        draining: Whether it gets nothing new.
    """

    capacity: int | Literal["unlimited"] | None = None
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says of planning.

    Args:
        template: The naming template.
        retention: The default retention period.
        targets: All configured targets, in their order.
        policy: How targets are chosen.
        pins: The target of a tenant, by the tenant's id.
        acknowledged: Ids of tenants whose being held is known, and no error.
    """

    template: Template
    retention: Retention | Unmanaged = UNMANAGED
    targets: Mapping[str, TargetPolicy] = field(default_factory=dict)
    policy: Policy = "fill"
    pins: Mapping[str, str] = field(default_factory=dict)
    acknowledged: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read.

    Args:
        tenants: What all sources gave.
        inventories: What each target holds; a target that could not be read is left out.
        sources_complete: Whether every source could be read.
        full: The targets that said themselves that nothing more fits, with what they said.
    """

    tenants: Sequence[Tenant]
    inventories: Mapping[str, Inventory]
    sources_complete: bool = True
    full: Mapping[str, str] = field(default_factory=dict)


def places(rules: Rules, facts: Facts) -> list[Place]:
    """Give the targets that could be read as placement sees them."""
    return [
        place(name, policy, facts.inventories[name], full=facts.full.get(name))
        for name, policy in rules.targets.items()
        if name in facts.inventories
    ]


def place(
    target: str, policy: TargetPolicy, inventory: Inventory, *, full: str | None = None
) -> Place:
    """Give one target as placement sees it.

    Args:
        target: Its name.
        policy: What the configuration says of it.
        inventory: What it holds.
        full: What it said where nothing more fits.
    """
    used = len(inventory.databases)
    estimated = policy.capacity is None
    capacity = inventory.capacity if policy.capacity is None else policy.capacity
    if capacity == "unlimited" or (estimated and capacity is not None and used > capacity):
        capacity = None  # A server that holds more than its edition should disproves the estimate.
    assert capacity is None or isinstance(capacity, int)
    return Place(target, used, capacity, estimated and capacity is not None, policy.draining, full)
