"""The Provisioner: how an application gets a tenant's database, and never waits for long."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from influxops.config.load import Config, load_config
from influxops.domain.durations import parse_duration
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.engine.tenants import TenantRequest
from influxops.errors import InfluxopsError
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner.app_transaction import awaited, record_wanted, refuse_lost
from influxops.provisioner.database_check import DatabaseInspection, inspect, look_up
from influxops.provisioner.process import Process
from influxops.provisioner.results import (
    EnsureResult,
    EnsureStatus,
    LocationCache,
    ProvisionerHealth,
    result_of,
)
from influxops.provisioner.validation import CallValidator, InvalidRequest, check_seconds
from influxops.report.model import RunOrigin

#: Seconds for which what is known is known, where the ledger does not say so.
CACHE_TTL = 60.0
#: Seconds for which is known what only the ledger says, whose server was not there to be asked, and
#: where a tenant is that is being moved.
_UNSEEN_TTL = 5.0
#: Seconds that closing waits for what is under way.
_LAST = 2.0


class Provisioner:
    """Gives tenants their databases, from within an application.

    One a process; all its methods may be called from any thread, and their asynchronous siblings
    from any event loop. Threads and connections are made in the process that first uses it, so it
    may be made before a server forks its workers. All raise InvalidRequest at once for what cannot
    be: an id that no database can have, for instance.

    Args:
        timeout: Seconds that a call may take, whatever servers do.
        full_runs: Seconds between full runs in the background, the first of which is made at the
            start; None for none, where something else makes them.
        cache_ttl: Seconds for which what is known is known; None for half of what the ledger's
            settings say: the other half is for the write that follows.
        kinds: The plugins to choose from; all that are installed when left out.
    """

    def __init__(
        self,
        config: Config,
        *,
        timeout: float = 2.0,
        full_runs: float | None = 300.0,
        cache_ttl: float | None = None,
        kinds: Mapping[str, PluginType] | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        if full_runs is not None:
            check_seconds("full_runs", full_runs)
        if cache_ttl is not None:
            check_seconds("cache_ttl", cache_ttl, least=0.0)
        with Engine(config, kinds=kinds) as engine:
            self._validator = CallValidator(engine)
            ledger = engine.ledger
            said = ledger.settings.cache_ttl if ledger is not None else None
        self._timeout = timeout
        if cache_ttl is None:
            cache_ttl = parse_duration(said) / 2 if said is not None else CACHE_TTL
        self._ttl = cache_ttl
        self._cache = LocationCache()
        self._lock = threading.Lock()
        self._make_process = partial(
            Process, config, kinds, self._validator, timeout, full_runs, self._cache, self._remember
        )
        self._process: Process | None = None
        self._closed = False
        _made.add(self)

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        *,
        timeout: float = 2.0,
        full_runs: float | None = 300.0,
        cache_ttl: float | None = None,
        kinds: Mapping[str, PluginType] | None = None,
    ) -> Provisioner:
        """Return one for a configuration, without a path for that of the command line."""
        return cls(
            load_config(path),
            timeout=timeout,
            full_runs=full_runs,
            cache_ttl=cache_ttl,
            kinds=kinds,
        )

    def __enter__(self) -> Provisioner:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the full runs in the background, as the first call of any kind does.

        An application that may be restarted after a crash calls it when it starts: what was lost
        is created then.
        """
        self._started()

    def close(self, timeout: float = _LAST) -> None:
        """End all that is under way, in some seconds; the next full run creates what is left."""
        with self._lock:
            self._closed, process = True, self._process
        if process is not None:
            process.close(timeout)

    # One tenant ------------------------------------------------------------------------------

    def validate(
        self, tenant_id: str, *, retention: str | None = None, target: str | None = None
    ) -> None:
        """Refuse what `ensure` would refuse, without I/O: call it before a tenant is committed."""
        self._validator.check(tenant_id, retention, target)

    def ensure(
        self, tenant_id: str, *, retention: str | None = None, target: str | None = None
    ) -> EnsureResult:
        """Ensure that a tenant has its database; return where it is, or why it is not there.

        A source knows the tenant: it is committed. A `retention` period (`30d`) counts where its
        database is created; later runs use what the source and the configuration say. `target` is
        the only one that it may be created on.
        """
        until = time.monotonic() + self._timeout
        request = TenantRequest(tenant_id, retention, target)
        return self._result(request, self._submitted(request), until)

    async def aensure(
        self,
        tenant_id: str,
        *,
        retention: str | None = None,
        target: str | None = None,
        origin: RunOrigin | None = None,
    ) -> EnsureResult:
        """Do what `ensure` does without keeping the event loop.

        `origin` is who asks for it, for the ledger's history; None for who runs this process.
        """
        request = TenantRequest(tenant_id, retention, target, origin)
        found = self._submitted(request)
        if isinstance(found, EnsureResult):
            return found
        try:
            plan = await asyncio.wait_for(asyncio.wrap_future(found), self._timeout)
        except TimeoutError:
            return self._late(request)
        return self._answer(request, plan)

    def ensure_many(
        self,
        tenant_ids: Iterable[str],
        *,
        retention: str | None = None,
        target: str | None = None,
        timeout: float | None = None,
    ) -> list[EnsureResult]:
        """Ensure that tenants have their databases, all at once and within one timeout."""
        if isinstance(tenant_ids, str) or not isinstance(tenant_ids, Iterable):
            raise InvalidRequest(f"several ids are needed, not one {type(tenant_ids).__name__}")
        ids = [self._validator.check(id_, retention, target) for id_ in tenant_ids]
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        requests = [TenantRequest(id_, retention, target) for id_ in ids]
        started = [self._submitted(request) for request in requests]
        pairs = zip(requests, started, strict=True)
        return [self._result(request, found, until) for request, found in pairs]

    def enqueue(self, tenant_id: str, connection: Any) -> EnsureResult:
        """Record in an application's own transaction that a tenant should have its database.

        Nothing is created before the application has committed it, on its psycopg `connection`. The
        result is QUEUED, and says why where it could not be recorded; EXISTING if it is known to be
        there. TransactionLost says that nothing of that transaction is stored.
        """
        if (known := self._known(tenant_id, connection)) is not None:
            return known
        recorded = self._record_wanted(tenant_id, connection)
        if recorded is not None and not isinstance(recorded, str):
            recorded.close()  # type: ignore[attr-defined]
            raise InvalidRequest("an asynchronous connection needs `await aenqueue(…)`")
        return self._enqueued(tenant_id, recorded)

    async def aenqueue(
        self, tenant_id: str, connection: Any, *, origin: RunOrigin | None = None
    ) -> EnsureResult:
        """Do what `enqueue` does without keeping the event loop, with any connection."""
        if (known := self._known(tenant_id, connection)) is not None:
            return known
        recorded = self._record_wanted(tenant_id, connection)
        if recorded is not None and not isinstance(recorded, str):
            recorded = await awaited(recorded)
        return self._enqueued(tenant_id, recorded, origin)

    def submit(self, tenant_id: str) -> bool:
        """Ask for a tenant's database without any wait: no I/O, and nothing is raised.

        It may be committed a little later. Only where no database can have its id it is not taken.
        """
        try:
            if self._cache.get(tenant_id) is not None:
                return True
            self._validator.check(tenant_id)
            if self._closed:
                return False
            self._started().background.add(TenantRequest(tenant_id))
        except Exception:
            return False
        return True

    def wait(self, *tenant_ids: str, timeout: float | None = None) -> bool:
        """Wait until tenants that were submitted, or all of them, wait no more; or give up."""
        return self._started().background.wait(tenant_ids, timeout)

    async def wait_async(self, *tenant_ids: str, timeout: float | None = None) -> bool:
        """Do what `wait` does without keeping the event loop."""
        return await asyncio.to_thread(self.wait, *tenant_ids, timeout=timeout)

    def health(self) -> ProvisionerHealth:
        """Tell how it is, without asking any server."""
        process = self._process
        return process.health() if process is not None else ProvisionerHealth()

    # Looking only ----------------------------------------------------------------------------

    def locate(self, tenant_id: str) -> EnsureResult:
        """Tell where a tenant's database is, or why it is not there, and create nothing."""
        known = self._cache.get(self._validator.check(tenant_id))
        if known is not None:
            return known
        if self._closed:
            return self._queued(tenant_id, "the Provisioner is closed")
        works = self._started().works
        if hindrance := works.hindrance():
            return self._queued(tenant_id, hindrance)
        began = time.monotonic()
        try:
            plan = look_up(works, tenant_id, self._timeout)
        except InfluxopsError as error:
            return self._queued(tenant_id, error.message)
        self._remember(plan, began)
        found = result_of(plan, self._validator.urls)
        return (
            replace(found, reason="it is not there yet")
            if plan.status is TenantStatus.PENDING
            else found
        )

    async def alocate(self, tenant_id: str) -> EnsureResult:
        """Do what `locate` does without keeping the event loop."""
        return await asyncio.to_thread(self.locate, tenant_id)

    def inspect(self, tenant_id: str, *, timeout: float = 10.0) -> DatabaseInspection:
        """Tell whether a tenant's database exists, and how much telemetry is in it."""
        self._validator.check(tenant_id)
        if self._closed:
            return DatabaseInspection(error="the Provisioner is closed")
        return inspect(self._started().works, tenant_id, timeout)

    async def ainspect(self, tenant_id: str, *, timeout: float = 10.0) -> DatabaseInspection:
        """Do what `inspect` does without keeping the event loop."""
        return await asyncio.to_thread(self.inspect, tenant_id, timeout=timeout)

    # How -------------------------------------------------------------------------------------

    def _submitted(self, request: TenantRequest) -> EnsureResult | Future[TenantPlan]:
        """Return what is known of a tenant already, or the result of creating it."""
        tenant, known = request.tenant, None
        if request.target is None and request.retention is None and isinstance(tenant, str):
            known = self._cache.get(tenant)
        if known is None:
            self._validator.check(tenant, request.retention, request.target)
            known = self._cache.get(tenant)
        if known is not None:
            return known
        if self._closed:
            return self._queued(tenant, "the Provisioner is closed; a full run makes it")
        process = self._started()
        if hindrance := process.works.hindrance():
            process.background.add(request)
            return self._queued(tenant, hindrance)
        return process.works.submit(request)

    def _result(
        self, request: TenantRequest, found: EnsureResult | Future[TenantPlan], until: float
    ) -> EnsureResult:
        if isinstance(found, EnsureResult):
            return found
        try:
            plan = found.result(max(until - time.monotonic(), 0.0))
        except TimeoutError:
            return self._late(request)
        return self._answer(request, plan)

    def _late(self, request: TenantRequest) -> EnsureResult:
        """Return what there is to say of a tenant that takes longer than the timeout."""
        process = self._started()
        process.background.add(request)
        why = f"not within {self._timeout:g} s; it goes on in the background"
        return self._queued(request.tenant, process.works.hindrance() or why)

    def _answer(self, request: TenantRequest, plan: TenantPlan) -> EnsureResult:
        found = result_of(plan, self._validator.urls)
        if found.status is EnsureStatus.QUEUED:
            self._started().background.add(request)
        return found

    def _known(self, tenant: str, connection: Any) -> EnsureResult | None:
        """Return what is known of a tenant that an application's connection is to record."""
        refuse_lost(connection)
        return self._cache.get(self._validator.check(tenant))

    def _record_wanted(self, tenant: str, connection: Any) -> Awaitable[None] | str | None:
        """Record that a tenant is wanted; return what to await, or why it was not recorded."""
        if self._closed:
            return "the Provisioner is closed"
        return record_wanted(self._started().works, tenant, connection, self._timeout)

    def _enqueued(
        self, tenant: str, failure: object, origin: RunOrigin | None = None
    ) -> EnsureResult:
        if not self._closed:
            self._started().background.add(TenantRequest(tenant, origin=origin))
        if failure is None:
            return self._queued(tenant, "noted in the ledger, with the transaction")
        return self._queued(tenant, f"{failure}; a full run makes it once it is committed")

    def _queued(self, tenant: str, reason: str) -> EnsureResult:
        name = self._validator.name(tenant)
        return EnsureResult(tenant, EnsureStatus.QUEUED, name, reason=reason)

    def _remember(self, plan: TenantPlan, began: float) -> None:
        found = result_of(plan, self._validator.urls)
        if found.is_ready:
            is_moving = plan.record is not None and plan.record.state is State.MOVING
            ttl = min(self._ttl, _UNSEEN_TTL) if found.reason or is_moving else self._ttl
            self._cache.add(replace(found, status=EnsureStatus.EXISTING), began + ttl)

    def _started(self) -> Process:
        if self._process is not None:
            return self._process
        with self._lock:
            if self._process is None:
                self._process = self._make_process()
            return self._process

    def _forget_parent(self) -> None:
        """Let go, in a process that was forked, of what is the other one's."""
        self._lock = threading.Lock()
        self._process = None


#: All that were made in this process, for its children.
_made: weakref.WeakSet[Provisioner] = weakref.WeakSet()


def _after_fork() -> None:
    for each in [*_made]:
        each._forget_parent()


os.register_at_fork(after_in_child=_after_fork)
