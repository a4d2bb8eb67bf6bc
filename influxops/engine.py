"""The engine: collect, plan, guard, apply, re-read, report."""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType

from influxops.attempt import Attempt
from influxops.collect import Collected, Collector, in_parallel, refuse_one_server_twice
from influxops.config import Config, Section
from influxops.errors import (
    ConfigError,
    InfluxopsError,
    Interrupted,
    LockBusy,
    PluginError,
)
from influxops.guards import GUARDS
from influxops.model import (
    Change,
    Check,
    DatabaseStats,
    Finding,
    Inventory,
    Outcome,
    Severity,
    Status,
)
from influxops.naming import nearest
from influxops.plugins import Kind, PluginHost, installed
from influxops.report import Origin, Report, RunHead, TargetState
from influxops.rules import Rules, TargetPolicy
from influxops.run import Run
from influxops.secrets import Redactor
from influxops.sections import Resolved, resolve, resolve_section, secrets
from influxops.settings import TargetSettings

#: Seconds that a run which was ended still has to find out and tell what it did.
_GRACE = 5.0


class Engine:
    """Runs the hooks of one configuration's plugins.

    Args:
        config: The configuration.
        kinds: The plugins to choose from; all that are installed when left out.
        reporters: Further reporters, told last; the CLI's own output is one.
        tolerant: Whether a section whose secret is missing is left out, for `doctor` to tell,
            instead of being refused. Not for runs that write.

    Raises:
        ConfigError: When a section says what cannot be, or a secret is not there.
        PluginError: When a plugin is not there or broken.
    """

    def __init__(
        self,
        config: Config,
        *,
        kinds: Mapping[str, Kind] | None = None,
        reporters: Sequence[Section] = (),
        tolerant: bool = False,
    ) -> None:
        kinds = installed() if kinds is None else kinds
        self.config = config
        self._own = reporters
        self.resolved = resolve(config, kinds)
        self.resolved += [resolve_section(section, kinds) for section in reporters]
        self._late: list[tuple[str, Finding]] = []
        self._tolerant = tolerant
        self.redact = self._reveal()
        self.rules = _rules(config, self.resolved)
        self._host = PluginHost()
        for item in self.resolved:
            with self._guard_construction(item):
                self._host.register(
                    item.name, item.plugin(item.section.name, item.settings), item.kind
                )
        self._collector = Collector(self._host, self.resolved, self.rules, self.redact)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections."""
        for item in self.resolved:
            if self._host.implements(item.name, "influxops_close"):
                with contextlib.suppress(InfluxopsError), self._host.guard(item.name, self.redact):
                    self._host.call(item.name, "influxops_close")

    # A run

    def execute(
        self, run: Run, *, allow: Iterable[str] = (), absent: bool = False, tell: bool = True
    ) -> Report:
        """Make a run: a dry one plans, any other also applies the plan.

        Args:
            run: The run.
            allow: The names of the guards that are overridden.
            absent: Whether the tenants that the scope names are to lose their databases.
            tell: Whether the reporters are told.

        Returns:
            The report, after all reporters were told. What failed is in it.

        Raises:
            ConfigError: When the run asks for what cannot be; nothing was written.
            LockBusy: When another run holds the lock; nothing was written.
        """
        allowed = _known_guards(allow)
        attempt = Attempt(self, run, allowed, absent=absent, tell=tell)
        try:
            # Dropping places nothing.
            with contextlib.nullcontext() if absent else self._lock(run, attempt):
                attempt.make()
        except Interrupted as error:
            attempt.interrupted(error)
        except (ConfigError, LockBusy) as error:
            # Who watches must not go on seeing the last good run. A mistaken scope is a slip of
            # whoever typed it, and the command line itself says what is raised.
            attempt.failed(error)
            if tell and not run.scope:
                self._tell(attempt.report(), run, self._configured)
            raise
        report = attempt.report()
        return self._tell(report, run, self._reporters()) if tell else report

    def doctor(self, run: Run) -> Iterator[tuple[str, Check]]:
        """Look at everything that a run depends on.

        Yields:
            The section's name, and one check.
        """
        for name, finding in self._late:
            yield name, Check("secret", False, finding.message, finding.hint)
        for item in self.resolved:
            if not self._host.implements(item.name, "influxops_check"):
                continue
            try:
                with self._host.guard(item.name, self.redact):
                    for check in self._host.call(item.name, "influxops_check", run=run):
                        yield item.name, check
            except Interrupted:
                raise
            except InfluxopsError as error:
                run.log.debug("%s broke", item.name, exc_info=True)
                yield item.name, Check("check", False, self.redact(error.message), error.hint)
        if len(self.rules.targets) > 1:
            read = self.read_again(self.rules.targets, run)
            try:
                refuse_one_server_twice(
                    {n: found for n, found in read.items() if isinstance(found, Inventory)}
                )
            except ConfigError as error:
                yield "targets", Check("servers", False, error.message, error.hint)

    def describe(
        self, names: Mapping[str, Sequence[str]], run: Run
    ) -> dict[tuple[str, str], DatabaseStats]:
        """Tell how much is in databases.

        Args:
            names: The databases' names, by target.
            run: The run.

        Returns:
            What each holds, by target and name; a target whose plugin cannot tell is left out.
        """

        def one(target: str) -> list[tuple[tuple[str, str], DatabaseStats]]:
            name = f"target:{target}"
            if not self._host.implements(name, "influxops_describe"):
                return []
            found = {}
            reason = "its target did not tell"
            try:
                with self._host.guard(name, self.redact):
                    for stats in self._host.call(
                        name, "influxops_describe", names=list(names[target]), run=run
                    ):
                        found[target, stats.name] = stats
                        run.on_progress(1)
            except InfluxopsError as error:
                run.log.debug("%s broke", name, exc_info=True)
                reason = self.redact(error.message)
            for missing in names[target]:
                found.setdefault((target, missing), DatabaseStats(missing, message=reason))
            return [*found.items()]

        run.on_stage("counting", sum(map(len, names.values())))
        return dict(item for part in in_parallel([partial(one, t) for t in names]) for item in part)

    # How the engine uses plugins

    def collect(self, run: Run) -> Collected:
        """Read all sources and targets."""
        return self._collector.read(run)

    def tell_start(self, collected: Collected, run: Run) -> None:
        """Tell the reporters what the run works on."""
        head = RunHead(run.id, run.dry_run, self.origin, collected.sources, collected.targets)
        for item in self._reporters():
            if self._host.implements(item.name, "influxops_started"):
                self._tell_one(item, "influxops_started", run, head=head)

    def apply(self, changes: Sequence[Change], run: Run) -> list[Outcome]:
        """Make changes, all targets at once; exactly one outcome a change."""
        by_target: defaultdict[str, list[Change]] = defaultdict(list)
        for change in changes:
            by_target[change.target].append(change)
        run.on_stage("ensuring", len(changes))
        parts = in_parallel([partial(self._apply_to, t, c, run) for t, c in by_target.items()])
        return [outcome for part in parts for outcome in part]

    def _apply_to(self, target: str, changes: list[Change], run: Run) -> list[Outcome]:
        name = f"target:{target}"
        outcomes: dict[Change, Outcome] = {}
        rest = (Status.UNKNOWN, "its target did not say how it ended", "")
        try:
            with self._host.guard(name, self.redact):
                for outcome in self._host.call(name, "influxops_ensure", changes=changes, run=run):
                    outcomes.setdefault(outcome.change, outcome)
        except Interrupted as error:
            rest = (Status.SKIPPED, error.message, error.hint)
        except InfluxopsError as error:
            run.log.debug("target %s failed", target, exc_info=True)
            rest = (Status.UNKNOWN, self.redact(error.message), error.hint)
        return [outcomes.get(change) or Outcome(change, *rest) for change in changes]

    def read_again(self, targets: Iterable[str], run: Run) -> dict[str, Inventory | InfluxopsError]:
        """Read targets once more, even if the run is over."""
        return self._collector.read_again(targets, run.or_grace(_GRACE))

    def state_of(self, state: TargetState, inventory: Inventory) -> TargetState:
        """Bring a target's state up to what it holds."""
        return self._collector.state_of(state, inventory)

    @property
    def origin(self) -> Origin:
        """Who runs this."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # no such user in a container
            user = "unknown"
        return Origin(user, socket.gethostname(), self.config.path)

    @contextlib.contextmanager
    def _lock(self, run: Run, attempt: Attempt) -> Iterator[None]:
        """Hold the sources' lock where two runs could place one tenant twice."""
        with contextlib.ExitStack() as stack:
            if not run.dry_run and len(self.rules.targets) > 1:
                reason = self._take_lock(run, stack)
                if reason:
                    attempt.unlocked(reason)
            try:
                yield
            finally:
                self._release(stack, attempt)

    def _release(self, stack: contextlib.ExitStack, attempt: Attempt) -> None:
        try:
            stack.close()
        except Exception as error:  # whatever a plugin's lock raises: the changes are made
            attempt.lock_lost(
                self.redact(error.message if isinstance(error, InfluxopsError) else repr(error))
            )

    def _take_lock(self, run: Run, stack: contextlib.ExitStack) -> str:
        reason = "no source offers one"
        for item in self.resolved:
            if not self._host.implements(item.name, "influxops_lock"):
                continue
            try:
                with self._host.guard(item.name, self.redact):
                    stack.enter_context(self._host.call(item.name, "influxops_lock", run=run))
                    return ""
            except (LockBusy, Interrupted):
                raise
            except InfluxopsError as error:
                reason = self.redact(error.message)
        return reason

    @property
    def _configured(self) -> list[Resolved]:
        return [item for item in self._reporters() if item.section not in self._own]

    def _reporters(self) -> list[Resolved]:
        return [item for item in self.resolved if item.section.role == "reporters"]

    def _tell(self, report: Report, run: Run, reporters: Iterable[Resolved]) -> Report:
        for item in reporters:
            failure = self._tell_one(item, "influxops_report", run.or_grace(_GRACE), report=report)
            if failure is not None:
                report = replace(report, findings=(*report.findings, failure))
        return report

    def _tell_one(self, item: Resolved, hook: str, run: Run, **arguments: object) -> Finding | None:
        try:
            with self._host.guard(item.name, self.redact):
                self._host.call(item.name, hook, run=run, **arguments)
        except InfluxopsError as error:
            run.log.debug("reporter %s failed", item.section.name, exc_info=True)
            return _reporter_failed(item, self.redact(error.message), error.hint)
        return None

    def _reveal(self) -> Redactor:
        """Read every secret once: what is missing is said before anything is done."""
        values = []
        for item in list(self.resolved):
            try:
                values += [secret.reveal() for secret in secrets([item])]
            except ConfigError as error:
                if item.section.role != "reporters" and not self._tolerant:
                    raise ConfigError(f"{item.name}: {error.message}", hint=error.hint) from None
                self._late.append((item.name, _reporter_failed(item, error.message, error.hint)))
                self.resolved.remove(item)
        return Redactor(values)

    @property
    def late_findings(self) -> tuple[Finding, ...]:
        """What was noticed while the engine was made."""
        return tuple(finding for _, finding in self._late)

    @contextlib.contextmanager
    def _guard_construction(self, item: Resolved) -> Iterator[None]:
        try:
            yield
        except InfluxopsError:
            raise
        except Exception as error:
            broken = PluginError(
                f"{item.name} (kind {item.kind.name} of {item.kind.distribution}) cannot be "
                f"made: {type(error).__name__}: {self.redact(str(error))}",
                hint="tell its author",
            )
            broken.exit_code = ConfigError.exit_code
            raise broken from error


def _rules(config: Config, resolved: Iterable[Resolved]) -> Rules:
    targets = {}
    for item in resolved:
        if isinstance(item.settings, TargetSettings):
            settings = item.settings
            targets[item.section.name] = TargetPolicy(
                settings.capacity, settings.state == "draining"
            )
    return Rules(
        template=config.template,
        retention=config.retention,
        targets=targets,
        policy=config.placement.policy,
        pins=config.placement.pins,
        acknowledged=frozenset(config.naming.acknowledged),
    )


def _known_guards(allow: Iterable[str]) -> frozenset[str]:
    names = frozenset(allow)
    for name in sorted(names - GUARDS.keys()):
        raise ConfigError(
            f"no guard is called {name!r}",
            hint=nearest(name, GUARDS) or f"guards: {', '.join(GUARDS)}",
        )
    return names


def _reporter_failed(item: Resolved, message: str, hint: str) -> Finding:
    return Finding("reporter", Severity.WARNING, f"reporter {item.section.name}: {message}", hint)
