"""Which tenants and targets a run may write, and what its process knows of targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, field


class Scope(Struct, frozen=True):
    """What a run may write; what it reads is the operation's to say."""

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


class TargetHints(Struct, frozen=True):
    """What a process knows of targets from before."""

    #: Those that are not to be asked now, with why.
    away: Mapping[str, str] = field(default_factory=dict)
    #: Those of them that answer, and refuse: what the ledger says of them may not be so any more.
    refused: Collection[str] = ()
    full: Mapping[str, str] = field(default_factory=dict)  # those that take nothing more, with why
    #: How many databases the ledger counts on each; None: it is to be asked.
    used: Mapping[str, int] | None = None
    #: Gives how many tenants the process has placed on each that the ledger does not count yet.
    in_flight: Callable[[], Mapping[str, int]] = dict
