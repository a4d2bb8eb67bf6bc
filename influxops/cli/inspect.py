"""What `status` and `where` share: a look at tenants that changes and reports nothing."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

import click
from msgspec.structs import replace

from influxops.cli.options import command_line
from influxops.cli.output.stdio import say
from influxops.cli.selection import Selection
from influxops.domain.finding import READ_FAILURES, FindingKind, Severity
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.report.view import ReportView
from influxops.report.wording import CLI_STYLE
from influxops.runtime.context import RunContext


def look(
    engine: Engine, context: RunContext, *, leave_out: Collection[FindingKind] = ()
) -> tuple[ReportView, int]:
    """Plan without telling the reporters, and say on standard error what is wrong.

    What is wrong with a tenant that is shown is left to the command, so are kinds that it leaves
    out, and what a guard would refuse: that is no fault of what is there. The errors that are
    counted are about no tenant.
    """
    ctx = click.get_current_context()
    chosen = Selection(ctx.params["tenants"], ctx.params["states"], ctx.params["targets"])
    tenants = () if chosen.is_filter else None  # `ensure` takes no pattern and no state
    allow = f"`{command_line(ctx, 'ensure --allow {}', tenants)}`"
    words = replace(CLI_STYLE, allow=allow)  # a command that looks has no guards
    view = ReportView(engine.run(Ensure(), context, tell=False), words)
    waiting = {refusal.guard for refusal in view.report.refusals if not refusal.tenants}
    errors = 0
    for group in view.run_groups:
        if group.kind in leave_out or (
            group.kind is FindingKind.GUARD and group.remedy.value not in waiting
        ):
            continue
        wrong = group.severity is Severity.ERROR
        errors += wrong
        # What could not be read is reported even where no tenant in the scope depends on it.
        if wrong or (group.kind in READ_FAILURES and group.severity is Severity.WARNING):
            advice = f" ({group.advice})" if group.advice else ""
            say(f"{group.line()}{advice}", label="ERR" if wrong else "WARN", err=True)
    return view, errors


def selected(view: ReportView, selection: Selection) -> ReportView:
    """Return what was found of the tenants that are meant; refuse what means none at all."""
    report = view.report
    if not any(source.error for source in report.sources):  # else all that there are is unknown
        records = [*report.orphans, *(plan.record for plan in report.tenants if plan.record)]
        places = ((record.target, record.secondary_target) for record in records)
        selection.check(
            {plan.tenant for plan in report.tenants} | {each.tenant for each in report.orphans},
            chain((target.name for target in report.targets), *places),
        )
    tenants = tuple(plan for plan in report.tenants if selection.takes_plan(view, plan))
    orphans = tuple(
        record
        for record in report.orphans
        if selection.takes(record.tenant, [record.state], [record.target])
    )
    return ReportView(replace(report, tenants=tenants, orphans=orphans), view.words)
