"""The cases: each is a module whose `run` measures one, at one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cases import tenants
from bench.place import Place


def _tenants(place: Place) -> Sequence[int]:
    """Give the sizes that real servers hold; the largest one that they hold where none fits."""
    room = min(place.rooms.values(), default=max(place.sizes.tenants))
    fits = [size for size in place.sizes.tenants if size <= room]
    return [*(fits or [room]), *(size for size in place.sizes.tenants if size > room)]


def _once(place: Place) -> Sequence[int]:
    return (0,)


@dataclass(frozen=True)
class Case:
    """What is measured by a process of its own."""

    name: str
    title: str
    run: Callable[[Place, int], None]
    #: Seconds for one size.
    limit: int
    #: The sizes; 0 is for a case without.
    sizes: Callable[[Place], Sequence[int]] = _once

    def label(self, size: int) -> str:
        return f"{self.title}, {size:,}" if size else self.title


CASES = (Case("tenants", tenants.MISSING, tenants.run, 900, _tenants),)
