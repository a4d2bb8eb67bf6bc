"""Reading tenant sources, and merging what they give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.tenant import Tenant
from influxops.errors import InfluxopsError, Interrupted
from influxops.plugin_host.source import SourceHandle
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
        failed = Finding(
            FindingKind.FAILED_SOURCE,
            Severity.ERROR,
            error.message,
            error.remedy,
            source=handle.name,
        )
        return SourceReading(replace(state, error=error.message), [], [failed])
    finally:
        context.on_progress(1)
    return SourceReading(replace(state, tenants=len(tenants)), tenants, findings)


def apart(
    read: Sequence[tuple[str, Sequence[Tenant]]], handles: Sequence[SourceHandle]
) -> tuple[list[Tenant], list[Tenant]]:
    """Return the tenants of sources that supplement others, and those of all others.

    Args:
        read: The tenants of each source, by its name.
        handles: The sources.
    """
    supplementing = {h.name for h in handles if h.resolved.section.supplements}
    own = [t for name, tenants in read if name in supplementing for t in tenants]
    others = [t for name, tenants in read if name not in supplementing for t in tenants]
    return own, others


def merged(own: list[Tenant], others: list[Tenant], *, complete: bool) -> list[Tenant]:
    """Return all tenants; the attributes of a supplementing source win where others know one.

    Args:
        own: The tenants of the sources that supplement others.
        others: The tenants of all others.
        complete: Whether all sources could be read.
    """
    if not complete:
        # What the source that failed says of them is not known, so nothing is.
        return others
    overrides = {tenant.id: tenant.attributes for tenant in own}
    merged = [
        replace(t, attributes={**t.attributes, **overrides[t.id]}) if t.id in overrides else t
        for t in others
    ]
    known = {tenant.id for tenant in others}
    return [*merged, *(tenant for tenant in own if tenant.id not in known)]
