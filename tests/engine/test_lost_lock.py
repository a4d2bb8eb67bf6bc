"""A run that loses its lock, and is interrupted: what it did is reported all the same."""

from __future__ import annotations

import threading

from influxops.domain.plan import TenantStatus
from influxops.runtime.context import RunContext
from tests.bench import Bench


def test_an_interrupted_run_that_lost_its_lock_reports_what_it_did(bench: Bench) -> None:
    bench.targets = ("eu1", "eu2")
    bench.tenants("a", "b")
    bench.world.lock = "breaks"
    context, answers = RunContext(), threading.Event()
    eu1, eu2 = bench.server("eu1"), bench.server("eu2")
    eu1.cancels_after = 1
    # Where duplicates are looked for, a target answers too late for somebody who waits.
    eu2.before_reading = lambda hook: eu2.reads >= 1 and answers.wait(2.5)
    report = bench.run(context=context)
    assert TenantStatus.CHANGED in {tenant.status for tenant in report.tenants}
    assert len(bench.world.reports) == 1
