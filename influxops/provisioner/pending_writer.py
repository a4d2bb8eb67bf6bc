"""Records in the ledger, in the background, that tenants are wanted which could not be created.

So that any process that works on the ledger creates them, even when this one ends before it could.
Best effort: the registry is durable, and full runs find what is not recorded here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from influxops.domain.record import LedgerUpdate, Record, State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.engine_pool import Engines, quiet
from influxops.runtime.batch_worker import BatchWorker
from influxops.runtime.context import RunContext

#: Seconds that the first one waits for others.
_COLLECTING = 0.1
#: Seconds that one batch may take, and before another try; and how many tries there are.
_PATIENCE, _AGAIN, _MOST_TRIES = 5.0, 1.0, 30
#: Tenants of one batch.
_MOST = 1_000


class Notes(BatchWorker[str]):
    """A thread that records what it is given."""

    def __init__(self, engines: Engines, is_hindered: Callable[[], bool]) -> None:
        self._engines, self._is_hindered = engines, is_hindered
        self._tries: dict[str, int] = {}  # failed attempts by tenant
        super().__init__(
            "influxops-notes",
            self._note,
            self._break,
            largest_batch=_MOST,
            longest_wait=_COLLECTING,
        )

    def add(self, tenant: str) -> None:
        """Take one more; never waits."""
        if tenant not in self._tries:
            self._tries[tenant] = 0
            self.submit(tenant)

    def forget(self, tenant: str) -> None:
        """Take one back: its database is there."""
        self._tries.pop(tenant, None)

    def flush(self, timeout: float) -> None:
        """Wait until all is recorded, unless that cannot be done now."""
        if not self._is_hindered():
            self.drain(timeout)

    def _note(self, batch: list[str]) -> None:
        if self._is_hindered():
            for tenant in batch:
                self.submit(tenant, _AGAIN)
            return
        tenants = [tenant for tenant in batch if tenant in self._tries]
        with self._engines.borrow() as (engine, run):
            note(engine, tenants, run.with_timeout(_PATIENCE))
        for tenant in tenants:
            self.forget(tenant)

    def _break(self, batch: list[str], error: Exception) -> None:
        why = error.message if isinstance(error, InfluxopsError) else repr(error)
        quiet.debug("nothing was noted in the ledger: %s", why)
        for tenant in batch:
            tries = self._tries.get(tenant, _MOST_TRIES) + 1
            if tries < _MOST_TRIES:
                self._tries[tenant] = tries
                self.submit(tenant, _AGAIN)
            else:
                self.forget(tenant)


def note(engine: Engine, tenants: Collection[str], context: RunContext) -> None:
    """Record that those tenants are wanted that a source has, and that have no record."""
    assert engine.ledger is not None
    there = {
        found.id for source in engine.sources for found in source.get_tenants(tenants, context)
    }
    known = engine.ledger.load_records(there, context).records if there else {}
    new = tuple(Record(id_, State.PENDING) for id_ in sorted(there - known.keys()))
    if new:
        engine.ledger.commit(LedgerUpdate(records=new), context)
