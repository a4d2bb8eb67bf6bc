"""One run from collecting to its report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from influxops.collect import Collected
from influxops.errors import DeadlineExceeded, InfluxopsError, Interrupted, LockBusy
from influxops.model import (
    UNMANAGED,
    Action,
    Change,
    Finding,
    Inventory,
    Outcome,
    Plan,
    Severity,
    Status,
)
from influxops.planning import make_plan
from influxops.report import Report
from influxops.results import exit_code, final_findings, settle, tenant_results
from influxops.rules import Facts
from influxops.run import Run

if TYPE_CHECKING:
    from influxops.engine import Engine


class Attempt:
    """One run while it is under way: what is known so far is always enough for a report.

    Args:
        engine: Whose plugins it runs.
        run: The run.
        allow: The guards that are overridden.
        absent: Whether the tenants that the scope names are to lose their databases.
        tell: Whether the reporters are told.
    """

    def __init__(
        self, engine: Engine, run: Run, allow: frozenset[str], *, absent: bool, tell: bool
    ) -> None:
        self._engine, self._run, self._allow = engine, run, allow
        self._absent, self._tell = absent, tell
        self._collected = Collected(Facts((), {}), (), (), ())
        self._plan = Plan()
        self._outcomes: list[Outcome] = []
        self._findings = [*engine.late_findings]
        self._inventories: dict[str, Inventory] = {}
        self._code: int | None = None
        self._unlocked: Finding | None = None
        self._full: dict[str, str] = {}

    def unlocked(self, reason: str) -> None:
        """Remember that no lock could be had."""
        self._unlocked = _no_lock(f"no lock could be had ({reason})")

    def lock_lost(self, reason: str) -> None:
        """Look for doubles after a lock that turns out not to have been held all the time."""
        self._findings.append(_no_lock(f"the lock was lost ({reason})"))
        if self._outcomes:
            read = self._engine.read_again(self._inventories, self._run)
            self._take_in(read)
            self._find_doubles()

    def failed(self, error: InfluxopsError) -> None:
        """Remember what the whole run failed for, before anything was written."""
        self._code = error.exit_code
        kind = "lock-busy" if isinstance(error, LockBusy) else "configuration"
        self._findings.append(Finding(kind, Severity.ERROR, error.message, error.hint))

    def interrupted(self, error: Interrupted) -> None:
        """Remember that the run was ended before it was through."""
        self._code = error.exit_code
        kind = "deadline" if isinstance(error, DeadlineExceeded) else "interrupted"
        self._findings.append(Finding(kind, Severity.ERROR, error.message, error.hint))

    def make(self) -> None:
        """Collect, plan, and apply what the plan says."""
        self._run.check()
        self._collected = self._engine.collect(self._run)
        if self._tell:
            self._engine.tell_start(self._collected, self._run)
        facts = self._collected.facts
        self._inventories = dict(facts.inventories)
        self._plan = self._make_plan(facts)
        self._run.check()
        if not self._run.dry_run and self._plan.pending:
            if self._unlocked:
                self._findings.append(self._unlocked)
            # One after the other: of two that are made at once, the server would choose whom it
            # gives the last place, and the plan would have promised another.
            doubtful = set(self._plan.doubtful)
            pending = self._plan.pending
            self._apply([c for c in pending if c.tenant not in doubtful], facts)
            # Those that turned out to be full meanwhile are not asked again.
            self._apply(
                self._place_again(facts, doubtful)
                if self._full
                else [c for c in pending if c.tenant in doubtful],
                facts,
            )
            if self._unlocked:
                self._find_doubles()
            if any(outcome.status is not Status.DONE for outcome in self._outcomes):
                self._run.check()

    def _make_plan(self, facts: Facts) -> Plan:
        return make_plan(
            facts, self._engine.rules, self._run.scope, self._allow, absent=self._absent
        )

    def _apply(self, changes: Sequence[Change], facts: Facts) -> None:
        """Apply changes; what a full target refused is planned anew for the others."""
        full = self._full
        while changes:
            outcomes = self._engine.apply(changes, self._run)
            # Without a lock another run may have used any target, not only ours.
            again = {c.target for c in changes} if not self._unlocked else set(self._inventories)
            read = self._engine.read_again(again, self._run)
            self._take_in(read)
            outcomes = [_only_new_places(self._settle(outcome, read), full) for outcome in outcomes]
            refused = {o.change.tenant for o in outcomes if o.status is Status.FULL}
            full |= {o.change.target: o.message for o in outcomes if o.status is Status.FULL}
            self._outcomes += [o for o in outcomes if o.status is not Status.FULL]
            if not refused:
                break
            changes = self._place_again(facts, refused)

    def _take_in(self, read: Mapping[str, Inventory | InfluxopsError]) -> None:
        self._inventories |= {n: found for n, found in read.items() if isinstance(found, Inventory)}

    def _settle(self, outcome: Outcome, read: Mapping[str, Inventory | InfluxopsError]) -> Outcome:
        change = outcome.change
        managed = self._plan.retentions.get(change.tenant) is not UNMANAGED
        return settle(outcome, read.get(change.target), managed=managed)

    def _place_again(self, facts: Facts, tenants: set[str]) -> list[Change]:
        plan = self._make_plan(replace(facts, inventories=self._inventories, full=self._full))
        moved = [change for change in plan.pending if change.tenant in tenants]
        kept = [change for change in self._plan.changes if change.tenant not in tenants]
        held = [tenant for tenant in plan.held if tenant in tenants]
        reasons = [f for f in plan.findings if f.tenant in held and f.kind == "over-capacity"]
        self._plan = replace(
            self._plan,
            changes=(*kept, *moved),
            held=(*self._plan.held, *held),
            findings=(*self._plan.findings, *reasons),
        )
        return moved

    def _find_doubles(self) -> None:
        plan = self._make_plan(replace(self._collected.facts, inventories=self._inventories))
        known = set(self._plan.findings)
        self._findings += [
            replace(finding, severity=Severity.ERROR)
            for finding in plan.findings
            if finding.kind == "in-two-targets" and finding not in known
        ]

    def report(self) -> Report:
        """Put together what is known."""
        run, plan = self._run, self._plan
        findings = final_findings(
            (*self._collected.findings, *plan.findings, *self._findings),
            plan,
            run.scope,
            self._allow,
            applied=not run.dry_run,
        )
        targets = tuple(
            self._engine.state_of(state, self._inventories[state.name])
            if state.name in self._inventories
            else state
            for state in self._collected.targets
        )
        tenants = tenant_results(plan, self._outcomes, targets, self._inventories, findings, run)
        code = exit_code(findings, self._outcomes, plan) if self._code is None else self._code
        return Report(
            run_id=run.id,
            started=run.started,
            seconds=run.seconds,
            dry_run=run.dry_run,
            origin=self._engine.origin,
            sources=self._collected.sources,
            targets=targets,
            plan=plan,
            outcomes=tuple(self._outcomes),
            tenants=tenants,
            findings=findings,
            exit_code=code,
        )


def _no_lock(what: str) -> Finding:
    return Finding(
        "no-lock",
        Severity.WARNING,
        f"{what}; another run at the same time could give one tenant two databases",
        "run one at a time; doubles are looked for at the end",
    )


def _only_new_places(outcome: Outcome, full: Collection[str]) -> Outcome:
    """Take FULL only from who was asked for a place and had not refused one yet.

    A plugin that says it of anything else would keep the run going in circles.
    """
    asked = outcome.change.action is Action.CREATE and outcome.change.target not in full
    if outcome.status is Status.FULL and not asked:
        return replace(outcome, status=Status.FAILED)
    return outcome
