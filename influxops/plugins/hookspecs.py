"""The hooks that the engine runs, and what it expects of who implements them.

Version 2. A plugin is a class; its entry point in the group `influxops.plugins` gives its kind.
The engine makes one instance a configured section, `cls(section, settings)`, and calls each hook
for one instance at a time. An instance may be called again, and from another thread, but never
from two threads at once. What a hook raises is its instance's own failure: it ends nothing else.
A hook may leave out arguments that it does not need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import pluggy

from influxops.context import Context
from influxops.findings import Finding
from influxops.model import Change, Check, DatabaseStats, Inventory, Outcome, Tenant
from influxops.plugins.discovery import PROJECT
from influxops.report.model import Report, RunHead

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def influxops_tenants(context: Context) -> Iterable[Tenant | Finding]:  # type: ignore[empty-body]
    """Read all tenants of a source: the tenant-source hook.

    It must give every tenant, whatever the run's scope, or raise: a source that was read in
    part would make orphans of the rest. It may give findings in between, an id that is NULL for
    instance. It must not write.

    Raises:
        SourceError: When the tenants could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_inventory(context: Context, closely: Collection[str]) -> Inventory:  # type: ignore[empty-body]
    """Read what a target holds, in a number of requests that does not grow with it.

    It must leave deleted databases out, must say UNKNOWN for what the token may not read, and
    must not write. It is called again after changes.

    Args:
        context: The run.
        closely: Names of databases for which the usual signs do not prove that they are
            complete: whether they are must be read from what is stored, at a request each if
            need be. UNKNOWN where even that proves nothing. Usually empty.

    Raises:
        TargetError: When the target could not be read; the message says why.
    """


@hookspec(firstresult=True)
def influxops_ensure(changes: Sequence[Change], context: Context) -> Iterator[Outcome]:  # type: ignore[empty-body]
    """Make all changes of one target: the database-ensure hook.

    It must yield exactly one outcome a change, in any order, DONE only once it is durable, and
    as soon as it is known. It must not raise for what concerns a single change, and must not
    start another change once `context.check()` raises. It may batch as its server likes best. It
    must be safe to repeat: the process may be killed anywhere, and started again.
    """


@hookspec
def influxops_started(head: RunHead, context: Context) -> None:
    """Tell what a run works on, before anything is written. Optional, reporters.

    It is called at most once a run, after sources and targets were read; a run that ends before
    has no head, and its report still comes.

    Raises:
        ReporterError: When it could not be told; that is a warning.
    """


@hookspec
def influxops_report(report: Report, context: Context) -> None:
    """Tell somebody how a run ended: the reporting hook.

    It is called once a run, dry runs included (`report.dry_run`), also after failures. What it
    raises is a warning and changes nothing. The context that it is given ends with the
    reporter's own time (`budget` of its settings).
    """


@hookspec(firstresult=True)
def influxops_check(context: Context) -> Iterable[Check]:  # type: ignore[empty-body]
    """Look at all that this instance depends on, for `influxops doctor`. Optional.

    It should go on after a check that fails as far as that makes sense, and must not write.
    """


@hookspec(firstresult=True)
def influxops_describe(names: Sequence[str], context: Context) -> Iterator[DatabaseStats]:  # type: ignore[empty-body]
    """Tell how much is in each of these databases of a target, for `influxops status`. Optional.

    It yields one value a name, in any order.
    """


@hookspec(firstresult=True)
def influxops_lock(context: Context) -> AbstractContextManager[None]:  # type: ignore[empty-body]
    """Give a context in which no other run of the same registry changes anything. Optional.

    Raises:
        LockBusy: On entering, when another run holds it.
        SourceError: On entering, when no lock can be had here; on leaving, when it was lost
            meanwhile. The run goes on with a warning, and looks for doubles.
    """


@hookspec
def influxops_close() -> None:
    """Let go of connections; the instance is not called again. Optional."""
