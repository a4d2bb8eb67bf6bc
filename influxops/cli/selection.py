"""Which tenants a command that only looks is about: by id, by pattern, by state, by target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from influxops.cli.options import complete_targets, complete_tenants
from influxops.domain.record import State

if TYPE_CHECKING:
    from influxops.domain.plan import TenantPlan
    from influxops.report.view import ReportView

Command = TypeVar("Command", bound=Callable[..., Any])

#: What `--state` takes beside the states of the ledger: what was found now.
FOUND = {True: "ok", False: "missing", None: "unknown"}

#: What is said where nobody is meant.
NONE = "no tenant matches"


class Selection(Struct, frozen=True):
    """What a command line selects; what is left empty selects all."""

    tenants: tuple[str, ...] = ()  # ids and patterns
    states: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def is_filter(self) -> bool:
        """Whether it takes all tenants to see which ones are meant."""
        return bool(self.states or self.targets) or any(map(_is_pattern, self.tenants))

    @property
    def named(self) -> frozenset[str] | None:
        """The ids, where they alone say who is meant; None where all tenants have to be read."""
        return frozenset(self.tenants) if self.tenants and not self.is_filter else None

    def takes(self, tenant: str, states: Iterable[str], targets: Iterable[str | None]) -> bool:
        """Return whether a tenant in these states, on these targets, is meant."""
        return (
            (not self.tenants or any(_matches(each, tenant) for each in self.tenants))
            and (not self.states or not {*states}.isdisjoint(self.states))
            and (not self.targets or not {*targets}.isdisjoint(self.targets))
        )

    def takes_plan(self, view: ReportView, plan: TenantPlan) -> bool:
        """Return whether a tenant of a dry run is meant."""
        return self._takes(plan, view.exists(plan))

    def takes_found(self, plan: TenantPlan) -> bool:
        """Return whether a tenant is meant, by whether its database was found."""
        from influxops.domain.plan import TenantStatus
        from influxops.engine.status import copies_of

        is_there = plan.before is not None or bool(copies_of(plan))
        return self._takes(plan, None if plan.status is TenantStatus.UNKNOWN else is_there)

    def _takes(self, plan: TenantPlan, is_there: bool | None) -> bool:
        from influxops.engine.status import copies_of

        record, states = plan.record, [FOUND[is_there]]
        targets = [plan.target, *(copy["target"] for copy in copies_of(plan))]
        if record is not None:
            states.append(record.state.value)
            targets += [record.target, record.secondary_target]
        return self.takes(plan.tenant, states, targets)

    def check(self, tenants: Collection[str], targets: Iterable[str | None]) -> None:
        """Refuse what means none of the tenants, or targets, that there are."""
        from influxops.domain.text import did_you_mean, quote
        from influxops.errors import ConfigError

        for each in self.tenants:
            if _is_pattern(each) and not any(_matches(each, tenant) for tenant in tenants):
                raise ConfigError(f"no tenant matches {quote(each)}")
            if not _is_pattern(each) and each not in tenants:
                raise ConfigError(f"no tenant is {quote(each)}", hint=did_you_mean(each, tenants))
        known = set(filter(None, targets))
        for each in self.targets:
            if each not in known:
                hint = did_you_mean(each, known)
                raise ConfigError(f"no target is called {quote(each)}", hint=hint)


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _matches(pattern: str, tenant: str) -> bool:
    return tenant == pattern or (_is_pattern(pattern) and fnmatchcase(tenant, pattern))


def selection_options(command: Command) -> Command:
    """Add the tenants, `--state` and `--target` to a command, which gets a `selection`."""
    for add in (
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="NAME",
            shell_complete=complete_targets,
            help="Only what is, or would be, on this target; may be repeated.",
        ),
        click.option(
            "--state",
            "states",
            multiple=True,
            metavar="STATE",
            type=click.Choice([*map(str, State), *FOUND.values()]),
            help="Only tenants in this state of the ledger (pending, allocated, unconfirmed, "
            "ready, moving, retiring, retired, lost), or found so now (ok, missing, unknown); may "
            "be repeated.",
        ),
        click.argument(
            "tenants", nargs=-1, metavar="[TENANT|PATTERN]...", shell_complete=complete_tenants
        ),
    ):
        command = add(command)
    return command
