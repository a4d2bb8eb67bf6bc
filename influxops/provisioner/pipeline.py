"""The threads that find out and make: what comes while they work is the next batch.

    submit ─▶ front (one thread: looks up sources, ledger, targets) ─▶ maker (a thread a target)
                                                                          └▶ finisher: markers

A tenant is under way once, whoever asks; all who ask wait for that one `Future`. A server that
hangs holds up the thread of its own target only, and its circuit is open by then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from influxops.config.load import Config
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError, Interrupted
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner import engine_pool
from influxops.provisioner.circuit_breaker import Circuit
from influxops.provisioner.completion_worker import Finisher
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.logs import log
from influxops.provisioner.pending_writer import Notes
from influxops.provisioner.validation import Rules
from influxops.reconcile.observe.selected import Asked, Known, NotSupported
from influxops.reconcile.single.look_up import Looked, Place, Step
from influxops.runtime.batch_worker import BatchWorker
from influxops.runtime.context import RunContext

#: Tenants that are looked up at once, and made at once on one target.
_MOST = 200
#: Seconds after which a tenant that another run has in its hands is looked at again.
_BUSY = 0.1
#: Seconds that a probe may take.
_PROBE = 1.0
#: Seconds for which a target that said it is full gets nothing.
_FULL = 60.0
#: Seconds for which the ledger's counts are taken for good, with what was placed since.
_COUNTS = 5.0


@dataclass
class Flight:
    """A tenant that is under way."""

    asked: Asked
    began: float
    future: Future[Place] = field(default_factory=Future)
    place: Place | None = None  # where it was found to go


class Works:
    """What one process has under way.

    Args:
        config: The configuration.
        kinds: The plugins to choose from.
        rules: What is known without asking.
        timeout: Seconds that anybody waits.
        on_settled: Called with each tenant that is settled, and when what is known of it was read.
        on_circuit: Called when a circuit was opened or closed.
    """

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, PluginType] | None,
        rules: Rules,
        timeout: float,
        on_settled: Callable[[Place, float], None],
        on_circuit: Callable[[], None],
    ) -> None:
        self.engines = Engines(config, kinds)
        self.rules, self.timeout = rules, timeout
        self._patience = 0.9 * timeout  # who waits gets to know why
        self._on_settled = on_settled
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._front = self._worker(self._look_up)
        self._makers = {name: self._worker(partial(self._make, name)) for name in rules.urls}
        self.circuits = {
            name: Circuit(
                name,
                partial(self._probe, name),
                lambda circuit: on_circuit(),
                self.stopping,
            )
            for name in (
                *rules.sources,
                *(f"target:{name}" for name in rules.urls),
                *((rules.ledger,) if rules.ledger else ()),
            )
        }
        self._needed = [
            circuit
            for name, circuit in self.circuits.items()
            if not name.startswith("target:") or len(rules.urls) == 1
        ]
        self._full: dict[str, tuple[str, float]] = {}
        self._unsure: set[str] = set()  # tenants of whose making nobody knows how it ended
        self._used: tuple[dict[str, int] | None, float] = (None, 0.0)
        self.finisher = Finisher(self.engines, self.circuits, self.stopping)
        self.notes: Notes | None = None  # None where there is no ledger
        if rules.ledger:
            needed = [self.circuits[name] for name in (*rules.sources, rules.ledger)]
            self.notes = Notes(self.engines, needed, self.stopping)

    # For who asks ----------------------------------------------------------------------------

    def hindrance(self) -> Circuit | None:
        """Return the open circuit without which nothing can be done; None where there is none."""
        return next((circuit for circuit in self._needed if circuit.is_open), None)

    def submit(self, asked: Asked) -> Future[Place]:
        """Return what a tenant comes to; it is started unless it is under way."""
        with self._lock:
            flight = self._flights.get(asked.tenant)
            if flight is not None:
                return flight.future
            flight = Flight(asked, time.monotonic())
            flight.future.set_running_or_notify_cancel()  # who gives up ends it for nobody else
            self._flights[asked.tenant] = flight
        self._front.submit(flight)
        return flight.future

    def note(self, tenant: str) -> None:
        """Have the ledger remember that a tenant could not be made; never waits."""
        if self.notes is not None:
            self.notes.add(tenant)

    def close(self) -> None:
        """End everything; who still waits is told."""
        self.stopping.set()
        self.engines.close()
        self.finisher.close()
        if self.notes is not None:
            self.notes.close()
        for worker in (self._front, *self._makers.values()):
            worker.stop()
        with self._lock:
            left = [*self._flights.values()]
        for flight in left:
            self._settle(flight, Place(flight.asked.tenant, Step.WAIT, reason="it was closed"))

    # The threads -----------------------------------------------------------------------------

    def _worker(self, handle_batch: Callable[[list[Flight]], None]) -> BatchWorker[Flight]:
        return BatchWorker(
            "influxops-works",
            handle_batch,
            self._break,
            largest_batch=_MOST,
            on_idle=(engine_pool.IDLE, self.engines.trim),
        )

    def _break(self, batch: list[Flight], error: Exception) -> None:
        """Settle tenants whose handling raised an error."""
        why = error.message if isinstance(error, InfluxopsError) else repr(error)
        if not isinstance(error, InfluxopsError):
            log.error("tenants could not be made", exc_info=error)
        for flight in batch:
            self._settle(flight, Place(flight.asked.tenant, Step.WAIT, reason=why))

    def _look_up(self, batch: list[Flight]) -> None:
        began = time.monotonic()
        flights = {flight.asked.tenant: flight for flight in batch}
        with self.engines.borrow() as (engine, run):
            context = run.limited(self._patience)
            known = self._known()
            asked = {id_: flight.asked for id_, flight in flights.items()}
            looked = engine.single.look_up(asked, context, known)
            if known.used is None and looked.counted is not None:
                self._used = dict(looked.counted), began
            self._record_lost(engine, looked, context)
        self._note(looked)
        for id_, place in looked.places.items():
            flight = flights[id_]
            flight.began, flight.place = min(flight.began, began), place
            if place.step is Step.MAKE and place.target is not None:
                self._count(place.target)
                self._makers[place.target].submit(flight)
            elif place.step is Step.BUSY and began - flight.began < self._patience:
                self._front.submit(flight, _BUSY)
            else:
                self._settle(flight, place)

    @staticmethod
    def _record_lost(engine: Engine, looked: Looked, context: RunContext) -> None:
        """Write to the ledger who is lost; what cannot be written is written by the next run."""
        lost = [place for place in looked.places.values() if place.is_lost]
        with contextlib.suppress(InfluxopsError):
            if lost:
                engine.single.note(lost, context)

    def _make(self, target: str, batch: list[Flight]) -> None:
        flights = {flight.asked.tenant: flight for flight in batch}
        told: set[str] = set()

        def tell(place: Place) -> None:
            told.add(place.tenant)
            flight = flights[place.tenant]
            if place.step is Step.WAIT:
                self._unsure.add(place.tenant)
            if place.step is Step.MAKE:  # the target is full: it goes elsewhere, if it can
                self._full[target] = (place.reason, time.monotonic() + _FULL)
                self._front.submit(flight)
            elif place.step is Step.BUSY and time.monotonic() - flight.began < self._patience:
                self._front.submit(flight, _BUSY)
            else:
                self._settle(flight, place)

        circuit = self.circuits[f"target:{target}"]
        why = "its target did not say how it ended"
        failed = None
        if circuit.is_open:
            why = circuit.reason
        else:
            places = [flight.place for flight in batch if flight.place is not None]
            with self.engines.borrow() as (engine, run):
                failed = engine.single.make(places, target, run.limited(self._patience), tell)
        if failed is not None:
            why = f"{target}: {failed.error.message}"
            if not told:
                self._fail(failed.name, failed.error)
        for id_, flight in flights.items():
            if id_ in told:
                continue
            if failed is not None:
                self._unsure.add(id_)
            if told and failed is not None:  # the time of this batch was over, perhaps
                self._makers[target].submit(flight)
                continue
            place = flight.place or Place(id_, Step.WAIT)
            self._settle(flight, replace(place, step=Step.WAIT, reason=why))

    def _settle(self, flight: Flight, place: Place) -> None:
        with self._lock:
            if self._flights.get(place.tenant) is not flight:
                return
            del self._flights[place.tenant]
        if place.step in (Step.MADE, Step.THERE):
            if place.tenant in self._unsure:
                # It may be of our own making, and without what completes it.
                self._unsure.discard(place.tenant)
                place = replace(place, complete=False)
            if self.notes is not None:
                self.notes.forget(place.tenant)
            if not place.complete:
                self.finisher.add(place)
        elif place.step is not Step.UNKNOWN and place.record is None:
            self.note(place.tenant)
        self._on_settled(place, flight.began)
        flight.future.set_result(place)

    # What is known of servers ----------------------------------------------------------------

    def _known(self) -> Known:
        now = time.monotonic()
        circuits = {name: self.circuits[f"target:{name}"] for name in self.rules.urls}
        away = {name: circuit.reason for name, circuit in circuits.items() if circuit.is_open}
        full = {name: why for name, (why, until) in self._full.items() if until > now}
        used, at = self._used
        refused = [name for name in away if circuits[name].is_refused]
        return Known(away, refused, full, used if now - at <= _COUNTS else None)

    def _count(self, target: str) -> None:
        used, _ = self._used
        if used is not None:
            used[target] = used.get(target, 0) + 1

    def _note(self, looked: Looked) -> None:
        for name, error in looked.failed.items():
            self._fail(name, error)

    def _fail(self, name: str, error: InfluxopsError) -> None:
        cancelled = isinstance(error, Interrupted) and self.stopping.is_set()
        if name in self.circuits and not cancelled and not isinstance(error, NotSupported):
            self.circuits[name].fail(error)

    def _probe(self, name: str) -> None:
        self.engines.begin_anew()
        with self.engines.run(min(self._patience, _PROBE)) as (engine, context):
            for source in engine.sources:
                if source.full_name == name:
                    source.get_tenants((), context)
            for target in engine.targets:
                if target.full_name == name and target.implements("influxops_get_databases"):
                    target.get_databases((), context)
                elif target.full_name == name:
                    target.list_databases((), context)
            if engine.ledger is not None and engine.ledger.full_name == name:
                engine.ledger.load_records((), context)
