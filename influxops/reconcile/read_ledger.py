"""Reading the ledger at the beginning of a run, and holding it against what else was read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.record import Memory
from influxops.errors import InfluxopsError, Interrupted, LedgerError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.reconcile.recall import Recalled, recalled, strangers
from influxops.report.model import LedgerState
from influxops.runtime.context import Context

if TYPE_CHECKING:
    from influxops.reconcile.observe import Observed


class ReadLedger(Struct, frozen=True):
    """What reading the ledger gave."""

    state: LedgerState
    memory: Memory | None
    findings: list[Finding]


def read_ledger(handle: LedgerHandle, context: Context) -> ReadLedger:
    """Read the ledger; one that cannot be read is told, and nobody's end."""
    state = handle.state()
    try:
        memory = handle.memory(context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        return ReadLedger(replace(state, error=error.message), None, [failed_ledger(error)])
    return ReadLedger(replace(state, records=len(memory.records)), memory, [])


def failed_ledger(error: InfluxopsError) -> Finding:
    """Return the finding that the ledger could not be read or written."""
    return Finding(Kind.FAILED_LEDGER, Severity.ERROR, f"ledger: {error.message}", error.remedy)


def with_memory(observed: Observed, read: ReadLedger, sources: Sequence[SourceHandle]) -> Observed:
    """Return what was read with what the ledger says of it."""
    if read.memory is None:
        known = Recalled(is_configured=True, error=read.state.error)
    else:
        known = recalled(read.memory, observed.inventories)
        tenants = ((tenant.id, tenant.source) for tenant in observed.tenants)
        known = replace(known, strangers=strangers(known, tenants, identities(sources)))
    findings = [*read.findings]
    for old, new in known.renamed.items():
        findings.append(
            Finding(
                Kind.RENAMED_TARGET,
                Severity.INFO,
                f"its server is recorded as {old}; it is called {new} from now on",
                target=new,
            )
        )
    return replace(
        observed,
        recalled=known,
        ledger=read.state,
        findings=(*observed.findings, *findings),
    )


def without_ledger(observed: Observed, why: str) -> Observed:
    """Return what is known where the ledger can be read, but this run cannot live in it."""
    if observed.recalled.error:
        return observed
    recalled = replace(observed.recalled, error=why)
    state = replace(observed.ledger, error=why) if observed.ledger is not None else None
    finding = failed_ledger(LedgerError(why))
    return replace(
        observed, recalled=recalled, ledger=state, findings=(*observed.findings, finding)
    )


def identities(sources: Iterable[SourceHandle]) -> dict[str, str]:
    """Return what tells each source from every other, by its name.

    One that a program added to others, to name some tenants, is none of its own.
    """
    found = {}
    for handle in sources:
        if not handle.resolved.section.supplements:
            location = handle.location
            where = (location.identity or location.text) if location else handle.name
            found[handle.name] = f"{handle.kind}:{where}"
    return found
