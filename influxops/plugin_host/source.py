"""Calling a tenant source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

from msgspec.structs import replace

from influxops.config.plugin_settings import SourceSettings
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.tenant import Tenant
from influxops.plugin_host.base import Handle
from influxops.report.model import SourceState
from influxops.runtime.context import RunContext

#: The attributes of all tenants that have none.
_NONE: Mapping[str, str] = {}


class SourceHandle(Handle):
    """A configured tenant source."""

    @property
    def gives_ids_only(self) -> bool:
        """Whether a tenant of it has no attributes, so that its id alone names its database."""
        return isinstance(self.settings, SourceSettings) and self.settings.gives_ids_only

    def state(self) -> SourceState:
        """Return what is known of it before it was read."""
        return SourceState(self.name, self.kind, self.url)

    def tenants(self, context: RunContext) -> tuple[list[Tenant], list[Finding]]:
        """Read its tenants."""
        with self.error_boundary():
            given = self.call("influxops_tenants", context)
            if given is None:
                raise TypeError("influxops_tenants gave None, not tenants; does it lack a `yield`?")
            return self._read(given, context)

    def get_tenants(self, ids: Collection[str], context: RunContext) -> list[Tenant]:
        """Read those of some tenants that exist."""
        with self.error_boundary():
            given = self.call("influxops_get_tenants", ids, context) or ()
            tenants, _ = self._read(given, context)
        return tenants

    def _read(
        self, given: Iterable[Any], context: RunContext
    ) -> tuple[list[Tenant], list[Finding]]:
        tenants: list[Tenant] = []
        findings: list[Finding] = []
        name = self.name
        for number, found in enumerate(given):
            if number % 1000 == 0:
                context.check()
            if not isinstance(found, Tenant):
                if not isinstance(found, Finding):
                    raise TypeError(f"it gave {type(found).__name__}, not a Tenant")
                findings.append(replace(self._finding(found), source=name))
            elif not isinstance(found.id, str):
                raise TypeError(f"a tenant's id is {type(found.id).__name__}, not text")
            elif not found.id.strip():
                findings.append(
                    Finding.error(
                        FindingKind.EMPTY_ID,
                        "it gave a tenant without an id",
                        "give it one, or leave it out",
                        source=name,
                    )
                )
            else:
                attributes = found.attributes
                if not isinstance(attributes, (dict, Mapping)):  # the first is quicker
                    raise TypeError(
                        f"a tenant's attributes are {type(attributes).__name__}, not a mapping"
                    )
                if attributes:
                    attributes = {str(k): str(v) for k, v in attributes.items() if v is not None}
                tenants.append(Tenant(found.id, attributes or _NONE, name))
        return tenants, findings

    def lock(self, context: RunContext) -> AbstractContextManager[None] | None:
        """Return its lock, not yet taken; None where it offers none."""
        if not self.implements("influxops_lock"):
            return None
        with self.error_boundary():
            return cast(AbstractContextManager[None], self.call("influxops_lock", context))
