"""The handle of a configured target, and what its class declares, checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from influxops.config.plugin_settings import TargetSettings
from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.database import (
    Database,
    DatabaseStats,
    Inventory,
    Marker,
    TargetCapabilities,
    Unknown,
)
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Change, ChangeResult, Outcome
from influxops.errors import (
    InfluxopsError,
    Interrupted,
    PluginError,
    PluginLoadError,
    TargetAuthError,
)
from influxops.plugin_host.base import Handle
from influxops.report.model import TargetState
from influxops.runtime.context import RunContext

#: Seconds after the end of its run in which a plugin can still say how changes ended.
_LATE = 1.5


class TargetHandle(Handle):
    """A configured target."""

    settings: TargetSettings

    @property
    def capabilities(self) -> TargetCapabilities:
        """What its kind has, and what it calls it."""
        return self.resolved.capabilities

    def state(self) -> TargetState:
        """Return what is known of it before it was read."""
        return TargetState(
            self.name,
            self.kind,
            self.url,
            reachable=False,
            state=self.settings.state,
            capabilities=self.capabilities,
        )

    def list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read what it holds; of some databases whether they are complete from what is stored."""
        with self.error_boundary():
            found = _checked(self.call("influxops_list_databases", frozenset(verify), context))
        self._refuse_another(found)
        return replace(found, findings=tuple(map(self._finding, found.findings)))

    def get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        """Read those of some databases that exist."""
        with self.error_boundary():
            found = _checked(self.call("influxops_get_databases", names, context))
        self._refuse_another(found)
        return found

    def get_markers(self, names: Collection[str], context: RunContext) -> dict[str, Marker]:
        """Read what the markers of databases say; what cannot be read is left out."""
        if not self.implements("influxops_get_markers"):
            return {}
        try:
            with self.error_boundary():
                return dict(self.call("influxops_get_markers", names, context) or ())
        except Interrupted:
            raise
        except InfluxopsError:
            context.log.debug("%s failed", self.full_name, exc_info=True)
            return {}

    def _refuse_another(self, found: Inventory) -> None:
        wanted = self.settings.expected_identity
        if wanted is not None and found.identity != wanted:
            raise WrongServer(
                f"it is another server than configured: its {self.capabilities.identity} is "
                f"{found.identity}, not {wanted}",
                found.identity,
            )

    def create_databases(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Create databases; yield the outcome of each as soon as it is known."""
        places = {change.database: change for change in changes}
        with self.error_boundary():
            for found in self.call("influxops_create_databases", changes, context) or ():
                change = places.pop(found.change.database, None)
                if change is not None:
                    yield self._ended(found, change)

    def _ended(self, found: Outcome, change: Change) -> Outcome:
        """Return an outcome of the change that was asked for, secrets taken out."""
        if found.change is change and not found.message and not found.remedy:
            return found
        message, remedy = self._redact(found.message), self.with_config_location(found.remedy)
        return replace(found, change=change, message=message, remedy=remedy)

    def ensure(
        self, changes: Sequence[Change], context: RunContext
    ) -> tuple[list[Outcome], list[Finding]]:
        """Make changes."""
        rest = Outcome(changes[0], ChangeResult.UNKNOWN, "its target did not say how it ended")
        outcomes: dict[int, Outcome] = {}
        places = {(c.action, c.tenant, c.database): number for number, c in enumerate(changes)}
        faults: list[Finding] = []
        is_left_behind = False

        def make() -> None:
            nonlocal is_left_behind
            is_left_behind = True
            try:
                with self.error_boundary():
                    for found in self.call("influxops_ensure", changes, context) or ():
                        change = found.change
                        number = places.get((change.action, change.tenant, change.database))
                        if number in outcomes:
                            raise TypeError(f"it gave two outcomes for {change.database}")
                        if number is not None:
                            outcomes[number] = self._ended(found, changes[number])
            finally:
                is_left_behind = False

        try:
            # A plugin that does not look at its time is left behind.
            context.run_abandonable(make, late=_LATE)
        except Interrupted as error:
            outcomes = dict(outcomes)  # what is left behind may still add to it
            if error.abandoned or is_left_behind:
                rest = replace(rest, message="the run ended while it was tried", abandoned=True)
            else:
                skipped = ChangeResult.SKIPPED
                rest = replace(rest, status=skipped, message=error.message, remedy=error.remedy)
        except InfluxopsError as error:
            context.log.debug("%s failed", self.full_name, exc_info=True)
            rest = replace(
                rest, message=error.message, remedy=error.remedy, abandoned=error.abandoned
            )
            faults.append(self._fault(error.message, error.remedy))
        else:
            if len(outcomes) < len(changes):
                missing = len(changes) - len(outcomes)
                faults.append(
                    self._fault(
                        f"its plugin did not say how {missing} of {len(changes)} changes ended",
                        f"tell the author of {self._owner}",
                    )
                )
        return [outcomes.get(n) or replace(rest, change=c) for n, c in enumerate(changes)], faults

    @property
    def instance(self) -> Any:
        """Its plugin's instance, for another one of its kind."""
        return self._instance

    def copy(
        self, order: CopyRequest, into: TargetHandle, context: RunContext
    ) -> Iterator[CopyProgress]:
        """Copy one of its databases, or say what that would take; yield how far that is."""
        order = replace(order, into=into.instance)
        with into.settings_named():
            yield from self._copied("influxops_copy", order, context)

    def export(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Write one of its databases to files; yield how far that is."""
        return self._copied("influxops_export", order, context)

    def import_(self, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        """Write files to one of its databases; yield how far that is."""
        return self._copied("influxops_import", order, context)

    def _copied(self, hook: str, order: CopyRequest, context: RunContext) -> Iterator[CopyProgress]:
        with self.error_boundary():
            for found in self.call(hook, order, context) or ():
                if not isinstance(found, CopyProgress):
                    raise TypeError(f"{hook} gave {type(found).__name__}, not a CopyProgress")
                yield replace(found, findings=tuple(map(self._finding, found.findings)))

    def _fault(self, message: str, remedy: Any) -> Finding:
        return Finding(FindingKind.PLUGIN_FAULT, Severity.ERROR, message, remedy, target=self.name)

    def database_stats(self, names: Sequence[str], context: RunContext) -> dict[str, DatabaseStats]:
        """Tell how much is in databases; nothing where the plugin cannot tell."""
        if not self.implements("influxops_database_stats"):
            return {}
        found: dict[str, DatabaseStats] = {}
        reason = "its target did not tell"
        try:
            with self.error_boundary():
                for stats in self.call("influxops_database_stats", list(names), context) or ():
                    found[stats.name] = replace(stats, message=self._redact(stats.message))
                    context.on_progress(1)
        except InfluxopsError as error:
            context.log.debug("%s failed", self.full_name, exc_info=True)
            reason = error.message
        for name in names:
            if name not in found:
                found[name] = DatabaseStats(name, message=reason)
        return found

    def write_activity(
        self, name: str, since: datetime, until: datetime, step: int, context: RunContext
    ) -> dict[datetime, int] | None:
        """Count the rows of each span that has some, by when it begins; None if it cannot."""
        if not self.implements("influxops_write_activity"):
            return None
        with self.error_boundary():
            return dict(self.call("influxops_write_activity", name, since, until, step, context))


class WrongServer(TargetAuthError):
    """Another server answers than the one that is configured."""

    def __init__(self, message: str, identity: str | None) -> None:
        super().__init__(
            message,
            hint="check where it leads; change the configured one if the server was replaced",
        )
        self.identity = identity


def _checked(inventory: object) -> Inventory:
    """Raise a TypeError for what is no inventory, before planning believes it."""
    if not isinstance(inventory, Inventory):
        raise TypeError(f"it gave {type(inventory).__name__}, not an Inventory")
    for name, database in inventory.databases.items():
        if not isinstance(database, Database):
            raise TypeError(f"{name!r} is {type(database).__name__}, not a Database")
        if not isinstance(database.retention, int | None | Unknown):
            raise TypeError(f"the retention of {name!r} is {type(database.retention).__name__}")
    return inventory


def checked_capabilities(plugin: type[Any], owner: str) -> TargetCapabilities:
    """Return what a target's class declares; its rules raise nothing but a PluginError."""
    declared = getattr(plugin, "capabilities", TargetCapabilities())
    if not isinstance(declared, TargetCapabilities):
        raise _unfit(owner, f"`capabilities` is {type(declared).__name__}, not TargetCapabilities")
    rules = {}
    for each in fields(TargetCapabilities):
        value = getattr(declared, each.name)
        if each.name.startswith("validate_"):
            if not callable(value):
                raise _unfit(owner, f"`{each.name}` is {type(value).__name__}, not a function")
            rules[each.name] = _guarded(value, each.name, owner)
            continue
        try:
            msgspec.convert(value, each.type)
        except msgspec.ValidationError as error:
            raise _unfit(owner, f"`{each.name}` of its capabilities: {error}") from None
    return replace(declared, **rules)


def _guarded(rule: Callable[[str], str], name: str, owner: str) -> Callable[[str], str]:
    def guarded(text: str) -> str:
        try:
            broken = rule(text)
            if not isinstance(broken, str):
                raise TypeError(f"it gave {type(broken).__name__}, not text")
        except Exception as error:
            raise PluginError(
                f"{owner}: `{name}` of its capabilities broke: {type(error).__name__}: {error}",
                hint="-vv shows where; tell its author",
            ) from error
        return broken

    return guarded


def _unfit(owner: str, why: str) -> PluginLoadError:
    return PluginLoadError(f"{owner} cannot be used: {why}", hint="tell its author")
