"""What works for a Provisioner in one process: threads and connections, which no fork inherits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from influxops.config.load import Config
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner.cache import KnownTenants
from influxops.provisioner.periodic_reconcile import Runs
from influxops.provisioner.pipeline import Works
from influxops.provisioner.retry_queue import Background
from influxops.provisioner.validation import Rules
from influxops.reconcile.single.look_up import Place


class Parts:
    """What works for one process.

    Args:
        config: The configuration.
        kinds: The plugins to choose from; None for all that are installed.
        rules: What can be said of a call without asking anybody.
        timeout: Seconds that a call may take.
        full_runs: Seconds between two full runs; None for none.
        known: What is known of tenants.
        remember: Called with a tenant as it stands, and since when that holds.
    """

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, PluginType] | None,
        rules: Rules,
        timeout: float,
        full_runs: float | None,
        known: KnownTenants,
        remember: Callable[[Place, float], None],
    ) -> None:
        self.works = Works(config, kinds, rules, timeout, remember, self._kick)
        self.background = Background(self.works, lambda tenant: known.get(tenant) is not None)
        self.runs: Runs | None = None
        if full_runs is not None:
            engines, stopping = self.works.engines, self.works.stopping
            self.runs = Runs(engines, full_runs, float(config.timeout), stopping, self._kick)
            self.runs.start()

    def _kick(self) -> None:
        self.background.kick()

    def close(self) -> None:
        """End all that is under way."""
        self.works.close()
        self.background.close()
