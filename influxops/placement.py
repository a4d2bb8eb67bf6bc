"""Which target gets a tenant that has no database yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Policy = Literal["fill", "spread"]


@dataclass(slots=True)
class Place:
    """A target as placement sees it; `used` grows as tenants are placed.

    Args:
        target: Its name.
        used: How many databases it holds, or will.
        capacity: How many it can hold; None where no limit is known.
        estimated: Whether `capacity` is guessed, so that the server may take more or fewer.
        draining: Whether it gets nothing new.
        full: What the server itself said when nothing more fitted; None while it has not.
    """

    target: str
    used: int = 0
    capacity: int | None = None
    estimated: bool = False
    draining: bool = False
    full: str | None = None

    @property
    def left(self) -> int | None:
        """How many databases still fit, None where no limit is known."""
        return None if self.capacity is None else max(0, self.capacity - self.used)

    @property
    def has_room(self) -> bool:
        """Whether another database is expected to fit."""
        return self.full is None and (self.capacity is None or self.used < self.capacity)

    @property
    def may_have_room(self) -> bool:
        """Whether only the server can tell that nothing more fits."""
        return self.full is None and (self.estimated or self.has_room)


class Placement:
    """Chooses targets, and remembers what it chose.

    Args:
        places: The targets that can be reached, in the order of the configuration.
        policy: `fill` takes the first with room, `spread` the one with the fewest databases.
    """

    def __init__(self, places: Sequence[Place], policy: Policy) -> None:
        self.places = {place.target: place for place in places}
        self._policy = policy

    def choose(self, pin: str | None = None) -> Place | None:
        """Take a place for one more database.

        A target whose capacity is an estimate is asked for more only after all others are full:
        the server decides then.

        Args:
            pin: The only target that comes into question, where there is one.

        Returns:
            The place, counted as used; None when there is none.
        """
        open_places = [
            place
            for place in self.places.values()
            if not place.draining and (pin is None or place.target == pin)
        ]
        place = self._pick(p for p in open_places if p.has_room) or self._pick(
            p for p in open_places if p.may_have_room
        )
        if place is not None:
            place.used += 1
        return place

    def _pick(self, places: Iterable[Place]) -> Place | None:
        candidates = list(places)
        if not candidates:
            return None
        if self._policy == "spread":
            return min(candidates, key=lambda place: place.used)
        return candidates[0]
