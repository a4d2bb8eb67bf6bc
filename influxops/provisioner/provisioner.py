"""The Provisioner: how an application gets a tenant's database, and never waits for long."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from influxops.config.load import Config, load_config
from influxops.domain.durations import parse_duration
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError, TransactionLost
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner.cache import KnownTenants
from influxops.provisioner.process_resources import Parts
from influxops.provisioner.results import Ensured, How
from influxops.provisioner.validation import Rules, WrongCall, check_seconds
from influxops.reconcile.observe.selected import Asked, Known
from influxops.reconcile.single.look_up import Place, Step

#: Seconds for which what is known is known, where the ledger does not say so.
CACHE_TTL = 60.0
#: Seconds for which what only the ledger says is known: its server was not there to be asked.
_UNSEEN_TTL = 5.0
#: States in which the ledger has a place for a tenant whose database was not seen.
_RECORDED = (State.ALLOCATED, State.UNCONFIRMED, State.MOVING, State.RETIRING)
#: Seconds that closing waits for what is under way.
_LAST = 2.0

_HOW = {
    Step.THERE: How.KNOWN,
    Step.MADE: How.CREATED,
    Step.UNKNOWN: How.FAILED,
    Step.NEVER: How.FAILED,
}


class Provisioner:
    """Gives tenants their databases, from within an application.

    One a process; all its methods may be called from any thread, and their asynchronous siblings
    from any event loop. Threads and connections are made in the process that first uses it, so it
    may be made before a server forks its workers.

    Args:
        config: The configuration; `from_config` reads it.
        timeout: Seconds that a call may take, whatever servers do.
        full_runs: Seconds between two full runs in the background, the first of which is made at
            the start; None for none, where something else makes them.
        cache_ttl: Seconds for which what is known is known; None for what the ledger's settings
            say.
        kinds: The plugins to choose from; all that are installed when left out.

    Raises:
        ConfigError: When the configuration says what cannot be.
        WrongCall: When one of the others is no number of seconds.
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
            self._rules = Rules(engine)
            ledger = engine.ledger
            said = ledger.settings.cache_ttl if ledger is not None else None
        self._config, self._kinds = config, kinds
        self._timeout, self._full_runs = timeout, full_runs
        if cache_ttl is None:
            cache_ttl = float(parse_duration(said)) if said is not None else CACHE_TTL
        self._ttl = cache_ttl
        self._known = KnownTenants()
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._closed = False
        _made.add(self)

    @classmethod
    def from_config(cls, path: str | Path | None = None, **options: Any) -> Provisioner:
        """Return one for a configuration.

        Args:
            path: The file; None for what the command line would take: `influxops.toml` in this
                folder, else the environment alone.
            **options: What the class takes.

        Raises:
            ConfigError: When the configuration says what cannot be.
            WrongCall: When an option is no number of seconds.
        """
        return cls(load_config(path), **options)

    def __enter__(self) -> Provisioner:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the full runs in the background, as the first call of any kind does.

        Whoever may be restarted after a crash calls it when it starts: what was lost is made then.
        """
        self._started()

    def close(self, timeout: float = _LAST) -> None:
        """End all that is under way; what was not made is made by the next full run.

        Args:
            timeout: Seconds that what is under way still gets.
        """
        with self._lock:
            self._closed, parts = True, self._parts
        if parts is not None:
            until = time.monotonic() + timeout
            if parts.works.hindrance() is None:
                parts.background.wait((), timeout)
                parts.works.finisher.flush(until - time.monotonic())
            for tenant in parts.background.pending:
                parts.works.note(tenant)
            if parts.works.notes is not None:
                parts.works.notes.flush(until - time.monotonic())
            parts.close()

    # One tenant ------------------------------------------------------------------------------

    def ensure(
        self,
        tenant_id: str,
        *,
        retention: str | None = None,
        target: str | None = None,
        connection: Any = None,
    ) -> Ensured:
        """See to it that a tenant has its database.

        Args:
            tenant_id: Its id, which a source knows: it is committed.
            retention: The retention period that its database is made with (`30d`), where it is
                made; later runs go by what the source and the configuration say.
            target: The only target that it may be made on.
            connection: A psycopg connection with the transaction that makes the tenant. Then
                nothing is made now: the ledger notes in this transaction that it is wanted. What
                was noted counts once the application has committed it.

        Returns:
            Where it is, or why it is not there; it never takes longer than the timeout.

        Raises:
            WrongCall: When no database can have this id, or there is no such target.
            TransactionLost: When the connection is closed or broken, or its transaction has
                failed: nothing of that transaction is stored.
        """
        _check_usable(connection)
        found = self._quick(tenant_id, retention, target)
        if found is not None:
            return found
        asked = Asked(tenant_id, retention, target)
        if connection is not None:
            noted = self._want(asked, connection)
            if noted is None or isinstance(noted, str):
                return self._wanted(asked, noted)
            noted.close()
            raise WrongCall("an asynchronous connection needs `await aensure(…)`")
        began = time.monotonic()
        future = self._submit(asked)
        if isinstance(future, Ensured):
            return future
        try:
            place = future.result(max(self._timeout - (time.monotonic() - began), 0.0))
        except TimeoutError:
            return self._late(asked)
        return self._answer(asked, place)

    async def aensure(
        self,
        tenant_id: str,
        *,
        retention: str | None = None,
        target: str | None = None,
        connection: Any = None,
    ) -> Ensured:
        """Do what `ensure` does without keeping the event loop; its connection may be asynchronous.

        Raises:
            WrongCall: When no database can have this id, or there is no such target.
            TransactionLost: When the connection is closed or broken, or its transaction has
                failed: nothing of that transaction is stored.
        """
        _check_usable(connection)
        found = self._quick(tenant_id, retention, target)
        if found is not None:
            return found
        asked = Asked(tenant_id, retention, target)
        if connection is not None:
            noted = self._want(asked, connection)
            if noted is not None and not isinstance(noted, str):
                try:
                    noted = await noted
                except TransactionLost:
                    raise
                except InfluxopsError as error:
                    noted = error.message
                except Exception as error:
                    noted = repr(error)
            return self._wanted(asked, noted)
        future = self._submit(asked)
        if isinstance(future, Ensured):
            return future
        try:
            place = await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        except TimeoutError:
            return self._late(asked)
        return self._answer(asked, place)

    def ensure_many(
        self,
        tenant_ids: Iterable[str],
        *,
        retention: str | None = None,
        target: str | None = None,
        timeout: float | None = None,
    ) -> list[Ensured]:
        """See to it that tenants have their databases, all at once.

        Args:
            tenant_ids: Their ids.
            retention: As `ensure` takes it.
            target: As `ensure` takes it.
            timeout: Seconds that all of it may take; None for the timeout.

        Returns:
            What `ensure` would return for each, in their order.

        Raises:
            WrongCall: When one of them can have no database; nothing was done then.
        """
        if isinstance(tenant_ids, str) or not isinstance(tenant_ids, Iterable):
            raise WrongCall(f"several ids are needed, not one {type(tenant_ids).__name__}")
        ids = [self._rules.check(id_, retention, target) for id_ in tenant_ids]
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        started: list[tuple[Asked, Ensured | Future[Place]]] = []
        for id_ in ids:
            asked = Asked(id_, retention, target)
            found = self._quick(id_, retention, target)
            started.append((asked, self._submit(asked) if found is None else found))
        ended = []
        for asked, each in started:
            if isinstance(each, Ensured):
                ended.append(each)
                continue
            try:
                place = each.result(max(until - time.monotonic(), 0.0))
            except TimeoutError:
                ended.append(self._late(asked))
            else:
                ended.append(self._answer(asked, place))
        return ended

    def request(self, tenant_id: str) -> bool:
        """Ask for a tenant's database without any wait: no I/O, and nothing is raised.

        Args:
            tenant_id: Its id; it may be committed a little later.

        Returns:
            Whether it was taken; it is not where no database can have this id.
        """
        try:
            if self._known.get(tenant_id) is not None:
                return True
            self._rules.check(tenant_id)
            if self._closed:
                return False
            self._started().background.add(Asked(tenant_id))
        except Exception:
            return False
        return True

    def wait(self, *tenant_ids: str, timeout: float | None = None) -> bool:
        """Wait until tenants that were requested, or all of them, wait no more.

        Args:
            *tenant_ids: Their ids; none for all.
            timeout: Seconds; None for no limit.

        Returns:
            Whether none of them waits any more; `ensure` tells what became of one.
        """
        return self._started().background.wait(tenant_ids, timeout)

    async def await_(self, *tenant_ids: str, timeout: float | None = None) -> bool:
        """Do what `wait` does without keeping the event loop."""
        return await asyncio.to_thread(self.wait, *tenant_ids, timeout=timeout)

    def health(self) -> dict[str, Any]:
        """Tell how it is, without asking anybody.

        Returns:
            `pending` (how many tenants wait), `oldest` (for how many seconds the oldest does;
            null without any), `last_error` (why the last try failed; null without any), and
            `trouble` (what is wrong with each server that cannot be asked now, by its section).
        """
        parts = self._parts
        if parts is None:
            return {"pending": 0, "oldest": None, "last_error": None, "trouble": {}}
        pending = parts.background.pending
        oldest = min(pending.values(), default=None)
        return {
            "pending": len(pending),
            "oldest": None if oldest is None else time.monotonic() - oldest,
            "last_error": parts.background.last_error or (parts.runs and parts.runs.error) or None,
            "trouble": {c.name: c.reason for c in parts.works.circuits.values() if c.is_open},
        }

    # Looking only ----------------------------------------------------------------------------

    def where(self, tenant_id: str) -> Ensured:
        """Tell where a tenant's database is, and make nothing.

        Args:
            tenant_id: Its id.

        Returns:
            Where it is; or, where it is not there, why, and where a place for it is recorded.

        Raises:
            WrongCall: When no database can have this id.
        """
        known = self._known.get(self._rules.check(tenant_id))
        if known is not None:
            return known
        began = time.monotonic()
        place = self._look(tenant_id)
        if place.step is Step.THERE:
            self._remember(place, began)
        elif place.step is Step.MAKE:
            place = replace(place, reason="it is not there yet")
        return self._ensured(place)

    def check(self, tenant_id: str, *, timeout: float = 10.0) -> dict[str, Any]:
        """Tell whether a tenant's database is there, and how much telemetry is in it.

        Args:
            tenant_id: Its id.
            timeout: Seconds that it may take.

        Returns:
            `exists`, `telemetry_count` (the rows of the table `telemetry`), `rows` of all tables,
            `tables` (each with `name`, `rows`, `at_most` and `last_write`) and `last_write`; or
            `{"exists": None, "error": "…"}` where nobody can know. None is what is not known, and
            `error` says why.

        Raises:
            WrongCall: When no database can have this id.
        """
        from influxops.provisioner.database_check import check

        self._rules.check(tenant_id)
        if self._closed:
            return {"exists": None, "error": "the Provisioner is closed"}
        return check(self._started().works, tenant_id, timeout)

    async def awhere(self, tenant_id: str) -> Ensured:
        """Do what `where` does without keeping the event loop."""
        return await asyncio.to_thread(self.where, tenant_id)

    async def acheck(self, tenant_id: str, *, timeout: float = 10.0) -> dict[str, Any]:
        """Do what `check` does without keeping the event loop."""
        return await asyncio.to_thread(self.check, tenant_id, timeout=timeout)

    # How -------------------------------------------------------------------------------------

    def _quick(self, tenant_id: str, retention: str | None, target: str | None) -> Ensured | None:
        """Return what is known already."""
        if target is None and retention is None and isinstance(tenant_id, str):
            known = self._known.get(tenant_id)
            if known is not None:
                return known
        self._rules.check(tenant_id, retention, target)
        return self._known.get(tenant_id)

    def _submit(self, asked: Asked) -> Ensured | Future[Place]:
        if self._closed:
            return self._queued(asked, "the Provisioner is closed; a full run makes it")
        parts = self._started()
        hindrance = parts.works.hindrance()
        if hindrance is not None:
            parts.background.add(asked)
            return self._queued(asked, f"{hindrance.name}: {hindrance.reason}")
        return parts.works.submit(asked)

    def _late(self, asked: Asked) -> Ensured:
        """Return what there is to say of a tenant whose making takes longer than the timeout."""
        parts = self._started()
        parts.background.add(asked)
        hindrance = parts.works.hindrance()
        why = f"not within {self._timeout:g} s; it goes on in the background"
        return self._queued(asked, f"{hindrance.name}: {hindrance.reason}" if hindrance else why)

    def _answer(self, asked: Asked, place: Place) -> Ensured:
        if place.step in (Step.WAIT, Step.BUSY, Step.MAKE):
            self._started().background.add(asked)
        return self._ensured(place)

    def _want(self, asked: Asked, connection: Any) -> Any:
        """Note a tenant in the ledger; return what is to be awaited, or why it was not noted.

        Raises:
            TransactionLost: When nothing of the connection's transaction can be stored.
        """
        if self._closed:
            return "the Provisioner is closed"
        try:
            with self._started().works.engines.borrow() as (engine, run):
                ledger = engine.ledger
                if ledger is None or not ledger.implements("influxops_enqueue"):
                    return "there is no ledger that could note it"
                return ledger.enqueue([asked.tenant], connection, run.limited(self._timeout))
        except TransactionLost:
            raise
        except InfluxopsError as error:
            return error.message
        except Exception as error:
            return repr(error)

    def _wanted(self, asked: Asked, failure: str | None) -> Ensured:
        if not self._closed:
            self._started().background.add(asked)
        if failure is None:
            return self._queued(asked, "noted in the ledger, with the transaction")
        return self._queued(asked, f"{failure}; a full run makes it once it is committed")

    def _queued(self, asked: Asked, reason: str) -> Ensured:
        return Ensured(asked.tenant, How.QUEUED, self._rules.name(asked.tenant), reason=reason)

    def _look(self, tenant: str) -> Place:
        if self._closed:
            return Place(tenant, Step.WAIT, reason="the Provisioner is closed")
        works = self._started().works
        hindrance = works.hindrance()
        if hindrance is not None:
            return Place(tenant, Step.WAIT, reason=f"{hindrance.name}: {hindrance.reason}")
        try:
            with works.engines.borrow() as (engine, run):
                context = run.limited(self._timeout)
                asked = {tenant: Asked(tenant)}
                known = Known(used=dict.fromkeys(self._rules.urls, 0))
                return engine.single.look_up(asked, context, known, verify=True).places[tenant]
        except InfluxopsError as error:
            return Place(tenant, Step.WAIT, reason=error.message)

    def _ensured(self, place: Place) -> Ensured:
        target = _target(place)
        return Ensured(
            place.tenant,
            _HOW.get(place.step, How.QUEUED),
            place.database or self._rules.name(place.tenant),
            target,
            self._rules.urls.get(target or "", ""),
            place.reason,
        )

    def _remember(self, place: Place, began: float) -> None:
        if place.step not in (Step.THERE, Step.MADE):
            return
        ttl = min(self._ttl, _UNSEEN_TTL) if place.reason else self._ttl
        known = replace(self._ensured(place), how=How.KNOWN)
        self._known.add(known, began + ttl)

    def _started(self) -> Parts:
        parts = self._parts
        if parts is not None:
            return parts
        with self._lock:
            if self._parts is None:
                self._parts = Parts(
                    self._config,
                    self._kinds,
                    self._rules,
                    self._timeout,
                    self._full_runs,
                    self._known,
                    self._remember,
                )
            return self._parts

    def _forget_parent(self) -> None:
        """Let go, in a process that was forked, of what is the other one's."""
        self._lock = threading.Lock()
        self._parts = None


def _target(place: Place) -> str | None:
    """Return the target that holds a tenant's database, or that the ledger has for it.

    What planning would choose is none: another target may be chosen when it comes to it, and a
    server makes a database for any client that writes.
    """
    if place.step in (Step.THERE, Step.MADE):
        return place.target
    found = place.record
    if found is None or found.state not in _RECORDED or place.step is Step.NEVER:
        return None
    return found.target if place.target in (None, found.target) else None


def _check_usable(connection: Any) -> None:
    """Refuse a connection that can commit nothing, whatever is known of the tenant.

    Raises:
        TransactionLost: When it is known to be closed, or its transaction has failed, whose COMMIT
            psycopg would take for one that succeeded.
    """
    status = getattr(getattr(connection, "info", None), "transaction_status", None)
    if getattr(connection, "closed", False):
        what = "connection is closed or broken"
    elif getattr(status, "name", "") == "INERROR":
        what = "transaction has failed"
    else:
        return
    raise TransactionLost(
        f"the application's {what}, and nothing of its transaction is stored",
        hint="begin the transaction again, on a new connection",
    )


#: All that were made in this process, for its children.
_made: weakref.WeakSet[Provisioner] = weakref.WeakSet()


def _after_fork() -> None:
    for each in [*_made]:
        each._forget_parent()


os.register_at_fork(after_in_child=_after_fork)
