"""Reading what is: all sources and all targets at once, one's failure its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from influxops.errors import ConfigError, InfluxopsError, Interrupted, TargetRefused
from influxops.model import Database, Finding, Inventory, Severity, Tenant, Unknown
from influxops.naming import nearest, printable
from influxops.plugins import PluginHost
from influxops.report import SourceState, TargetState
from influxops.rules import Facts, Rules, place
from influxops.run import Run
from influxops.secrets import Redactor
from influxops.sections import Resolved
from influxops.settings import TargetSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Collected:
    """What was read, and how that went.

    Args:
        facts: For planning.
        sources: How each source was found.
        targets: How each target was found.
        findings: What was noticed.
    """

    facts: Facts
    sources: tuple[SourceState, ...]
    targets: tuple[TargetState, ...]
    findings: tuple[Finding, ...]


class Collector:
    """Reads sources and targets.

    Args:
        host: The plugins' instances.
        resolved: The sections.
        rules: What the configuration says of planning.
        redact: Takes secrets out of foreign text.
    """

    def __init__(
        self, host: PluginHost, resolved: Sequence[Resolved], rules: Rules, redact: Redactor
    ) -> None:
        self._host = host
        self._sources = [item for item in resolved if item.section.role == "sources"]
        self._targets = [item for item in resolved if item.section.role == "targets"]
        self._rules = rules
        self._redact = redact

    def read(self, run: Run) -> Collected:
        """Read everything.

        Raises:
            Interrupted: When the run was ended.
            ConfigError: When two targets are one server, or the scope names what is not there.
        """
        run.on_stage("reading", len(self._sources) + len(self._targets))
        tasks: list[Callable[[], object]] = [
            *(partial(self._read_source, item, run) for item in self._sources),
            *(partial(self._read_target, item, run) for item in self._targets),
        ]
        results = in_parallel(tasks)
        read_sources = [r for r in results if isinstance(r, _ReadSource)]
        read_targets = [r for r in results if isinstance(r, _ReadTarget)]
        return self._put_together(read_sources, read_targets, run)

    def read_again(self, names: Iterable[str], run: Run) -> dict[str, Inventory | InfluxopsError]:
        """Read some targets once more, after changes.

        Args:
            names: The targets.
            run: The run.

        Returns:
            What each holds, or why that cannot be told.
        """
        chosen = set(names)
        items = [item for item in self._targets if item.section.name in chosen]
        results = in_parallel([partial(self._try_target, item, run) for item in items])
        return {item.section.name: found for item, found in zip(items, results, strict=True)}

    def _try_target(self, item: Resolved, run: Run) -> Inventory | InfluxopsError:
        try:
            read = self._read_target(item, run)
        except Interrupted as error:
            return error
        return read.failure() if read.inventory is None else read.inventory

    def _put_together(
        self, sources: list[_ReadSource], targets: list[_ReadTarget], run: Run
    ) -> Collected:
        complete = all(not source.state.error for source in sources)
        facts = Facts(
            tenants=self._merged(sources, complete=complete),
            inventories={t.state.name: t.inventory for t in targets if t.inventory is not None},
            sources_complete=complete,
        )
        findings = [f for source in sources for f in _scoped(source, run)]
        findings += [finding for target in targets for finding in target.findings]
        if complete and not facts.tenants:
            subjects = [self._subject(item) for item in self._sources]
            findings.append(
                Finding(
                    "no-tenants",
                    Severity.INFO,
                    f"No tenants found in {', '.join(subjects)}",
                    "is this the right registry?",
                )
            )
        refuse_one_server_twice(facts.inventories)
        _refuse_unknown_scope(facts, self._rules, run)
        return Collected(
            facts,
            tuple(source.state for source in sources),
            tuple(target.state for target in targets),
            tuple(findings),
        )

    def _merged(self, sources: list[_ReadSource], *, complete: bool) -> list[Tenant]:
        """Give all tenants; those of supplementing sources join the others' by their ids."""
        supplementing = {i.section.name for i in self._sources if i.section.supplements}
        tenants = [t for s in sources if s.state.name not in supplementing for t in s.tenants]
        extra = [t for s in sources if s.state.name in supplementing for t in s.tenants]
        if not complete:
            # What the source that failed says of them is not known, so nothing is.
            return tenants
        overrides = {tenant.id: tenant.attributes for tenant in extra}
        known = {tenant.id for tenant in tenants}
        merged = [
            replace(t, attributes={**t.attributes, **overrides.get(t.id, {})}) for t in tenants
        ]
        return [*merged, *(tenant for tenant in extra if tenant.id not in known)]

    @staticmethod
    def _subject(item: Resolved) -> str:
        location = item.location
        return (location.subject or location.text) if location else item.section.name

    def _read_source(self, item: Resolved, run: Run) -> _ReadSource:
        name, location = item.section.name, item.location
        state = SourceState(name, item.section.kind, location.text if location else "")
        tenants: list[Tenant] = []
        findings: list[Finding] = []
        try:
            with self._host.guard(item.name, self._redact):
                for found in self._host.call(item.name, "influxops_tenants", run=run):
                    if isinstance(found, Finding):
                        findings.append(found)
                    elif not isinstance(found, Tenant) or not isinstance(found.id, str):
                        raise TypeError(f"it gave {type(found).__name__}, not a Tenant")
                    elif not found.id.strip():
                        findings.append(
                            Finding(
                                "empty-id",
                                Severity.ERROR,
                                f"source {name} gave a tenant without an id",
                                "give it one, or leave it out",
                            )
                        )
                    else:
                        tenants.append(_checked_tenant(found, name))
        except Interrupted:
            raise
        except InfluxopsError as error:
            run.log.debug("source %s failed", name, exc_info=True)
            reason = self._redact(error.message)
            findings.append(
                Finding("failed-source", Severity.ERROR, f"source {name}: {reason}", error.hint)
            )
            return _ReadSource(replace(state, error=reason), [], findings)
        finally:
            run.on_progress(1)
        return _ReadSource(replace(state, tenants=len(tenants)), tenants, findings)

    def _read_target(self, item: Resolved, run: Run) -> _ReadTarget:
        name, location, settings = item.section.name, item.location, item.settings
        assert isinstance(settings, TargetSettings)
        state = TargetState(
            name,
            item.section.kind,
            location.text if location else "",
            reachable=False,
            state=settings.state,
        )
        try:
            with self._host.guard(item.name, self._redact):
                inventory = _checked_inventory(
                    self._host.call(item.name, "influxops_inventory", run=run)
                )
        except Interrupted:
            raise
        except InfluxopsError as error:
            run.log.debug("target %s failed", name, exc_info=True)
            kind = "refused" if isinstance(error, TargetRefused) else "unreachable"
            return self._cannot_read(state, kind, self._redact(error.message), error.hint)
        finally:
            run.on_progress(1)
        wanted = settings.cluster_uuid
        if wanted is not None and inventory.cluster_uuid != wanted:
            return self._cannot_read(
                replace(state, cluster_uuid=inventory.cluster_uuid),
                "wrong-server",
                f"{state.url} is another server than configured: its cluster-uuid is "
                f"{inventory.cluster_uuid}, not {wanted}",
                "check where the URL leads; set the target's cluster_uuid if the server was "
                "really replaced",
            )
        return _ReadTarget(self.state_of(state, inventory), inventory, list(inventory.findings))

    def state_of(self, state: TargetState, inventory: Inventory) -> TargetState:
        """Bring a target's state up to what it holds."""
        room = place(state.name, self._rules.targets[state.name], inventory)
        return replace(
            state,
            reachable=True,
            edition=inventory.edition,
            version=inventory.version,
            cluster_uuid=inventory.cluster_uuid,
            databases=len(inventory.databases),
            capacity=room.capacity,
            capacity_is_estimate=room.estimated,
        )

    @staticmethod
    def _cannot_read(state: TargetState, kind: str, message: str, hint: str) -> _ReadTarget:
        finding = Finding(
            kind, Severity.ERROR, f"target {state.name}: {message}", hint, target=state.name
        )
        return _ReadTarget(replace(state, error=message), None, [finding])


@dataclass(frozen=True, slots=True)
class _ReadSource:
    state: SourceState
    tenants: list[Tenant]
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class _ReadTarget:
    state: TargetState
    inventory: Inventory | None
    findings: list[Finding]

    def failure(self) -> InfluxopsError:
        finding = self.findings[-1]
        return InfluxopsError(finding.message, hint=finding.hint)


def _checked_tenant(tenant: Tenant, source: str) -> Tenant:
    """Name a tenant's source, and make text of what its attributes hold."""
    attributes = {
        str(name): str(value) for name, value in tenant.attributes.items() if value is not None
    }
    return replace(tenant, attributes=attributes, source=source)


def _checked_inventory(inventory: object) -> Inventory:
    """Refuse what is no inventory, before planning believes it.

    Raises:
        TypeError: When it is none; the guard makes the plugin's own failure of it.
    """
    if not isinstance(inventory, Inventory):
        raise TypeError(f"it gave {type(inventory).__name__}, not an Inventory")
    for name, database in inventory.databases.items():
        if not isinstance(database, Database):
            raise TypeError(f"{name!r} is {type(database).__name__}, not a Database")
        if not isinstance(database.retention, int | None | Unknown):
            raise TypeError(f"the retention of {name!r} is {type(database.retention).__name__}")
    return inventory


def in_parallel(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run tasks in a thread each, and give their results in order.

    Args:
        tasks: What to run; the first exception is raised after all have ended.
    """
    if len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="influxops") as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def _scoped(source: _ReadSource, run: Run) -> Iterable[Finding]:
    """Keep a fault elsewhere in the registry from failing a run for some of its tenants."""
    elsewhere = run.scope.tenants and not run.scope.tenants.issuperset(
        tenant.id for tenant in source.tenants
    )
    for finding in source.findings:
        if elsewhere and finding.kind != "failed-source" and finding.severity is Severity.ERROR:
            yield replace(finding, severity=Severity.WARNING)
        else:
            yield finding


def refuse_one_server_twice(inventories: Mapping[str, Inventory]) -> None:
    """Refuse two targets that lead to one server, where one tenant could be placed twice.

    Raises:
        ConfigError: When two answer with one cluster-uuid.
    """
    by_uuid: dict[str, str] = {}
    for name, inventory in inventories.items():
        if inventory.cluster_uuid is None:
            continue
        first = by_uuid.setdefault(inventory.cluster_uuid, name)
        if first != name:
            raise ConfigError(
                f"the targets {first} and {name} are one server: both answer with the "
                f"cluster-uuid {inventory.cluster_uuid}",
                hint="mend the URL of one of them, or remove it",
            )


def _refuse_unknown_scope(facts: Facts, rules: Rules, run: Run) -> None:
    for target in run.scope.targets:
        if target not in rules.targets:
            raise ConfigError(
                f"no target is called {printable(target)}",
                hint=nearest(target, rules.targets) or f"targets: {', '.join(rules.targets)}",
            )
    known = {tenant.id for tenant in facts.tenants}
    for tenant in sorted(run.scope.tenants - known):
        if facts.sources_complete:
            raise ConfigError(
                f"no source knows the tenant {printable(tenant)}",
                hint=nearest(tenant, known) or "add it to the registry first",
            )
