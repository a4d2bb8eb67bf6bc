"""What is known of tenants, for a while."""

from __future__ import annotations

import threading
import time

from influxops.provisioner.results import EnsureResult

#: Tenants that are remembered; beyond that, those go that were added first.
_MOST = 200_000


class LocationCache:
    """Remembers where databases are; may be used from any thread."""

    def __init__(self) -> None:
        # In the order in which they were added.
        self._found: dict[str, tuple[EnsureResult, float]] = {}
        self._lock = threading.Lock()

    def get(self, tenant: str) -> EnsureResult | None:
        """Return what is known of a tenant; None where its time is over."""
        entry = self._found.get(tenant)
        return entry[0] if entry is not None and entry[1] > time.monotonic() else None

    def add(self, found: EnsureResult, until: float) -> None:
        """Remember where a tenant's database is, until a time of the monotonic clock."""
        with self._lock:
            self._found.pop(found.tenant, None)
            self._found[found.tenant] = (found, until)
            if len(self._found) > _MOST:
                del self._found[next(iter(self._found))]
