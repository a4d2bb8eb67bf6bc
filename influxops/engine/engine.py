"""The engine: one configuration's plugins, and what can be done with them."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.config.load import ROLE_NAMES, Config, Section
from influxops.config.secrets import Redactor
from influxops.constants import CHECK_GROUP
from influxops.domain.database import DatabaseStats
from influxops.domain.finding import Check, Finding, FindingKind
from influxops.domain.plan import TenantPlan
from influxops.engine.routes import EngineRoutes
from influxops.errors import ConfigError, ExitCode, Interrupted
from influxops.plugin_host.base import Handle, ResolvedSection, manager
from influxops.plugin_host.discovery import PluginType, installed, outdated
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.plugin_files import all_kinds
from influxops.plugin_host.reporter import ReporterHandle, failed_reporter
from influxops.plugin_host.resolve import resolve, resolve_section
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.guards import validate_guard_names
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.observe.stale_ledger import stale_ledger
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.contents import stats_of
from influxops.reconcile.plan.desired import with_desired
from influxops.reconcile.plan.ensure import Ensure
from influxops.reconcile.policy import Rules, TargetPolicy
from influxops.reconcile.request import RunRequest
from influxops.reconcile.result import conclude
from influxops.reconcile.run import NO_LEDGER, reconcile
from influxops.reconcile.state import RunState
from influxops.report.model import (
    LedgerState,
    Report,
    RunOrigin,
    RunStart,
    SourceState,
    TargetState,
)
from influxops.runtime.context import RunContext


class Engine:
    """Runs the hooks of one configuration's plugins, those of `kinds` or all that are installed.

    Further `reporters` come first; the command line's own output is one.
    """

    def __init__(
        self,
        config: Config,
        *,
        kinds: Mapping[str, PluginType] | None = None,
        reporters: Sequence[Section] = (),
    ) -> None:
        kinds = all_kinds(config, installed() if kinds is None else kinds)
        self.config = config
        configured = resolve(config, kinds)
        resolved = [*(resolve_section(section, kinds) for section in reporters), *configured]
        #: Why a section cannot be used: its secret is not there. Others go on without it.
        self._missing: dict[str, ConfigError] = {}
        self.redact = self._reveal(resolved)
        hooks = manager()
        self.sources: list[SourceHandle] = []
        self.targets: list[TargetHandle] = []
        self.reporters: list[ReporterHandle] = []
        self.ledger: LedgerHandle | None = None  # None where none is configured
        self._own = {section.full_name for section in reporters}
        for each in resolved:
            missing = self._missing.get(each.name)
            match each.section.role:
                case "sources":
                    self.sources.append(SourceHandle(each, hooks, self.redact, missing))
                case "targets":
                    self.targets.append(TargetHandle(each, hooks, self.redact, missing))
                case "ledger":
                    self.ledger = LedgerHandle(each, hooks, self.redact, missing)
                case "reporters":
                    handle = ReporterHandle(each, hooks, self.redact, missing)
                    handle.is_own = each.name in self._own
                    self.reporters.append(handle)
        self.routes = EngineRoutes(
            self.needs_ledger, self.targets, self.reporters, config.template.name
        )
        self._outdated = [*_outdated(resolved)]
        self.rules = _rules(config, self.targets, self.ledger)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all connections."""
        for handle in self._handles:
            handle.close()

    def run(
        self,
        operation: Operation,
        context: RunContext,
        *,
        allow: Iterable[str] = (),
        tell: bool = True,
        operator: str = "",
        apply: str = "",
    ) -> Report:
        """Run an operation: a dry run plans it, any other also carries the plan out.

        What failed is in the report, which reporters have, too, if the run was to `tell` them; a
        wrong request and a lock that is held are raised before anything is written. The `operator`
        is who asked for it, where that is not who runs this process, and `apply` the command line
        that makes what a dry run finds, for the report to name.
        """
        if operation.needs_ledger:
            self.needs_ledger(operation.without_ledger)
        allow = validate_guard_names(allow)
        origin = replace(self.origin, operator=operator)
        request = replace(
            self.request,
            origin=origin,
            rules=replace(self.rules, recreate=operation.recreate),
            allow=allow,
            tell_start=partial(self._tell_start, context, origin) if tell else lambda *_: (),
            write_routes=partial(self.routes.write, context, allow),
        )
        late = [
            failed_reporter(handle.name, handle.missing.message, handle.missing.remedy)
            for handle in self.reporters
            if handle.missing is not None
        ]
        late += self._outdated
        report, error = reconcile(operation, request, context, origin, late)
        report = replace(report, apply=apply)
        if error is None:
            report = self.tell(report, context, self.reporters) if tell else report
            failures = [] if context.dry_run else self.routes.write(context, allow)
            return replace(report, notes=(*report.notes, *failures)) if failures else report
        # Monitoring must not go on showing the last good run. A mistaken scope is a slip in typing,
        # and the command line itself says what is raised.
        if tell and not context.is_limited:
            others = [each for each in self.reporters if each.full_name not in self._own]
            self.tell(report, context, others)
        raise error

    def needs_ledger(self, why: str = "no ledger is configured") -> LedgerHandle:
        """Return the ledger; raise a ConfigError where there is none, or its secret is missing."""
        if self.ledger is None:
            raise ConfigError(
                why,
                hint='write [ledger] with kind = "postgres" into the configuration, and run '
                "`influxops ledger install` (`influxops docs ledger`)",
            )
        if self.ledger.missing is not None:
            raise self.ledger.missing
        return self.ledger

    @property
    def request(self) -> RunRequest:
        """What its runs work with."""
        return RunRequest(self.sources, self.targets, self.rules, self.origin, ledger=self.ledger)

    def target(self, name: str) -> TargetHandle:
        """Return a target by its name."""
        return next(handle for handle in self.targets if handle.name == name)

    def doctor(self, context: RunContext) -> Iterator[tuple[str, Check]]:
        """Look at everything that a run depends on."""
        for finding in self._outdated:
            yield "plugins", Check("API version", None, finding.sentence, finding.remedy)
        for handle in self._handles:
            if handle.missing is not None:
                missing = handle.missing
                yield handle.full_name, Check("secret", False, missing.message, missing.remedy)
                continue
            for check in handle.checks(context):
                yield handle.full_name, check
        context.check()
        if self.ledger is None:
            yield "ledger", Check("ledger", None, NO_LEDGER.message, NO_LEDGER.remedy)
        yield from self._fleet_checks(context)
        for check in self.routes.checks(self.rules.routing.probes, context):
            yield "routing", check
        for name, kind in installed(CHECK_GROUP).items():
            for check in self._command_checks(kind, context):
                yield name, check

    def _fleet_checks(self, context: RunContext) -> Iterator[tuple[str, Check]]:
        """Look at what all sections together say; their own checks say what is wrong with each."""
        try:
            state = observe(RunState(self.request, context.with_timeout(self.rules.reading)))
        except Interrupted:
            context.check()
            return
        except ConfigError as error:
            yield "targets", Check("servers", False, error.message, error.remedy)
            return
        state = replace(state, context=context)
        if self.ledger is not None:
            for finding in stale_ledger(state, None):
                check = Check("up to date", False, finding.sentence, finding.remedy)
                yield self.ledger.full_name, check
        ensure = Ensure()
        state = ensure.guarded_plan(with_desired(state))
        for note in conclude(state, ensure, self.origin).notes:
            if note.kind is FindingKind.OVER_CAPACITY and note.target is None:
                ok = False if note.facts["without_slot"] else None
                yield "targets", Check("slots", ok, note.message, note.remedy)

    def _command_checks(self, kind: PluginType, context: RunContext) -> Iterator[Check]:
        """Look at what a plugin's command needs."""
        try:
            for point in kind.entry_points:
                yield from point.load()(self, context)
        except (Exception, SystemExit) as error:  # whatever a foreign module raises
            context.check()
            broke = f"the checks of {kind.distribution} broke: {type(error).__name__}: {error}"
            yield Check("checks", False, broke, "install what it needs, or update it")

    def describe(
        self, names: Mapping[str, Sequence[str]], context: RunContext
    ) -> Mapping[tuple[str, str], DatabaseStats]:
        """Tell how much is in databases, named by target; targets that cannot tell are left out."""
        context.on_stage("counting", sum(map(len, names.values())))
        databases = ((target, name) for target, each in names.items() for name in each)
        return stats_of(databases, self.targets, context)

    @property
    def origin(self) -> RunOrigin:
        """Who runs this."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # no such user in a container
            user = "unknown"
        return RunOrigin(user, socket.gethostname(), self.config.path, door=self.config.door)

    @property
    def _handles(self) -> list[Handle]:
        ledger = [self.ledger] if self.ledger is not None else []
        return [*self.sources, *self.targets, *ledger, *self.reporters]

    def _reveal(self, resolved: Iterable[ResolvedSection]) -> Redactor:
        """Read every secret once, to know what must not be shown, and what is missing."""
        values = []
        for each in resolved:
            for secret in each.settings.secrets():
                try:
                    values.append(secret.reveal())
                except ConfigError as error:
                    self._missing.setdefault(each.name, error)
        return Redactor(values)

    def _tell_start(
        self,
        context: RunContext,
        origin: RunOrigin,
        sources: tuple[SourceState, ...],
        targets: tuple[TargetState, ...],
        ledger: LedgerState | None,
    ) -> list[Finding]:
        head = RunStart(context.id, context.dry_run, origin, sources, targets, ledger)
        told = [handle.started(head, context) for handle in self.reporters if not handle.missing]
        return [failure for failure in told if failure is not None]

    def report_failed(self, plans: Iterable[TenantPlan], context: RunContext) -> Report:
        """Report tenants that get no database before something else changes."""
        report = Report(
            run_id=context.id,
            started=context.started,
            seconds=context.seconds,
            dry_run=False,
            origin=self.origin,
            # No targets: of none was all read that it holds.
            ledger=self.ledger.state() if self.ledger is not None else None,
            tenants=tuple(plans),
            exit_code=ExitCode.FAILED,
            is_limited=True,
        )
        return self.tell(report, context, self.reporters)

    def tell(
        self, report: Report, context: RunContext, reporters: Iterable[ReporterHandle]
    ) -> Report:
        """Tell reporters, one after the other, the command line's own output first."""
        context.on_stage("telling", 0)  # what was under way is over, as far as it came
        failures: list[Finding] = []
        for handle in reporters:
            if handle.missing is None:
                failure = handle.report(report, context)
                failures += [failure] if failure is not None else []
        return replace(report, notes=(*report.notes, *failures)) if failures else report


def _outdated(resolved: Iterable[ResolvedSection]) -> Iterator[Finding]:
    """Yield a warning for each section whose plugin was written for older hooks."""
    for each in resolved:
        if older := outdated(each.plugin):
            role = ROLE_NAMES[each.section.role]
            about = {} if role == "ledger" else {role: each.section.name}
            message = f"its plugin ({each.owner}) was {older}"
            yield Finding.warning(FindingKind.NOTE, message, "look for a newer release", **about)


def _rules(config: Config, targets: Iterable[TargetHandle], ledger: LedgerHandle | None) -> Rules:
    return Rules(
        template=config.template,
        retention=config.retention,
        targets={
            handle.name: TargetPolicy(
                handle.settings.capacity,
                handle.settings.state == "draining",
                handle.capabilities,
                handle.resolved.written("capacity")
                if handle.resolved.section.outranks_environment
                else "",
            )
            for handle in targets
        },
        policy=config.placement.policy,
        pins=config.placement.pins,
        routing=config.routing,
        acknowledged=frozenset(config.tenants.ignore),
        reading=config.reading,
        mass_change=ledger.settings.mass_change if ledger is not None else 1.0,
        has_file=config.path is not None
        or not all(section.outranks_environment for section in config.sections),
    )
