"""Which tenants and targets a run may write."""

from __future__ import annotations

from msgspec import Struct


class Scope(Struct, frozen=True):
    """What a run may write; it always reads everything."""

    tenants: frozenset[str] | None = None  # the ids that were named; None for all, empty for none
    targets: frozenset[str] | None = None  # the targets that were named; None for all

    @property
    def is_limited(self) -> bool:
        """Whether anything was named."""
        return self.tenants is not None or self.targets is not None

    def covers(self, tenant: str | None, target: str | None = None) -> bool:
        """Return whether something about this tenant on this target is within the scope."""
        return (self.tenants is None or tenant is None or tenant in self.tenants) and (
            self.targets is None or target is None or target in self.targets
        )
