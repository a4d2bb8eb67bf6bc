"""Reading targets: what each holds, as far as it answers in time."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import Inventory
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.text import one_line
from influxops.errors import ConfigError, InfluxopsError, Interrupted, TargetAuthError, TargetError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle, WrongServer
from influxops.reconcile.plan.placement import locate
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import RunState
from influxops.report.model import TargetState
from influxops.runtime.context import LATE, RunContext
from influxops.runtime.parallel import in_parallel


def observe_again(
    observed: RunState,
    targets: Collection[str],
    context: RunContext,
    verify: Mapping[str, Collection[str]] | None = None,
) -> RunState:
    """Read some targets again, after changes, or to `verify` databases from what is stored.

    A target that cannot be read any more is reported so and gets nothing more; what it held when it
    was read is kept.
    """
    request, rules, names = observed.request, observed.rules, verify or {}
    reading = context.with_timeout(rules.reading, slow_hint(rules))
    looked = observed.looked
    results = in_parallel(
        {
            label(h): partial(
                read_target,
                h,
                names.get(h.name, ()),
                rules,
                reading,
                context,
                None if looked is None or names.get(h.name) else looked[h.name],
            )
            for h in request.targets
            if h.name in targets and (looked is None or h.name in looked)
        },
        context,
    )
    states = {state.name: state for state in observed.targets}
    inventories, closed = dict(observed.inventories), dict(observed.closed)
    findings = list(observed.findings)
    for each in results:
        name = each.state.name
        if each.inventory is not None:
            before, now = inventories.get(name), each.inventory
            state, known = each.state, states.get(name, each.state)
            if looked is not None and before is not None:
                # What is known of one that was only looked at stays known.
                capacity = before.capacity if now.capacity is None else now.capacity
                now = replace(now, edition=now.edition or before.edition, capacity=capacity)
                were, are = (len(looked[name] & i.databases.keys()) for i in (before, now))
                number = known.databases + are - were if known.databases is not None else None
                identity = each.state.identity
                state = replace(
                    known, reachable=True, error="", identity=identity, databases=number
                )
            inventories[name], states[name] = now, state
        else:
            states[name] = replace(states[name], reachable=False, error=each.state.error)
            closed.setdefault(name, "it cannot be read any more")
            findings += [f for f in each.findings if f not in findings]
    return replace(
        observed,
        inventories=inventories,
        targets=tuple(states.values()),
        findings=tuple(findings),
        closed=closed,
    )


class TargetReading(Struct, frozen=True):
    """What reading a target gave."""

    state: TargetState
    inventory: Inventory | None
    findings: list[Finding]


def label(handle: SourceHandle | TargetHandle | LedgerHandle) -> str:
    """Return how a section is named to a person who waits for it."""
    location = handle.location
    where = location.text if location else handle.kind
    return f"{handle.full_name.replace(':', ' ')} ({one_line(where)})"


def read_target(
    handle: TargetHandle,
    verify: Collection[str],
    rules: Rules,
    reading: RunContext,
    context: RunContext,
    looked: Collection[str] | None = None,
) -> TargetReading:
    """Read a target, or look at some databases of it; one that cannot be read is a finding."""
    state = handle.state()
    try:
        inventory = _inventory(handle, verify, rules, reading, context, looked)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        return unreachable(state, error)
    finally:
        context.on_progress(1)
    state = describe(state, inventory, rules)
    if looked is not None:
        state = replace(state, databases=None)
    return TargetReading(state, inventory, list(inventory.findings))


def _inventory(
    handle: TargetHandle,
    verify: Collection[str],
    rules: Rules,
    reading: RunContext,
    context: RunContext,
    looked: Collection[str] | None,
) -> Inventory:
    """Read an inventory within the time that reading may take; looking closely takes longer."""
    part = context if verify else reading
    read = partial(handle.list_databases, verify, part)
    if looked is not None and not verify:
        read = partial(handle.get_databases, looked, part)
    with in_time(rules, context):
        # A plugin that does not look at its time is left behind.
        return part.run_abandonable(read, late=LATE)


@contextlib.contextmanager
def in_time(rules: Rules, context: RunContext) -> Iterator[None]:
    """Turn the end of the time for reading, where the run goes on, into the target's error."""
    try:
        yield
    except Interrupted:
        context.check()
        message = f"no answer within {rules.reading:g} s"
        raise TargetError(message, hint=slow_hint(rules)) from None


def slow_hint(rules: Rules) -> str:
    """Return what to do where reading takes too long."""
    return rules.or_in_file(
        "the server is slow or hangs", "[run] target_read_timeout gives it longer"
    )


def unreachable(state: TargetState, error: InfluxopsError) -> TargetReading:
    """Return what reading a target gave that could not be read."""
    kind = FindingKind.UNREACHABLE
    if isinstance(error, WrongServer):
        kind = FindingKind.WRONG_SERVER
        state = replace(state, identity=error.identity)
    elif isinstance(error, TargetAuthError):
        kind = FindingKind.REFUSED
    finding = Finding(kind, Severity.ERROR, error.message, error.remedy, target=state.name)
    return TargetReading(replace(state, error=error.message), None, [finding])


def describe(state: TargetState, inventory: Inventory, rules: Rules) -> TargetState:
    """Return a target's state brought up to what it holds."""
    location = locate(state.name, rules.targets[state.name], inventory, None)
    return replace(
        state,
        reachable=True,
        edition=inventory.edition,
        version=inventory.version,
        identity=inventory.identity,
        databases=len(inventory.databases),
        capacity=location.capacity,
        capacity_is_estimate=location.estimated,
        tables=inventory.tables,
        table_capacity=inventory.table_capacity,
    )


def refuse_one_server_twice(
    inventories: Mapping[str, Inventory], targets: Iterable[TargetHandle]
) -> None:
    """Refuse two targets that lead to one server, where one tenant could be placed twice."""
    words = {target.name: target.capabilities.identity for target in targets}
    first_with: dict[str, str] = {}
    for name, inventory in inventories.items():
        if inventory.identity is None:
            continue
        first = first_with.setdefault(inventory.identity, name)
        if first != name:
            raise ConfigError(
                f"the targets {first} and {name} are one server: both answer with the "
                f"{words[name]} {inventory.identity}",
                hint="correct where one of them leads, or remove it",
            )
