"""Completes, in batches, databases that were created for callers that waited."""

from __future__ import annotations

import time
from collections import defaultdict

from msgspec.structs import replace

from influxops.domain.database import Database
from influxops.domain.plan import ChangeResult, TenantPlan
from influxops.domain.text import pluralize
from influxops.engine.creation import complete_databases
from influxops.errors import InfluxopsError
from influxops.provisioner.circuit_breaker import Circuits
from influxops.provisioner.engine_pool import Engines, log
from influxops.runtime.batch_worker import BatchWorker

#: Seconds that the first one waits for others; writing takes up to a second more.
_COLLECTING = 0.25
#: Seconds that one batch may take.
_PATIENCE = 15.0
#: Seconds before another try, and how many there are: full runs complete what is left.
_AGAIN, _MOST_TRIES = 2.0, 5

_Job = tuple[TenantPlan, int]  # with the failed attempts


class Finisher(BatchWorker[_Job]):
    """A thread that completes what it is given."""

    def __init__(self, engines: Engines, circuits: Circuits) -> None:
        self._engines, self._circuits = engines, circuits
        super().__init__(
            "influxops-finisher", self._complete_all, self._break, longest_wait=_COLLECTING
        )

    def add(self, plan: TenantPlan) -> None:
        """Take one more; never waits."""
        self.submit((plan, 0))

    def _complete_all(self, batch: list[_Job]) -> None:
        by_target: defaultdict[str, dict[str, _Job]] = defaultdict(dict)
        for plan, tries in batch:
            by_target[plan.target or ""][plan.database] = plan, tries
        for target, jobs in by_target.items():
            if f"target:{target}" in self._circuits.open:
                left = [*jobs.values()]
            else:
                left = self._complete(target, jobs)
            for plan, tries in left:
                # Its server may be replaced until then by one that does not have it.
                there = replace(plan, before=Database())
                self.submit((there, tries), _AGAIN)

    def _break(self, batch: list[_Job], error: Exception) -> None:
        log.error("databases could not be completed, a full run completes them", exc_info=error)

    def _complete(self, target: str, jobs: dict[str, _Job]) -> list[_Job]:
        """Complete databases of one target; return those that are to be tried again."""
        began, why = time.monotonic(), ""
        left = {name: (plan, tries + 1) for name, (plan, tries) in jobs.items()}
        try:
            with self._engines.borrow() as (engine, run):
                handle, plans = engine.target(target), [plan for plan, _ in jobs.values()]
                outcomes = complete_databases(
                    plans, handle, engine.request, run.with_timeout(_PATIENCE)
                )
            for outcome in outcomes:
                if outcome.status is ChangeResult.DONE:
                    del left[outcome.change.database]
                else:
                    why = why or outcome.message
        except InfluxopsError as error:
            why = error.message
        given_up = sum(tries >= _MOST_TRIES for _, tries in left.values())
        if given_up:
            databases = pluralize(given_up, "database")
            log.warning(
                "%s: not complete yet, a full run completes them: %s: %s", target, databases, why
            )
        number = len(jobs) - len(left)
        log.debug("%s: %d completed in %.2f s", target, number, time.monotonic() - began)
        return [job for job in left.values() if job[1] < _MOST_TRIES]
