"""A Provisioner for the tests of applications: the real one, over a registry and a server here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from influxops.config.load import PROGRAM, Config, PlacementTable, Section, parse_config
from influxops.domain.tenant import Tenant
from influxops.plugin import RunContext, Source, TenantLookup, hookimpl
from influxops.plugin_host.discovery import PluginType
from influxops.provisioner import Provisioner, ProvisionerHealth
from influxops.provisioner.process import Process
from influxops.testing.memory import MemoryTarget, kinds_of


class FakeProvisioner(Provisioner):
    """A Provisioner that needs no registry and no server, and does all that a real one does.

    Its answers come from the same code; only what they are about is in memory, and changed by the
    attributes below. It has one target, the first of the configuration or `default`, no ledger, and
    makes no full runs by itself.

    Args:
        config: For naming, defaults of retention and the target's name; where plugins are, is
            ignored.
        tenants: The ids that the registry has; None where it has whatever is asked for.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        tenants: Iterable[str] | None = None,
        timeout: float = 2.0,
        full_runs: float | None = None,
        cache_ttl: float | None = None,
        kinds: Mapping[str, PluginType] | None = None,
    ) -> None:
        #: The ids in the registry; a test may add some, or remove them.
        self.tenants: set[str] | None = None if tenants is None else {*tenants}
        self._trouble = ""
        fake = self

        class Registry(Source, TenantLookup):
            """Has the tenants of the fake."""

            @hookimpl
            def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
                """Give all."""
                return [Tenant(id_) for id_ in sorted(fake.tenants or ())]

            @hookimpl
            def influxops_get_tenants(
                self, ids: Collection[str], context: RunContext
            ) -> Iterable[Tenant]:
                """Give some."""
                return [Tenant(i) for i in ids if fake.tenants is None or i in fake.tenants]

        self._memory: Any = type("MemoryTarget", (MemoryTarget,), {"servers": {}, "rows": {}})
        config = config or parse_config({})
        self.target = next((each.name for each in config.by_role("targets")), "default")
        sections = (
            Section("sources", "registry", "memory", author=PROGRAM),
            Section("targets", self.target, "memory", author=PROGRAM),
        )
        super().__init__(
            replace(config, sections=sections, placement=PlacementTable(), plugin_files=()),
            timeout=timeout,
            full_runs=None,
            cache_ttl=0.0,  # what a test changes is seen by the next call
            kinds=kinds_of({"sources.memory": Registry, "targets.memory": self._memory}),
        )

    @property
    def databases(self) -> set[str]:
        """The names of the databases that there are."""
        return {*self._memory.servers.get(self.target, {})}

    def drop(self, database: str) -> None:
        """Let a database be gone, as if it was dropped by hand."""
        self._memory.servers[self.target].pop(database)

    def write(self, database: str) -> None:
        """Let a row of telemetry be written to a database, now."""
        self._memory.rows.setdefault(database, []).append(datetime.now(UTC))

    @property
    def trouble(self) -> str:
        """Why its server cannot be asked; while that is said, calls are `queued`.

        Once it is empty again, what waits is made, in the background: `wait` for it.
        """
        return self._trouble

    @trouble.setter
    def trouble(self, reason: str) -> None:
        self._trouble = reason
        if self._process is not None:
            self._process.background.kick()

    def health(self) -> ProvisionerHealth:
        """Tell how it is."""
        trouble = {f"target:{self.target}": self._trouble} if self._trouble else {}
        return replace(super().health(), trouble=trouble)

    def _started(self) -> Process:
        process = super()._started()
        works = process.works
        section = f"target:{self.target}"
        works.hindrance = lambda: self._trouble and f"{section}: {self._trouble}"  # type: ignore[method-assign]
        return process
