"""Which target gets a tenant that has no database yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from influxops.domain.database import Inventory
from influxops.domain.finding import FindingKind
from influxops.reconcile.policy import Policy, Rules, TargetPolicy


class Location(Struct):
    """A target as placement sees it; `used` grows as tenants are placed."""

    target: str  # its name
    used: int = 0  # how many databases it holds, or will
    capacity: int | None = None  # how many it can hold; None where no limit is known
    estimated: bool = False  # whether `capacity` is guessed: the server may take more or fewer
    draining: bool = False  # whether it gets nothing new
    closed: str | None = None  # why it takes nothing more, as it said itself in this run
    out_of_tables: bool = False  # whether what is used up is its tables

    @property
    def has_room(self) -> bool:
        """Whether another database is expected to fit."""
        return self.closed is None and (self.capacity is None or self.used < self.capacity)

    @property
    def may_have_room(self) -> bool:
        """Whether only the server can tell that nothing more fits."""
        return self.closed is None and (self.estimated or self.has_room)

    @property
    def is_over_estimate(self) -> bool:
        """Whether it is given more than its estimated capacity."""
        return self.capacity is not None and self.used > self.capacity

    def explain_exhausted(self) -> str:
        """Return why it takes nothing more, to be read after its name."""
        if self.draining:
            return "is draining"
        return f"is full ({self.closed or f'databases: {self.used}'})"


def locate(
    target: str,
    policy: TargetPolicy,
    inventory: Inventory,
    closed: str | None,
    used: int | None = None,
) -> Location:
    """Return a target as placement sees it: `closed` says why, `used` what no inventory has."""
    used = len(inventory.databases) if used is None else used
    estimated = policy.capacity is None
    capacity = inventory.capacity if policy.capacity is None else policy.capacity
    if capacity == "unlimited" or (estimated and capacity is not None and used > capacity):
        capacity = None  # A server that holds more than estimated disproves the estimate.
    assert capacity is None or isinstance(capacity, int)
    return Location(
        target,
        used,
        capacity,
        estimated and capacity is not None,
        policy.draining,
        closed,
        inventory.out_of_tables,
    )


def placement_of(
    rules: Rules,
    inventories: Mapping[str, Inventory],
    closed: Mapping[str, str],
    used: Mapping[str, int],
    takes: Callable[[str], bool] = lambda target: True,
) -> Placement:
    """Return how full each target that `takes` databases is, in the order of the configuration."""
    locations = [
        locate(name, policy, inventories[name], closed.get(name), used.get(name))
        for name, policy in rules.targets.items()
        if name in inventories and takes(name)
    ]
    return Placement(locations, rules.policy)


class Placement:
    """Chooses targets, and remembers what it chose."""

    def __init__(self, locations: Sequence[Location], policy: Policy) -> None:
        self.locations: Mapping[str, Location] = {each.target: each for each in locations}
        self._policy = policy

    def choose(self, pin: str | None = None, before: str | None = None) -> Location | None:
        """Take a slot for one more database; None where no target takes it.

        A target whose capacity is an estimate is asked for more only after all others are full:
        the server decides then.
        """
        candidates = [
            each
            for each in self.locations.values()
            if not each.draining and (pin is None or each.target == pin)
        ]
        roomy = [each for each in candidates if each.has_room]
        chosen = (
            self._pick([each for each in roomy if each.target == before])
            or self._pick(roomy)
            or self._pick([each for each in candidates if each.may_have_room])
        )
        if chosen is not None:
            chosen.used += 1
        return chosen

    def explain_no_placement(
        self, otherwise: str, pin: str | None = None
    ) -> tuple[FindingKind, str, str]:
        """Return what a tenant is blocked for that nothing takes; `otherwise` without targets."""
        only = self.locations.get(pin or "")
        considered = [only] if only else [*self.locations.values()]
        why = ", ".join(f"{each.target} {each.explain_exhausted()}" for each in considered)
        advice = "add a target, raise a capacity, or drop what is not needed"
        if any(each.out_of_tables for each in considered):
            advice = "add a target, or drop tables that are not needed"
        return FindingKind.OVER_CAPACITY, f"no free slot: {why or otherwise}", advice

    def _pick(self, locations: Sequence[Location]) -> Location | None:
        if self._policy == "spread" and len(locations) > 1:
            return min(locations, key=lambda each: each.used)
        return locations[0] if locations else None
