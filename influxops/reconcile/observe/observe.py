"""Reading sources, targets and ledger at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.reconcile.observe.ledger import ReadLedger, read_ledger, with_memory
from influxops.reconcile.observe.sources import SourceReading, apart, merged, read_source, subject
from influxops.reconcile.observe.targets import (
    TargetReading,
    label,
    read_target,
    refuse_one_server_twice,
    slow_hint,
)
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel


def observe(request: RunRequest, context: RunContext) -> Observed:
    """Read all sources, all targets and the ledger at once.

    Raises:
        ConfigError: When two targets are one server.
    """
    sources, targets, rules = request.sources, request.targets, request.rules
    context.on_stage("reading", len(sources) + len(targets))
    reading = context.with_timeout(rules.reading, slow_hint(rules))
    tasks: dict[str, Callable[[], SourceReading | TargetReading | ReadLedger]] = {
        **{label(h): partial(read_source, h, context) for h in sources},
        **{label(h): partial(read_target, h, (), rules, reading, context) for h in targets},
        **{label(h): partial(read_ledger, h, context) for h in (request.ledger,) if h is not None},
    }
    results = in_parallel(tasks, context)
    read_sources = [each for each in results if isinstance(each, SourceReading)]
    read_targets = [each for each in results if isinstance(each, TargetReading)]
    inventories = {t.state.name: t.inventory for t in read_targets if t.inventory is not None}
    refuse_one_server_twice(inventories, targets)
    observed = Observed(
        inventories=inventories,
        sources=tuple(each.state for each in read_sources),
        targets=tuple(each.state for each in read_targets),
        findings=tuple(f for each in results for f in each.findings),
        has_registry=any(not handle.resolved.section.supplements for handle in sources),
    )
    own, others = apart([(each.state.name, each.tenants) for each in read_sources], sources)
    tenants = merged(own, others, complete=observed.sources_complete)
    if observed.sources_complete and not tenants:
        places = ", ".join(map(subject, sources))
        empty = Finding(
            FindingKind.NO_TENANTS,
            Severity.INFO,
            f"No tenants found in {places}",
            "is this the right registry?",
        )
        observed = replace(observed, findings=(*observed.findings, empty))
    observed = replace(
        observed,
        tenants=tenants,
        known_elsewhere=frozenset(tenant.id for tenant in others),
        named_targets={t.id: t.attributes["target"] for t in own if t.attributes.get("target")},
    )
    read = next((each for each in results if isinstance(each, ReadLedger)), None)
    return observed if read is None else with_memory(observed, read, sources)
