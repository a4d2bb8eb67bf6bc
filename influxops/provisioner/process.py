"""What a Provisioner has in one process: threads and connections, which no fork inherits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from influxops.config.load import Config
from influxops.domain.plan import TenantPlan
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner.periodic_reconcile import Runs
from influxops.provisioner.pipeline import Works
from influxops.provisioner.results import LocationCache, ProvisionerHealth
from influxops.provisioner.retry_queue import Background
from influxops.provisioner.validation import CallValidator


class Process:
    """The threads and connections of one process."""

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, PluginType] | None,
        validator: CallValidator,
        timeout: float,
        full_runs: float | None,
        cache: LocationCache,
        on_settled: Callable[[TenantPlan, float], None],
    ) -> None:
        self.works = Works(
            config, kinds, validator, timeout, on_settled, lambda: self.background.kick()
        )
        self.background = Background(self.works, lambda tenant: cache.get(tenant) is not None)
        self.runs: Runs | None = None
        if full_runs is not None:
            engines, stopping = self.works.engines, self.works.stopping
            limit = float(config.timeout)
            self.runs = Runs(engines, full_runs, limit, stopping, self.background.kick)
            self.runs.start()

    def close(self, timeout: float) -> None:
        """End all that is under way; the ledger gets what is not done within so many seconds."""
        works, background = self.works, self.background
        until = time.monotonic() + timeout
        if not works.hindrance():
            background.wait((), timeout)
            works.finisher.drain(until - time.monotonic())
        for tenant in background.pending:
            works.note(tenant)
        if works.notes is not None:
            works.notes.flush(until - time.monotonic())
        works.close()
        background.stop()

    def health(self) -> ProvisionerHealth:
        """Tell how it is, without asking any server."""
        pending = self.background.pending
        oldest = min(pending.values(), default=None)
        return ProvisionerHealth(
            len(pending),
            None if oldest is None else time.monotonic() - oldest,
            self.background.last_error or (self.runs.error if self.runs else ""),
            self.works.circuits.open,
        )
