"""What planning uses beside what was read: the configuration, as far as it matters there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct, field

from influxops.config.routing import RoutingTable
from influxops.domain.database import UNMANAGED, Retention, TargetCapabilities, Unmanaged
from influxops.domain.naming import Template

Policy = Literal["fill", "spread"]


class TargetPolicy(Struct, frozen=True):
    """What the configuration says of a target."""

    capacity: int | Literal["unlimited"] | None = None  # None: what the target estimates
    draining: bool = False  # whether it gets nothing new
    capabilities: TargetCapabilities = field(default_factory=TargetCapabilities)
    capacity_written: str = ""  # how a program's users write its capacity; empty for a file's


class Rules(Struct, frozen=True):
    """What the configuration says of planning."""

    template: Template
    retention: Retention | Unmanaged = UNMANAGED  # the default retention period, in seconds
    targets: Mapping[str, TargetPolicy] = field(default_factory=dict)  # all, in their order
    policy: Policy = "fill"
    pins: Mapping[str, str] = field(default_factory=dict)  # the target of a tenant, by its id
    routing: RoutingTable = field(default_factory=RoutingTable)  # the proxies of clients
    acknowledged: frozenset[str] = frozenset()  # `ignore` of [tenants]
    reading: float = 10.0  # seconds that reading the targets may take
    #: Tenants whose lost database is to be made again, by their ids.
    recreate: frozenset[str] = frozenset()
    mass_change: float = 1.0  # the share of recorded tenants that one run may lose or create again
    has_file: bool = True  # whether advice may name what only a configuration file can say

    def or_in_file(self, advice: str, key: str) -> str:
        """Return advice with what a configuration file could say instead, if there may be one."""
        return f"{advice}, {key}" if self.has_file else advice

    def capabilities(self, pin: str | None) -> Collection[TargetCapabilities]:
        """Return the traits of the targets that a tenant's database may be on."""
        if pin is not None and pin in self.targets:
            return (self.targets[pin].capabilities,)
        # One set of traits a kind, however many targets are of it.
        return {id(t.capabilities): t.capabilities for t in self.targets.values()}.values()
