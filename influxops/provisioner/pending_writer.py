"""Notes in the ledger, in the background, that tenants are wanted which could not be made.

So that whoever works on the ledger makes them, even when this process ends before it could. Best
effort: the registry is durable, and full runs find what is not noted here.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from influxops.domain.record import LedgerUpdate, Record, State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.circuit_breaker import Circuit
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.logs import quiet
from influxops.runtime.context import RunContext

#: Seconds that the first one waits for others.
_COLLECTING = 0.1
#: Seconds that one batch may take, and before another try; and how many tries there are.
_PATIENCE, _AGAIN, _MOST_TRIES = 5.0, 1.0, 30
#: Tenants of one batch.
_MOST = 1_000


class Notes:
    """A thread that notes what it is given.

    Args:
        engines: Lends engines.
        needed: The circuits of sources and ledger: nothing is noted while one is open.
        stopping: Set when nothing more is to be done.
    """

    def __init__(self, engines: Engines, needed: list[Circuit], stopping: threading.Event) -> None:
        self._engines, self._needed, self._stopping = engines, needed, stopping
        self._changed = threading.Condition()
        self._tenants: dict[str, None] = {}
        self._runs = False

    def add(self, tenant: str) -> None:
        """Take one more; never waits."""
        with self._changed:
            self._tenants[tenant] = None
            if not self._runs and not self._stopping.is_set():
                self._runs = True
                threading.Thread(target=self._serve, name="influxops-notes", daemon=True).start()
            self._changed.notify_all()

    def forget(self, tenant: str) -> None:
        """Take one back: its database is there."""
        if tenant in self._tenants:
            self._done([tenant])

    def _done(self, tenants: Collection[str]) -> None:
        with self._changed:
            for tenant in tenants:
                self._tenants.pop(tenant, None)
            self._changed.notify_all()

    def flush(self, timeout: float) -> None:
        """Wait until all is noted, unless that cannot be done now."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._tenants or self._is_hindered(), max(timeout, 0.0)
            )

    def _is_hindered(self) -> bool:
        return any(circuit.is_open for circuit in self._needed)

    def close(self) -> None:
        """Let the thread see that nothing more is to be done."""
        with self._changed:
            self._changed.notify_all()

    def _serve(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._tenants or self._stopping.is_set())
            self._stopping.wait(_COLLECTING)
            if self._is_hindered():
                self._stopping.wait(_AGAIN)
                continue
            with self._changed:
                batch = [*self._tenants][:_MOST]
            try:
                with self._engines.borrow() as (engine, run):
                    note(engine, batch, run.limited(_PATIENCE))
            except Exception as error:
                why = error.message if isinstance(error, InfluxopsError) else repr(error)
                quiet.debug("nothing was noted in the ledger: %s", why)
                tries += 1
                if tries < _MOST_TRIES:
                    self._stopping.wait(_AGAIN)
                    continue
            tries = 0
            self._done(batch)


def note(engine: Engine, tenants: Collection[str], context: RunContext) -> None:
    """Note those tenants in the ledger that a source has, and that have no record.

    Raises:
        InfluxopsError: When they could not be looked up, or noted.
    """
    assert engine.ledger is not None
    there = {
        found.id for source in engine.sources for found in source.get_tenants(tenants, context)
    }
    known = engine.ledger.load_records(there, context).records if there else {}
    new = tuple(Record(id_, State.PENDING) for id_ in sorted(there - known.keys()))
    if new:
        engine.ledger.commit(LedgerUpdate(records=new), context)
