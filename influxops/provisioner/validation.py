"""What an application may not ask for."""

from __future__ import annotations

from influxops.domain.database import TargetCapabilities
from influxops.domain.durations import parse_retention
from influxops.domain.text import did_you_mean, quote
from influxops.engine.engine import Engine


class InvalidRequest(ValueError):
    """The application asks for what cannot be: an id without a database, an unknown target."""


def check_seconds(name: str, given: object, *, least: float = 0.01) -> None:
    """Raise unless it is a number of seconds."""
    if not isinstance(given, int | float) or isinstance(given, bool) or not given >= least:
        raise InvalidRequest(f"{name} is a number of seconds, at least {least:g}, not {given!r}")


class CallValidator:
    """What can be said of a call without asking anybody."""

    def __init__(self, engine: Engine) -> None:
        self._template = engine.rules.template
        self.urls = {h.name: h.url for h in engine.targets}
        self._capabilities: dict[str, TargetCapabilities] = {
            h.name: h.capabilities for h in engine.targets
        }
        self.sources = [handle.full_name for handle in engine.sources]
        self.ledger = engine.ledger.full_name if engine.ledger is not None else None
        self._names = not all(handle.gives_ids_only for handle in engine.sources)

    def name(self, tenant: str) -> str:
        """Return the name of a tenant's database, where its source says no other."""
        return self._template.name(tenant)

    def check(self, tenant: object, retention: object = None, target: object = None) -> str:
        """Return a tenant's id; raise InvalidRequest where nothing can be made for it."""
        if not isinstance(tenant, str):
            raise InvalidRequest(f"a tenant's id is text, not {type(tenant).__name__}")
        if not tenant.strip():
            raise InvalidRequest("a tenant's id is not empty")
        if retention is not None and not isinstance(retention, str):
            raise InvalidRequest(f"a retention is text, not {type(retention).__name__}")
        if target is not None and not isinstance(target, str):
            raise InvalidRequest(f"a target's name is text, not {type(target).__name__}")
        if target is not None and target not in self._capabilities:
            there = (
                did_you_mean(target, self._capabilities)
                or f"targets: {', '.join(self._capabilities)}"
            )
            raise InvalidRequest(f"no target {quote(target)} is configured ({there})")
        capabilities = [self._capabilities[target]] if target else list(self._capabilities.values())
        wrong = [each.validate_tenant(tenant) for each in capabilities]
        if all(wrong):
            raise InvalidRequest(f"the id {quote(tenant)} {wrong[0]}")
        # Another source might give it another name.
        wrong = (
            [] if self._names else [each.validate_name(self.name(tenant)) for each in capabilities]
        )
        if wrong and all(wrong):
            raise InvalidRequest(f"the database name of tenant {quote(tenant)} {wrong[0]}")
        if retention is not None:
            try:
                seconds = parse_retention(retention)
            except ValueError as error:
                raise InvalidRequest(f"retention {quote(retention)}: {error}") from None
            for each in capabilities:
                least, most = each.retention or (0, -1)
                if seconds is not None and not least <= seconds <= most:
                    raise InvalidRequest(
                        f"retention {retention}: {each.server or 'its target'} does not keep that"
                    )
        return tenant
