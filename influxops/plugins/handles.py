"""Handles: one configured section each, through which the engine calls its plugin.

Here, and only here, a plugin's instance is made and called, what it raises becomes an error that
names it, secrets are taken out of foreign text, and a remedy learns which section it is about.
pluggy isolates nothing, so a hook is called for one instance at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pluggy
from msgspec.structs import replace

from influxops.config.plugin_settings import SourceSettings
from influxops.config.secrets import Redactor
from influxops.config.settings import Location
from influxops.context import Context
from influxops.errors import (
    ConfigError,
    DeadlineExceeded,
    InfluxopsError,
    Interrupted,
    PluginError,
    PluginUnusable,
)
from influxops.findings import Finding, Kind, Severity
from influxops.model import (
    Check,
    Tenant,
)
from influxops.plugins import hookspecs
from influxops.plugins.discovery import PROJECT, implements, misspelt
from influxops.report.model import Report, RunHead, SourceState

if TYPE_CHECKING:
    from influxops.config.resolve import Resolved


class Handle:
    """One configured section: its plugin's instance, called safely.

    Args:
        resolved: The section, with its settings.
        manager: The engine's plugin manager.
        redact: Takes known secrets out of foreign text.
        missing: Why it cannot be used, for instance because its secret is not there; it has no
            instance then.

    Raises:
        PluginUnusable: When the instance cannot be made, or its hooks fit no specification.
    """

    def __init__(
        self,
        resolved: Resolved,
        manager: pluggy.PluginManager,
        redact: Redactor,
        missing: ConfigError | None = None,
    ) -> None:
        self.resolved = resolved
        self._manager = manager
        self._redact = redact
        self.missing = missing
        self._instance: Any = None
        self._owner = f"kind {resolved.kind.name} of {resolved.kind.distribution}"
        if missing is not None:
            return
        try:
            instance = resolved.plugin(self.name, resolved.settings)
            manager.register(instance, self.full_name)
            manager.check_pending()
        except InfluxopsError as error:
            error.remedy = self.located(error.remedy)
            raise
        except pluggy.PluginValidationError as error:
            manager.unregister(name=self.full_name)
            why = misspelt(resolved.plugin) or str(error).splitlines()[-1]
            raise PluginUnusable(
                f"{self.full_name} ({self._owner}) cannot be used: {why}",
                hint="correct its plugin; docs/plugins.md lists the hooks",
            ) from error
        except Exception as error:
            raise PluginUnusable(
                f"{self.full_name} ({self._owner}) cannot be made: "
                f"{type(error).__name__}: {redact(str(error))}",
                hint="tell its author",
            ) from error
        self._instance = instance

    @property
    def name(self) -> str:
        """The name of its section: `eu1`."""
        return self.resolved.section.name

    @property
    def full_name(self) -> str:
        """The name under which it is registered: `target:eu1`."""
        return self.resolved.name

    @property
    def kind(self) -> str:
        """Its plugin's kind."""
        return self.resolved.section.kind

    @property
    def location(self) -> Location | None:
        """Where it reads or writes."""
        return self.resolved.location

    def implements(self, hook: str) -> bool:
        """Return whether it implements a hook."""
        return implements(type(self._instance), hook)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn whatever the instance raises into an error that is fit to be told.

        Raises:
            InfluxopsError: What the instance raised, secrets taken out and its remedy located;
                a PluginError for everything that is none.
        """
        try:
            if self.missing is not None:
                raise InfluxopsError(self.missing.message, hint=self.missing.remedy)
            yield
        except Interrupted:
            raise
        except InfluxopsError as error:
            error.message = self._redact(error.message)
            error.args = (error.message,)
            error.remedy = self.located(error.remedy)
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"its plugin broke ({self._owner}): {type(error).__name__}: "
                f"{self._redact(str(error))}",
                hint="-vv shows where; tell its author",
            ) from error

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook for this instance; wrappers of all others still apply.

        Args:
            hook: The hook.
            **arguments: What the hook takes.

        Returns:
            What the instance returned. A generator has not run yet: iterate it under `guard`.
        """
        caller = getattr(self._manager.hook, hook)
        others = {
            impl.plugin
            for impl in caller.get_hookimpls()
            if impl.plugin is not self._instance and not (impl.wrapper or impl.hookwrapper)
        }
        return self._manager.subset_hook_caller(hook, others)(**arguments)

    def located(self, remedy: Any) -> Any:
        """Return a remedy that knows how whoever configured this section calls its settings."""
        from influxops.remedy import Remedy

        if not isinstance(remedy, Remedy):
            remedy = Remedy.advise(str(remedy))
        remedy = remedy._replace(text=self._redact(remedy.text)) if remedy.text else remedy
        return remedy.located(self.full_name, self.resolved.written(remedy.value))

    def checks(self, context: Context) -> Iterator[Check]:
        """Yield what a run depends on here, for `doctor`.

        Raises:
            Interrupted: When the run is over.
        """
        if not self.implements("influxops_check"):
            return
        try:
            with self.guard():
                for check in self.call("influxops_check", context=context) or ():
                    yield replace(check, hint=self.located(check.hint))
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("%s broke", self.full_name, exc_info=True)
            yield Check("check", False, error.message, error.remedy)

    def close(self) -> None:
        """Let the instance let go of its connections."""
        if self.implements("influxops_close"):
            with contextlib.suppress(InfluxopsError), self.guard():
                self.call("influxops_close")

    def _finding(self, finding: Finding) -> Finding:
        """Return a plugin's finding with its remedy located and secrets taken out."""
        return replace(
            finding, message=self._redact(finding.message), remedy=self.located(finding.remedy)
        )


class SourceHandle(Handle):
    """A configured tenant source."""

    @property
    def gives_ids_only(self) -> bool:
        """Whether a tenant of it has no attributes, so that its id alone names its database."""
        settings = self.resolved.settings
        return isinstance(settings, SourceSettings) and settings.gives_ids_only

    def state(self) -> SourceState:
        """Return what is known of it before it was read."""
        location = self.location
        return SourceState(self.name, self.kind, location.text if location else "")

    def read(self, context: Context) -> tuple[list[Tenant], list[Finding]]:
        """Read its tenants.

        Raises:
            InfluxopsError: When they could not be read.
            Interrupted: When the run is over.
        """
        with self.guard():
            given = self.call("influxops_tenants", context=context)
            if given is None:
                raise TypeError("influxops_tenants gave None, not tenants; does it lack a `yield`?")
            return self._read(given, context)

    def find(self, ids: Collection[str], context: Context) -> list[Tenant]:
        """Look up single tenants.

        Args:
            ids: Their ids.
            context: The run.

        Returns:
            Those that are there.

        Raises:
            InfluxopsError: When they could not be looked up.
            Interrupted: When the run is over.
        """
        with self.guard():
            given = self.call("influxops_find", ids=ids, context=context) or ()
            tenants, _ = self._read(given, context)
        return tenants

    def _read(self, given: Iterable[Any], context: Context) -> tuple[list[Tenant], list[Finding]]:
        tenants: list[Tenant] = []
        findings: list[Finding] = []
        for number, found in enumerate(given):
            if number % 1000 == 0:
                context.check()
            if isinstance(found, Finding):
                findings.append(replace(self._finding(found), source=self.name))
            elif not isinstance(found, Tenant):
                raise TypeError(f"it gave {type(found).__name__}, not a Tenant")
            elif not isinstance(found.id, str):
                raise TypeError(f"a tenant's id is {type(found.id).__name__}, not text")
            elif not found.id.strip():
                findings.append(
                    Finding(
                        Kind.EMPTY_ID,
                        Severity.ERROR,
                        "it gave a tenant without an id",
                        "give it one, or leave it out",
                        source=self.name,
                    )
                )
            else:
                attributes = {str(k): str(v) for k, v in found.attributes.items() if v is not None}
                tenants.append(Tenant(found.id, attributes, self.name))
        return tenants, findings

    def lock(self, context: Context) -> contextlib.AbstractContextManager[None] | None:
        """Return its lock, not yet taken; None where it offers none."""
        if not self.implements("influxops_lock"):
            return None
        with self.guard():
            lock: contextlib.AbstractContextManager[None] = self.call(
                "influxops_lock", context=context
            )
        return lock


class ReporterHandle(Handle):
    """A configured reporter."""

    #: Whether it is the output of the program that makes the run.
    is_own = False

    @property
    def _budget(self) -> float:
        return float(getattr(self.resolved.settings, "budget", 10.0))

    def started(self, head: RunHead, context: Context) -> Finding | None:
        """Tell it what a run works on; return what went wrong."""
        return self._tell("influxops_started", context.limited(self._budget), head=head)

    def report(self, report: Report, context: Context) -> Finding | None:
        """Tell it how a run ended; return what went wrong.

        A run that is over still gets to say so.
        """
        rest = context.or_grace(min(LAST_WORDS, self._budget)).limited(self._budget)
        return self._tell("influxops_report", rest, report=report)

    def _tell(self, hook: str, context: Context, **arguments: object) -> Finding | None:
        if not self.implements(hook):
            return None  # one that only wraps the hooks of others
        call = partial(self.call, hook, context=context, **arguments)
        try:
            with self.guard():
                # One that does not look at its time is left behind; the command line's own may
                # wait for its reader, who pages.
                call() if self.is_own else context.detached(call, late=_LATE)
        except InfluxopsError as error:
            context.log.debug("%s failed", self.full_name, exc_info=True)
            message = error.message
            if isinstance(error, DeadlineExceeded):
                message = f"it did not end within {self._budget:g} s"
            return failed_reporter(self.name, message, error.remedy)
        return None


#: Seconds that a reporter gets though the run's own time is over.
LAST_WORDS = 2.0
#: Seconds after its time in which a hook can still end by itself, before it is left behind.
_LATE = 0.5


def failed_reporter(name: str, message: str, remedy: Any) -> Finding:
    """Return the finding that a reporter could not do its work."""
    return Finding(Kind.REPORTER, Severity.WARNING, message, remedy, reporter=name)


def manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows the hooks; each engine has its own."""
    made = pluggy.PluginManager(PROJECT)
    made.add_hookspecs(hookspecs)
    return made
