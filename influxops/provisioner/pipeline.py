"""The threads that plan and create: what comes while they work is the next batch.

    submit ─▶ planner (one thread: sources, ledger, targets) ─▶ creators (a thread a target)
                                                                    └▶ completion worker: markers

Concurrent requests for one tenant share a single Future. A server that hangs holds up the thread
of its own target only, until its circuit is open.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from influxops.config.load import Config
from influxops.domain.database import UNMANAGED
from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.engine.creation import completion, create_databases, is_full, with_completion
from influxops.engine.engine import Engine
from influxops.engine.tenants import (
    SelectedPlan,
    TenantRequest,
    commit_seen,
    is_kept,
    plan_selected,
    postpone,
    signed,
)
from influxops.errors import InfluxopsError
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner import engine_pool
from influxops.provisioner.circuit_breaker import Circuits
from influxops.provisioner.completion_worker import Finisher
from influxops.provisioner.engine_pool import Engines, log
from influxops.provisioner.pending_writer import Notes
from influxops.provisioner.results import is_claimed, is_unregistered
from influxops.provisioner.validation import CallValidator
from influxops.runtime.batch_worker import BatchWorker
from influxops.runtime.context import RunContext

#: Tenants that are planned at once, and created at once on one target.
_MOST = 200
#: Seconds after which a tenant that another run has claimed is planned again.
_BUSY = 0.1
#: Seconds that a probe may take.
_PROBE = 1.0
#: Seconds for which the ledger's counts count, with what was placed since.
_COUNTS = 5.0


@dataclass
class Flight:
    """A tenant that is under way."""

    request: TenantRequest
    began: float
    asked_at: float  # when it was asked for last: what was read before may lack it
    read_at: float = 0.0  # when its sources were begun to be read
    future: Future[TenantPlan] = field(default_factory=Future)
    plan: TenantPlan | None = None
    planned: SelectedPlan | None = None  # what its plan is a part of
    counted_on: str | None = None  # the target that it is counted on; None before it has one
    is_recorded: bool = False  # whether the ledger counts it


class Works:
    """What one process has under way; `on_settled` gets each result, and when its request began."""

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, PluginType] | None,
        rules: CallValidator,
        timeout: float,
        on_settled: Callable[[TenantPlan, float], None],
        on_circuit: Callable[[], None],
    ) -> None:
        self.engines, self.rules = Engines(config, kinds), rules
        self._patience = 0.9 * timeout  # so that a caller that waits gets the reason
        self._on_settled = on_settled
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._planner = self._worker(self._plan)
        self._creators = {name: self._worker(partial(self._create, name)) for name in rules.urls}
        targets = [f"target:{name}" for name in rules.urls]
        stores = [*rules.sources, *filter(None, [rules.ledger])]
        self.circuits = Circuits(
            self.engines,
            [*stores, *targets],
            min(self._patience, _PROBE),
            lambda circuit: on_circuit(),
            self.stopping,
        )
        self._needed = [*stores, *(targets if len(targets) == 1 else ())]
        self._unsure: set[str] = set()  # tenants of whose creation the end is not known
        self._used: tuple[dict[str, int] | None, float] = (None, 0.0)
        self.finisher = Finisher(self.engines, self.circuits)
        self.notes: Notes | None = None  # None where there is no ledger
        if rules.ledger:
            self.notes = Notes(self.engines, lambda: any(map(self.circuits.open.get, stores)))

    # For callers -----------------------------------------------------------------------------

    def hindrance(self) -> str:
        """Return which section cannot be asked without which nothing can be done, and why."""
        trouble = self.circuits.open
        return next((f"{name}: {trouble[name]}" for name in self._needed if name in trouble), "")

    def submit(self, request: TenantRequest) -> Future[TenantPlan]:
        """Return the Future of a tenant; it is started unless it is under way."""
        with self._lock:
            flight = self._flights.get(request.tenant)
            now = time.monotonic()
            if flight is not None:
                flight.asked_at = now
                return flight.future
            flight = Flight(request, now, now)
            flight.future.set_running_or_notify_cancel()  # one caller's end is no other's
            self._flights[request.tenant] = flight
        self._planner.submit(flight)
        return flight.future

    def note(self, tenant: str) -> None:
        """Have the ledger remember that a tenant could not be created; never waits."""
        if self.notes is not None:
            self.notes.add(tenant)

    def close(self) -> None:
        """End everything, with an answer for callers that still wait."""
        self.stopping.set()
        self.engines.close()
        for worker in (self._planner, *self._creators.values()):
            worker.stop()
        self.finisher.stop()
        if self.notes is not None:
            self.notes.stop()
        with self._lock:
            left = [*self._flights.values()]
        self._settle_waiting(left, "it was closed")

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
        self._settle_waiting(batch, why)

    def _plan(self, batch: list[Flight]) -> None:
        began = time.monotonic()
        requests = [flight.request for flight in batch]
        for flight in batch:
            self._count(flight, None)  # it may go elsewhere than before
        used, at = self._used
        used = used if began - at <= _COUNTS else None
        hints = self.circuits.hints(used, self._in_flight)
        with self.engines.borrow() as (engine, run):
            context = run.with_timeout(self._patience)
            planned = plan_selected(requests, engine.request, context, hints)
            plans = _committed(planned, engine, requests, context)
        if hints.used is None and planned.counted is not None:
            self._used = dict(planned.counted), began
        for section, error in planned.failed.items():
            self.circuits.fail(section, error)
        for flight in batch:
            flight.began, flight.read_at = min(flight.began, began), began
            flight.plan = plan = plans[flight.request.tenant]
            flight.planned = planned
            flight.is_recorded = False
            if plan.status is TenantStatus.PENDING and plan.target is not None:
                self._count(flight, plan.target)
                self._creators[plan.target].submit(flight)
            else:
                self._settle_unless_claimed(flight, plan)

    def _create(self, target: str, batch: list[Flight]) -> None:
        flights = {flight.request.tenant: flight for flight in batch}
        told: set[str] = set()

        def tell(plan: TenantPlan) -> None:
            told.add(plan.tenant)
            flight = flights[plan.tenant]
            if plan.status is TenantStatus.UNKNOWN:
                self._unsure.add(plan.tenant)
            if is_full(plan):  # it goes elsewhere, if it can
                self.circuits.note_full(target, plan.outcomes[-1].message)
                self._planner.submit(flight)
            else:
                self._settle_unless_claimed(flight, plan)

        def claimed() -> None:
            for flight in batch:
                flight.is_recorded = True

        why = self.circuits.open.get(f"target:{target}", "")
        failure = None
        if not why:
            plans = [flight.plan for flight in batch if flight.plan is not None]
            assert batch[0].planned is not None
            observed = batch[0].planned.observed
            with self.engines.borrow() as (engine, run):
                handle, context = engine.target(target), run.with_timeout(self._patience)
                request = signed(engine.request, (flight.request for flight in batch))
                failure = create_databases(plans, observed, handle, request, context, tell, claimed)
            why = "its target did not say how it ended"
        left = [flight for id_, flight in flights.items() if id_ not in told]
        if failure is not None:
            why = f"{target}: {failure.error.message}"
            self._unsure |= {flight.request.tenant for flight in left}
            if told:  # the time of this batch was over, perhaps
                for flight in left:
                    self._creators[target].submit(flight)
                return
            self.circuits.fail(failure.section, failure.error)
        self._settle_waiting(left, why)

    def _settle_waiting(self, flights: list[Flight], why: str) -> None:
        """Postpone tenants of which nothing more is known for now: their callers get the reason."""
        for flight in flights:
            id_ = flight.request.tenant
            plan = flight.plan or TenantPlan(id_, self.rules.name(id_), UNMANAGED)
            self._settle(flight, postpone(plan, FindingKind.NOT_ATTEMPTED, why))

    def _settle_unless_claimed(self, flight: Flight, plan: TenantPlan) -> None:
        if is_claimed(plan) and time.monotonic() - flight.began < self._patience:
            self._planner.submit(flight, _BUSY)
        else:
            self._settle(flight, plan)

    def _settle(self, flight: Flight, plan: TenantPlan) -> None:
        with self._lock:
            if self._flights.get(plan.tenant) is not flight:
                return
            # It may have been committed while its sources were read.
            reads_again = is_unregistered(plan) and flight.asked_at > flight.read_at
            if not reads_again:
                del self._flights[plan.tenant]
        if reads_again:
            self._planner.submit(flight)
            return
        if plan.status in (TenantStatus.OK, TenantStatus.CHANGED):
            if plan.tenant in self._unsure:
                # This process may have created it, without what completes it.
                self._unsure.discard(plan.tenant)
                plan = with_completion(plan)
            if self.notes is not None:
                self.notes.forget(plan.tenant)
            if completion(plan) is not None:
                self.finisher.add(plan)
        elif not is_unregistered(plan) and plan.record is None:
            self.note(plan.tenant)
        self._on_settled(plan, flight.began)
        flight.future.set_result(plan)

    def _in_flight(self) -> dict[str, int]:
        """Return how many tenants are being created on each target: the ledger may lack them."""
        with self._lock:
            flights = [each for each in self._flights.values() if not each.is_recorded]
        return Counter(flight.counted_on for flight in flights if flight.counted_on is not None)

    def _count(self, flight: Flight, target: str | None) -> None:
        """Count a tenant on a target, instead of where it was counted before."""
        used, _ = self._used
        for name, step in ((flight.counted_on, -1), (target, 1)):
            if used is not None and name is not None:
                used[name] = used.get(name, 0) + step
        flight.counted_on = target


def _committed(
    planned: SelectedPlan, engine: Engine, asked: Iterable[TenantRequest], context: RunContext
) -> dict[str, TenantPlan]:
    """Record which tenants are lost or back, if that can be, and keep those that were retiring."""
    tenants = dict(planned.tenants)
    kept = [plan for plan in tenants.values() if is_kept(plan)]
    told = (FindingKind.LOST, FindingKind.RECREATED_AFTER_DROP)
    lost = [p for p in tenants.values() if p.kind in told]
    for plan in lost:
        if plan.kind is FindingKind.RECREATED_AFTER_DROP:
            log.warning("%s: %s", plan.tenant, plan.reason)
    if kept or lost:
        try:
            commit_seen([*kept, *lost], planned.observed, signed(engine.request, asked), context)
        except InfluxopsError as error:
            tenants |= {
                p.tenant: postpone(p, FindingKind.FAILED_LEDGER, error.message) for p in kept
            }
    return tenants
