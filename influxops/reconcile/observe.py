"""Reading what is: sources, targets and ledger at once, and the targets again after changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.database import Inventory
from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.tenant import Tenant
from influxops.domain.text import one_line
from influxops.errors import ConfigError, InfluxopsError, Interrupted, TargetError, TargetRefused
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle, WrongServer
from influxops.reconcile.placement import locate
from influxops.reconcile.read_ledger import ReadLedger, read_ledger, with_memory
from influxops.reconcile.recall import Recalled
from influxops.reconcile.rules import Rules
from influxops.report.model import LedgerState, SourceState, TargetState
from influxops.runtime.context import Context
from influxops.runtime.parallel import in_parallel

#: Seconds after its time in which a plugin can still end by itself.
_LATE = 0.5


class Observed(Struct, frozen=True):
    """What was read, and how that went."""

    tenants: Sequence[Tenant] = ()  # what all sources gave
    #: What each target holds; one that could not be read is left out. One that went away later
    #: keeps what it held when it was read.
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    sources: tuple[SourceState, ...] = ()
    targets: tuple[TargetState, ...] = ()
    findings: tuple[Finding, ...] = ()
    #: The targets that take nothing more in this run, with why: full, or gone.
    closed: Mapping[str, str] = field(default_factory=dict)
    #: Whether a source says who all the tenants are; a program that names some says that of none.
    has_registry: bool = True
    #: Ids that other sources have than the one that a program added.
    known_elsewhere: frozenset[str] = frozenset()
    recalled: Recalled = field(default_factory=Recalled)  # what the ledger says
    ledger: LedgerState | None = None  # None where none is configured
    #: How many databases a target is known to hold, where its inventory names only some.
    used: Mapping[str, int] = field(default_factory=dict)
    #: The targets that a program itself named, by the tenant's id; no registry's, and no pin.
    named_targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources_complete(self) -> bool:
        """Whether every source could be read."""
        return not any(source.error for source in self.sources)

    @property
    def unread(self) -> list[str]:
        """The names of the targets that could not be read at all."""
        return [t.name for t in self.targets if t.name not in self.inventories]


def observe(
    sources: Sequence[SourceHandle],
    targets: Sequence[TargetHandle],
    rules: Rules,
    context: Context,
    ledger: LedgerHandle | None = None,
) -> Observed:
    """Read all sources, all targets and the ledger at once.

    Args:
        sources: The configured sources.
        targets: The configured targets.
        rules: What the configuration says.
        context: The run.
        ledger: The configured ledger.

    Raises:
        Interrupted: When the run was ended.
        ConfigError: When two targets are one server.
    """
    context.on_stage("reading", len(sources) + len(targets))
    reading = context.limited(rules.reading, _slow(rules))
    tasks: dict[str, Callable[[], _ReadSource | _ReadTarget | ReadLedger]] = {
        **{_place(h): partial(_read_source, h, context) for h in sources},
        **{_place(h): partial(_read_target, h, (), rules, reading, context) for h in targets},
        **{_place(h): partial(read_ledger, h, context) for h in (ledger,) if h is not None},
    }
    results = in_parallel(tasks, context)
    read_sources = [each for each in results if isinstance(each, _ReadSource)]
    read_targets = [each for each in results if isinstance(each, _ReadTarget)]
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
        places = ", ".join(map(_subject, sources))
        empty = Finding(
            Kind.NO_TENANTS,
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


def observe_again(
    observed: Observed,
    targets: Iterable[TargetHandle],
    rules: Rules,
    context: Context,
    closely: Mapping[str, Collection[str]] | None = None,
) -> Observed:
    """Read some targets once more, after changes, or more closely.

    Args:
        observed: What was read before.
        targets: Those to read.
        rules: What the configuration says.
        context: The run, or the grace that one which is over still has.
        closely: The databases whose completeness is to be read from what is stored, by target.

    Returns:
        What is known now. A target that cannot be read any more is told as such and gets nothing
        more; what it held when it was read is kept.
    """
    reading = context.limited(rules.reading, _slow(rules))
    names = closely or {}
    results = in_parallel(
        {
            _place(h): partial(_read_target, h, names.get(h.name, ()), rules, reading, context)
            for h in targets
        },
        context,
    )
    states = {state.name: state for state in observed.targets}
    inventories, closed = dict(observed.inventories), dict(observed.closed)
    findings = list(observed.findings)
    for each in results:
        name = each.state.name
        if each.inventory is not None:
            inventories[name] = each.inventory
            states[name] = each.state
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


def unread(observed: Observed, targets: Collection[str], why: str) -> Observed:
    """Return what is known where targets could not be read again.

    Args:
        observed: What was read before.
        targets: The targets.
        why: Why they could not be read.
    """
    states = tuple(
        replace(state, reachable=False, error=why) if state.name in targets else state
        for state in observed.targets
    )
    return replace(observed, targets=states)


class _ReadSource(Struct, frozen=True):
    state: SourceState
    tenants: list[Tenant]
    findings: list[Finding]


class _ReadTarget(Struct, frozen=True):
    state: TargetState
    inventory: Inventory | None
    findings: list[Finding]


def _place(handle: SourceHandle | TargetHandle | LedgerHandle) -> str:
    location = handle.location
    where = location.text if location else handle.kind
    return f"{handle.full_name.replace(':', ' ')} ({one_line(where)})"


def _subject(handle: SourceHandle) -> str:
    location = handle.location
    return (location.subject or location.text) if location else handle.name


def _read_source(handle: SourceHandle, context: Context) -> _ReadSource:
    state = handle.state()
    try:
        tenants, findings = context.detached(partial(handle.read, context), late=_LATE)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        failed = Finding(
            Kind.FAILED_SOURCE, Severity.ERROR, error.message, error.remedy, source=handle.name
        )
        return _ReadSource(replace(state, error=error.message), [], [failed])
    finally:
        context.on_progress(1)
    return _ReadSource(replace(state, tenants=len(tenants)), tenants, findings)


def _read_target(
    handle: TargetHandle,
    closely: Collection[str],
    rules: Rules,
    reading: Context,
    context: Context,
) -> _ReadTarget:
    state = handle.state()
    try:
        inventory = _inventory(handle, closely, rules, reading, context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        context.log.debug("%s failed", handle.full_name, exc_info=True)
        return _unreachable(state, error)
    finally:
        context.on_progress(1)
    return _ReadTarget(describe(state, inventory, rules), inventory, list(inventory.findings))


def _inventory(
    handle: TargetHandle,
    closely: Collection[str],
    rules: Rules,
    reading: Context,
    context: Context,
) -> Inventory:
    """Read an inventory within the time that reading may take; looking closely takes longer."""
    try:
        if closely:
            return context.detached(partial(handle.inventory, context, closely), late=_LATE)
        # A plugin that does not look at its time is left behind.
        read = partial(handle.inventory, reading, closely)
        return context.detached(read, within=rules.reading, late=_LATE)
    except Interrupted:
        context.check()
        raise TargetError(
            f"no answer within {rules.reading:g} s",
            hint=_slow(rules),
        ) from None


def _slow(rules: Rules) -> str:
    """Return what to do where reading takes too long."""
    return rules.or_in_file("the server is slow or hangs", "[run] reading gives it longer")


def _unreachable(state: TargetState, error: InfluxopsError) -> _ReadTarget:
    kind = Kind.UNREACHABLE
    if isinstance(error, WrongServer):
        kind = Kind.WRONG_SERVER
        state = replace(state, identity=error.identity)
    elif isinstance(error, TargetRefused):
        kind = Kind.REFUSED
    finding = Finding(kind, Severity.ERROR, error.message, error.remedy, target=state.name)
    return _ReadTarget(replace(state, error=error.message), None, [finding])


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
    )


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


def refuse_one_server_twice(
    inventories: Mapping[str, Inventory], targets: Iterable[TargetHandle]
) -> None:
    """Refuse two targets that lead to one server, where one tenant could be placed twice.

    Raises:
        ConfigError: When two answer with one identity.
    """
    words = {target.name: target.traits.identity for target in targets}
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
