"""What a worker does for tenants, in a thread: plan, allocate a slot, create.

The functions are those of the Provisioner and of every run; what is done twice does no harm.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from influxops.config.load import Config
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import group_alike
from influxops.engine.creation import completion, create_databases, is_full
from influxops.engine.engine import Engine
from influxops.engine.tenants import SelectedPlan, TenantRequest, allocate, plan_selected
from influxops.errors import InfluxopsError, Interrupted
from influxops.provisioner.circuit_breaker import Circuit, Circuits
from influxops.provisioner.completion_worker import Finisher
from influxops.provisioner.engine_pool import Engines
from influxops.provisioner.results import EnsureStatus, is_unregistered, status_of
from influxops.runtime.context import RunContext

log = logging.getLogger("influxops")

#: Seconds that planning tenants may take, that creating a batch of them may, and a probe.
_LOOK, _MAKE, _PROBE = 20.0, 60.0, 2.0
#: Seconds for which a plan of a tenant is good enough to create its database.
_FRESH = 10.0
#: Seconds that the end of a worker waits for what completes databases.
_FLUSH = 3.0
_READY = (EnsureStatus.EXISTING, EnsureStatus.CREATED)


@dataclass
class Placed:
    """Results of tenants that were to get a slot, or a database in theirs."""

    targets: set[str] = field(default_factory=set)  # where slots are reserved now
    waiting: int = 0  # tenants that are neither decided nor ready
    full_run: bool = False  # whether one of them waits for a full run
    trouble: str = ""  # why nothing could be done; empty where it could
    ready: list[str] = field(default_factory=list)  # tenants whose database exists


class Making:
    """What one worker has at hand: engines, circuits, and what completes databases."""

    def __init__(self, config: Config, on_target_recovered: Callable[[str], None]) -> None:
        self.engines = Engines(config, None)
        self.timeout = config.timeout  # seconds that a run over all tenants may take
        self._on_target_recovered = on_target_recovered
        self._stopping = threading.Event()
        with Engine(config) as engine:
            self.targets = [handle.name for handle in engine.targets]
        sections = [f"target:{name}" for name in self.targets]
        self._circuits = Circuits(self.engines, sections, _PROBE, self._changed, self._stopping)
        self._finisher = Finisher(self.engines, self._circuits)
        #: The tenants that were allocated a moment ago, with what was planned and when. The ledger
        #: refuses to create one whose record has changed since.
        self._allocated: dict[str, tuple[TenantPlan, SelectedPlan, float]] = {}
        self._lock = threading.Lock()
        self.recoveries = 0  # how often a target answered again
        #: What was reported of each tenant by this process; the ledger knows it beyond.
        self._told: dict[str, str] = {}

    def close(self) -> None:
        """End what is under way, and release all connections."""
        self._finisher.drain(_FLUSH)
        self._stopping.set()
        self._finisher.stop()
        self.engines.close()

    def follow_routes(self) -> None:
        """Have the reporters that write routes do so after each change, until the worker ends."""
        try:
            with contextlib.suppress(Interrupted), self.engines.run(None, log) as (engine, context):
                engine.routes.follow(context)
        except InfluxopsError as error:
            log.warning("routes are not written: %s", error)

    def away(self, target: str) -> str:
        """Return why a target is not to be asked now; empty where it is."""
        return self._circuits.open.get(f"target:{target}", "")

    def place(self, ids: Sequence[str], noted: Mapping[str, datetime] | None = None) -> Placed:
        """Find out where tenants go, and reserve their slots in the ledger, or do nothing at all.

        The ledger may lack since when tenants wait that are `noted`.
        """
        placed = Placed()
        with self.engines.borrow() as (engine, run):
            planned = self._plan(engine, ids, run)
            placed.trouble = _blind(planned)
            if placed.trouble:
                return placed
            records = self._allocate(engine, planned, planned.tenants.values(), run, noted)
        for record in records.values():
            if record.state is State.ALLOCATED and record.target:
                placed.targets.add(record.target)
            elif record.state is State.PENDING:
                placed.waiting += 1
        now = time.monotonic()
        for plan in planned.tenants.values():
            if plan.status is not TenantStatus.PENDING or plan.target is None:
                continue
            reserved = records.get(plan.tenant)
            if reserved is None:  # its slot was reserved before
                placed.targets.add(plan.target)
            elif reserved.target == plan.target:
                with self._lock:
                    plan = replace(plan, record=reserved)
                    self._allocated[plan.tenant] = plan, planned, now
        placed.full_run = planned.needs_full_run
        return placed

    def make(self, target: str, ids: Sequence[str]) -> Placed:
        """Create the databases of tenants that have a slot on a target."""
        made = Placed(trouble=self.away(target))
        if made.trouble:
            return made
        here, planned = self._just_allocated(target, ids)
        known = {plan.tenant for plan in here}
        rest = [id_ for id_ in ids if id_ not in known]
        with self.engines.borrow() as (engine, run):
            if rest:
                planned = self._plan(engine, rest, run)
                here += self._settle_others(engine, target, planned, made, run)
            full: list[str] = []
            if here and planned is not None and not made.trouble:
                full = self._create(engine, target, here, planned, made, run.with_timeout(_MAKE))
        if full:  # another target may have room
            made.targets |= self.place(full).targets
        return made

    def _plan(self, engine: Engine, ids: Sequence[str], run: RunContext) -> SelectedPlan:
        requests = map(TenantRequest, ids)
        hints = self._circuits.hints()
        planned = plan_selected(requests, engine.request, run.with_timeout(_LOOK), hints)
        for section, error in planned.failed.items():
            self._circuits.fail(section, error)
        return planned

    def _allocate(
        self,
        engine: Engine,
        planned: SelectedPlan,
        plans: Iterable[TenantPlan],
        run: RunContext,
        noted: Mapping[str, datetime] | None = None,
    ) -> Mapping[str, Record]:
        """Record where tenants go, and complete and report what follows from it."""
        # A hint about a tenant that no source has was about what is left out there.
        plans = [plan for plan in plans if plan.record is not None or not is_unregistered(plan)]
        context = run.with_timeout(_LOOK)  # a target that hung has used up the other, perhaps
        records = allocate(plans, planned.observed, engine.request, context, noted)
        self._follow_up(engine, plans, context)
        return records

    def _just_allocated(
        self, target: str, ids: Sequence[str]
    ) -> tuple[list[TenantPlan], SelectedPlan | None]:
        """Return those that were allocated a slot on a target a moment ago, and forget them."""
        oldest = time.monotonic() - _FRESH
        with self._lock:
            while self._allocated:  # in the order of time
                id_ = next(iter(self._allocated))
                if self._allocated[id_][2] > oldest:
                    break
                del self._allocated[id_]
            found = [self._allocated.pop(id_) for id_ in ids if id_ in self._allocated]
        here = [(plan, planned) for plan, planned, _ in found if plan.target == target]
        return [plan for plan, _ in here], here[0][1] if here else None

    def _settle_others(
        self, engine: Engine, target: str, planned: SelectedPlan, made: Placed, run: RunContext
    ) -> list[TenantPlan]:
        """Record tenants that are not to be created on a target; return those that are."""
        failed = planned.failed.get(f"target:{target}")
        made.trouble = _blind(planned) or (failed.message if failed is not None else "")
        if made.trouble:
            return []
        here: list[TenantPlan] = []
        others: list[TenantPlan] = []
        for plan in planned.tenants.values():
            is_here = plan.status is TenantStatus.PENDING and plan.target == target
            (here if is_here else others).append(plan)
        records = self._allocate(engine, planned, others, run).values()
        made.targets |= {r.target for r in records if r.state is State.ALLOCATED and r.target}
        for plan in others:
            if status_of(plan) in _READY:
                made.ready.append(plan.tenant)
            elif plan.status is not TenantStatus.PENDING:
                made.waiting += 1
        return here

    def _create(
        self,
        engine: Engine,
        target: str,
        plans: Sequence[TenantPlan],
        planned: SelectedPlan,
        made: Placed,
        context: RunContext,
    ) -> list[str]:
        """Create databases; return the tenants that the target had no room for."""
        ended: list[TenantPlan] = []
        failure = create_databases(
            plans, planned.observed, engine.target(target), engine.request, context, ended.append
        )
        full = [plan for plan in ended if is_full(plan)]
        if full:
            self._circuits.note_full(target, full[-1].outcomes[-1].message)
        ready = [plan.tenant for plan in ended if status_of(plan) in _READY]
        made.ready += ready
        made.waiting += len(plans) - len(ready)
        self._follow_up(engine, [plan for plan in ended if not is_full(plan)], context)
        if failure is not None:
            made.trouble = failure.error.message
            self._circuits.fail(failure.section, failure.error)
        return [plan.tenant for plan in full]

    def _follow_up(self, engine: Engine, plans: Iterable[TenantPlan], context: RunContext) -> None:
        """Complete databases, and report tenants that get none, once each reason."""
        news = []
        for plan in plans:
            status = status_of(plan)
            if status in _READY:
                self._told.pop(plan.tenant, None)
                if plan.recreated_after_drop is not None:
                    log.warning("%s: %s", plan.tenant, plan.reason)
                if completion(plan) is not None:
                    self._finisher.add(plan)
            if status is not EnsureStatus.FAILED or is_unregistered(plan):
                continue
            why = plan.reason
            if why not in (plan.record.error if plan.record else "", self._told.get(plan.tenant)):
                news.append(plan)
            self._told[plan.tenant] = why
        for who, why in group_alike((plan.tenant, plan.reason) for plan in news):
            log.warning("%s: %s", who, why)
        if news:
            for finding in engine.report_failed(news, context.with_grace_period(_PROBE)).notes:
                log.warning("%s", finding.sentence)

    def _changed(self, circuit: Circuit) -> None:
        if not circuit.is_open:
            target = circuit.name.removeprefix("target:")
            log.warning("%s answers again", target)
            self.recoveries += 1
            self._on_target_recovered(target)


def _blind(planned: SelectedPlan) -> str:
    """Return why nothing is known of any tenant: a source or the ledger was not read."""
    for section, error in planned.failed.items():
        if not section.startswith("target:"):
            return f"{section}: {error.message}"
    return ""
