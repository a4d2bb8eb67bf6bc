"""Reading sources, targets and ledger at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind
from influxops.reconcile.observe.ledger import ReadLedger, read_ledger, with_memory
from influxops.reconcile.observe.sources import (
    SourceReading,
    read_source,
    subject,
    with_tenants,
)
from influxops.reconcile.observe.targets import (
    TargetReading,
    label,
    read_target,
    refuse_one_server_twice,
    slow_hint,
)
from influxops.reconcile.state import RunState
from influxops.runtime.parallel import in_parallel


def observe(run: RunState) -> RunState:
    """Read all sources, all targets and the ledger at once."""
    request, context = run.request, run.context
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
    run = replace(
        with_tenants(run, [(each.state, each.tenants) for each in read_sources]),
        inventories=inventories,
        targets=tuple(each.state for each in read_targets),
        findings=tuple(f for each in results for f in each.findings),
    )
    if run.sources_complete and not run.tenants:
        places = ", ".join(map(subject, sources))
        empty = Finding.info(
            FindingKind.NO_TENANTS,
            f"No tenants found in {places}",
            "is this the right registry?",
        )
        run = replace(run, findings=(*run.findings, empty))
    read = next((each for each in results if isinstance(each, ReadLedger)), None)
    return run if read is None else with_memory(run, read)
