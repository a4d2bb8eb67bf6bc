"""Reading tenant sources, and merging what they give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind
from influxops.domain.tenant import Tenant
from influxops.errors import InfluxopsError, Interrupted
from influxops.plugin_host.source import SourceHandle
from influxops.reconcile.state import RunState
from influxops.report.model import SourceState
from influxops.runtime.context import LATE, RunContext


class SourceReading(Struct, frozen=True):
    """What reading a source gave."""

    state: SourceState
    tenants: list[Tenant]
    findings: list[Finding]


def subject(handle: SourceHandle) -> str:
    """Return what a source reads, for a sentence about it."""
    location = handle.location
    return (location.subject or location.text) if location else handle.name


def read_source(handle: SourceHandle, context: RunContext) -> SourceReading:
    """Read a source; one that cannot be read is a finding."""
    state = handle.state()
    try:
        tenants, findings = context.run_abandonable(partial(handle.tenants, context), late=LATE)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        failed = Finding.error(
            FindingKind.FAILED_SOURCE,
            error.message,
            error.remedy,
            source=handle.name,
        )
        return SourceReading(replace(state, error=error.message), [], [failed])
    finally:
        context.on_progress(1)
    return SourceReading(replace(state, tenants=len(tenants)), tenants, findings)


def with_tenants(run: RunState, read: Sequence[tuple[SourceState, Sequence[Tenant]]]) -> RunState:
    """Add all tenants; the attributes of a supplementing source win where others know one."""
    handles = run.request.sources
    supplementing = {h.name for h in handles if h.resolved.section.supplements}
    own = [t for state, tenants in read if state.name in supplementing for t in tenants]
    others = [t for state, tenants in read if state.name not in supplementing for t in tenants]
    overrides = {tenant.id: tenant.attributes for tenant in own}
    added = overrides.keys() - {tenant.id for tenant in others if tenant.id in overrides}
    tenants = others
    # What a source that failed says of them is not known, so nothing is.
    if own and not any(state.error for state, _ in read):
        tenants = [
            replace(t, attributes={**t.attributes, **overrides[t.id]}) if t.id in overrides else t
            for t in others
        ]
        tenants += [tenant for tenant in own if tenant.id in added]
    return replace(
        run,
        tenants=tenants,
        sources=tuple(state for state, _ in read),
        has_registry=len(supplementing) < len(handles),
        added=frozenset(added),
        named_targets={t.id: t.attributes["target"] for t in own if t.attributes.get("target")},
    )
