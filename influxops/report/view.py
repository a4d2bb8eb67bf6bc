"""`ReportView`: a report read for people; every face renders from it and words nothing itself.

Whatever a tenant, a server or an operating system named is safe to print in all that it returns:
no name breaks a line or steers a terminal. Every part is made once, and is linear in the tenants.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from influxops.domain.change import Action, Change
from influxops.domain.database import Database, Traits
from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.hint import Remedy
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.text import count, moment, one_line, printable, short
from influxops.errors import ExitCode
from influxops.report.groups import About, Group, grouped, listed
from influxops.report.model import Report
from influxops.report.wording import COMMAND_LINE, TASK, Words, done, retention_words, to_do, verb

__all__ = ["COMMAND_LINE", "TASK", "Group", "ReportView", "Words", "listed", "retention_words"]

#: The worst first: what needs somebody stands where it is seen.
_ORDER = {
    verdict: place
    for place, verdict in enumerate(
        (
            Verdict.FAILED,
            Verdict.UNKNOWN,
            Verdict.HELD,
            Verdict.REFUSED,
            Verdict.PENDING,
            Verdict.CHANGED,
            Verdict.OK,
        )
    )
}
#: What a tenant that is held may still be looked for under: its name and its id are good.
_LOOKED_FOR = (
    Kind.OVER_CAPACITY,
    Kind.DRAINING,
    Kind.CASE,
    Kind.RETENTION_NOT_READ,
    Kind.NOT_DECIDABLE,
)


class ReportView:
    """A report as people are told it.

    Args:
        report: The report.
        words: What the face's users can do, in their words: `COMMAND_LINE` or `TASK`.
    """

    def __init__(self, report: Report, words: Words = COMMAND_LINE) -> None:
        self.report = report
        self.words = words
        self._targets = {target.name: target for target in report.targets}

    # One tenant

    def label(self, tenant: TenantPlan) -> str:
        """Return a tenant's name: its database's, or its quoted id where that has no valid one."""
        return short(tenant.database) or f"tenant {printable(tenant.tenant)}"

    def url(self, tenant: TenantPlan) -> str | None:
        """Return the URL of the target that holds a tenant's database, or will."""
        return self.url_of(tenant.target)

    def url_of(self, target: str | None) -> str | None:
        """Return the URL of a target; None where there is no such one."""
        found = self._targets.get(target or "")
        return found.url if found else None

    def traits(self, target: str | None) -> Traits:
        """Return what a target's kind has, and what it calls it."""
        found = self._targets.get(target or "")
        return found.traits if found else Traits()

    def on(self, tenant: TenantPlan) -> str:
        """Return where a tenant's database is or will be: ` on eu1`; empty where nobody knows.

        Of one that is to be moved, from where to where: ` from eu1 to eu2`.
        """
        move = tenant.move
        if move is not None and tenant.verdict is Verdict.PENDING and move.target != tenant.target:
            return f" from {one_line(tenant.target or '?')} to {one_line(move.target)}"
        return f" on {one_line(tenant.target)}" if tenant.target else ""

    def is_right(self, tenant: TenantPlan) -> bool:
        """Return whether nobody needs to look: it is right, or a dry run would make it so."""
        if tenant.verdict is Verdict.PENDING:
            return self.report.dry_run
        return tenant.verdict.is_right

    def severity(self, tenant: TenantPlan) -> Severity:
        """Return how much it matters that a tenant is not right; acknowledged ones matter less."""
        return tenant.finding.severity if tenant.finding else Severity.ERROR

    def reason(self, tenant: TenantPlan) -> Finding:
        """Return what explains that a tenant is not right."""
        if tenant.finding is not None:
            return tenant.finding
        message = {
            Verdict.PENDING: "not done",
            Verdict.REFUSED: "refused by a guard",
            Verdict.UNKNOWN: "its target could not be read",
        }.get(tenant.verdict, tenant.verdict.value)
        return Finding(Kind.NOT_TRIED, Severity.ERROR, message, tenant=tenant.tenant)

    def why(self, tenant: TenantPlan) -> str:
        """Return why a tenant is not right, without naming it once more."""
        return self.message(self.reason(tenant))

    def advice(self, tenant: TenantPlan) -> str:
        """Return what to do about a tenant that is not right; empty where nothing is known."""
        return self.words.advice(tenant.finding.remedy) if tenant.finding else ""

    def did(self, tenant: TenantPlan) -> str:
        """Return what was done for a tenant, or is to be done, and where it stands if not right."""
        marker = self.traits(tenant.target).marker
        if tenant.verdict is Verdict.PENDING and self.report.dry_run:
            parts = [to_do(c.action, marker) + _kept_until(c) for c in _told(tenant.changes)]
            if tenant.over_estimate:
                parts.append("may find no place")
            return ", ".join(parts) or tenant.verdict.value
        parts = [done(c.action, marker) + _kept_until(c) for c in _told(tenant.made)]
        if tenant.verdict is not Verdict.CHANGED:
            parts.append(self._standing(tenant))
        return ", ".join(parts) or tenant.verdict.value

    def steps(self, tenant: TenantPlan) -> str:
        """Return what is to be done as the beginning of a sentence that its name ends."""
        marker = self.traits(tenant.target).marker
        return " and ".join(verb(change.action, marker) for change in _told(tenant.changes))

    def kept(self, tenant: TenantPlan) -> str:
        """Return until when a tenant's data is kept after all changes; empty where that is open."""
        return "".join(_kept_until(change) for change in tenant.changes).strip()

    def retention(self, tenant: TenantPlan) -> str:
        """Return a tenant's retention period, and what it was where it changes."""
        return retention_change(tenant.before, tenant.after)

    def exists(self, tenant: TenantPlan) -> bool | None:
        """Return whether a tenant has its database, as a dry run found it.

        Returns:
            None where nobody can know: a target that cannot be read may hold it, whatever the
            others say, another server answers than the recorded one, and a tenant that is held for
            its id or a shared name was not looked for.
        """
        kind = tenant.finding.kind if tenant.finding else None
        if tenant.verdict is Verdict.REFUSED and self._is_on_another_server(tenant):
            return None
        if kind is Kind.LOST:
            return False  # what is there in its place is not its own
        if tenant.before is not None or kind in (Kind.IN_TWO_TARGETS, Kind.MISPLACED):
            return True
        if kind is Kind.INVALID_NAME:
            return False  # no database can be called so
        if tenant.unseen_on or tenant.verdict is Verdict.UNKNOWN:
            return None
        if tenant.verdict in (Verdict.HELD, Verdict.REFUSED):
            if any(not target.reachable for target in self.report.targets):
                return None
            looked_for = tenant.verdict is Verdict.REFUSED or kind in _LOOKED_FOR
            return False if looked_for and tenant.database else None
        return False

    @staticmethod
    def _is_on_another_server(tenant: TenantPlan) -> bool:
        remedy = tenant.finding.remedy if tenant.finding is not None else None
        return remedy == Remedy.allow("replaced-server", remedy.text) if remedy else False

    def _standing(self, tenant: TenantPlan) -> str:
        kind = tenant.finding.kind if tenant.finding is not None else None
        return _STANDINGS.get(kind, tenant.verdict.value)

    def message(self, finding: Finding) -> str:
        """Return what a finding says, safe to print, without naming whom it is about."""
        return one_line(finding.message)

    # All of it

    @cached_property
    def tenants(self) -> list[TenantPlan]:
        """All tenants, those first that need somebody, then in the order of the report."""
        return sorted(self.report.tenants, key=lambda tenant: _ORDER[tenant.verdict])

    @cached_property
    def general(self) -> list[Group]:
        """What is about no single tenant, the guards' refusals among it: the causes."""
        found = [
            self._about(finding, one_line(finding.subject), is_tenant=finding.tenant is not None)
            for finding in self.report.notes
            if finding.kind is not Kind.NO_TENANTS
        ]
        for refusal in self.report.refusals:
            message = f"refused by the guard {refusal.guard}: {refusal.message}"
            finding = Finding(Kind.GUARD, Severity.ERROR, message, refusal.remedy)
            found.append(self._about(finding, "", is_tenant=False))
        return grouped(found)

    @cached_property
    def reasons(self) -> list[Group]:
        """Why tenants are not right; those that share a reason are one group."""
        return grouped(
            self._about(self.reason(tenant), self.label(tenant), tenant.target)
            for tenant in self.tenants
            if not self.is_right(tenant)
        )

    @cached_property
    def also(self) -> list[Group]:
        """What was found about tenants beyond why they are not right."""
        return grouped(
            self._about(finding, self.label(tenant), tenant.target)
            for tenant in self.report.tenants
            for finding in self.notes(tenant)
        )

    def notes(self, tenant: TenantPlan) -> tuple[Finding, ...]:
        """Return what was found about a tenant beyond why it is not right."""
        return tenant.findings if self.is_right(tenant) else tenant.notes

    def groups(self, severity: Severity) -> list[Group]:
        """Return all that there is of one severity: the causes, then whom they concern.

        What a guard refuses is one group, not one more for the tenants that wait for it.
        """
        told = {tenant for refusal in self.report.refusals for tenant in refusal.tenants}
        reasons = [
            group
            for group in self.reasons
            if group.kind is not Kind.GUARD or not told.issuperset(group.tenants)
        ]
        every = (*self.general, *reasons, *self.also)
        return [group for group in every if group.severity is severity]

    @cached_property
    def changes(self) -> Mapping[str, list[Change]]:
        """The changes that were made, or that a dry run would make, by the words for them."""
        report = self.report
        changes = report.planned if report.dry_run else report.changed
        order = {action: place for place, action in enumerate(Action)}
        found: defaultdict[str, list[Change]] = defaultdict(list)
        moved = {change.tenant for change in changes if change.action is Action.MOVE}
        for change in sorted(changes, key=lambda change: order[change.action]):
            if change.tenant in moved and change.action is not Action.MOVE:
                continue  # making the copy is a part of it
            words = to_do if report.dry_run else done
            found[words(change.action, self.traits(change.target).marker)].append(change)
        return found

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many tenants there are of each standing, in the order in which they are told.

        A tenant counts once: by the first thing done for it, or by where it stands.
        """
        report = self.report
        found: Counter[tuple[int, str]] = Counter({(0, Verdict.OK.value): 0})
        if not report.dry_run:
            found[9, Verdict.FAILED.value] = 0
        order = {action: place for place, action in enumerate(Action, 1)}
        for tenant in report.tenants:
            did = _told(tenant.changes if tenant.verdict is Verdict.PENDING else tenant.made)
            if did and self.is_right(tenant) and tenant.verdict is not Verdict.OK:
                words = to_do if tenant.verdict is Verdict.PENDING else done
                marker = self.traits(tenant.target).marker
                # What is dropped to make room for a new one is a part of creating that.
                actions = [change.action for change in did]
                first = Action.CREATE if Action.CREATE in actions else actions[0]
                found[order[first], words(first, marker)] += 1
            else:
                found[_PLACES[tenant.verdict], self._standing(tenant)] += 1
        return {word: found[place, word] for place, word in sorted(found)}

    @property
    def no_tenants(self) -> list[str]:
        """The sentences that say that a source, read well, holds nobody."""
        return [one_line(f.message) for f in self.report.notes if f.kind is Kind.NO_TENANTS]

    @property
    def has_retention(self) -> bool:
        """Whether there is a target that has retention periods, so that one speaks of them."""
        return any(target.traits.retention is not None for target in self.report.targets)

    @property
    def is_unread(self) -> bool:
        """Whether nothing is known of the tenants, because no source could be read."""
        report = self.report
        return not report.tenants and all(source.error for source in report.sources)

    @cached_property
    def is_troubled(self) -> bool:
        """Whether somebody should look: something is an error or a warning."""
        return self.report.exit_code is not ExitCode.OK or any(
            group.severity is not Severity.INFO
            for group in (*self.general, *self.reasons, *self.also)
        )

    @property
    def is_all_right(self) -> bool:
        """Whether all is as desired; what could not be read is not known to be."""
        report = self.report
        return (
            all(tenant.verdict is Verdict.OK for tenant in report.tenants)
            and not any(finding.severity is Severity.ERROR for finding in report.findings)
            and not report.refusals
        )

    @cached_property
    def not_right(self) -> Mapping[str, int]:
        """How many tenants are not right, by the words for where they stand."""
        found = Counter(self._standing(t) for t in self.tenants if not self.is_right(t))
        return dict(found)

    def summary(self) -> str:
        """Return the tenants counted by what happened to them, in one line."""
        report = self.report
        ending = ""
        if report.interrupted:
            ending = "; interrupted"
        elif report.dry_run:
            ending = f"; nothing {'to do' if self.is_all_right else 'was written'} (dry run)"
        elif report.tenants and self.is_all_right:
            ending = "; nothing to do"
        took = f"in {report.seconds:.1f} s{ending}"
        if self.is_unread:
            return f"tenants unknown: no source could be read, {took}"
        counted = ", ".join(f"{number:,} {word}" for word, number in self.counts.items())
        return f"{count(len(report.tenants), 'tenant')}: {counted}, {took}"

    def next_steps(self) -> list[str]:
        """Return what to do now beyond what stands with each error, the most urgent first."""
        report, steps = self.report, []
        if report.interrupted:
            steps.append("run it again: what was done stays done, and the rest follows")
        if report.dry_run and any(t.verdict is Verdict.PENDING for t in report.tenants):
            limited = any(tenant.over_estimate for tenant in report.tenants)
            apply = self.words.apply.replace("{}", report.command)
            steps.append(apply + (", as far as there is room" if limited else ""))
        errors = len(self.groups(Severity.ERROR))
        if errors and not report.interrupted:
            what = "the error" if errors == 1 else "the errors"
            done_once = "" if report.dry_run else "; what is done is not done twice"
            steps.append(f"see to {what} above, then run it again{done_once}")
        return steps

    def _about(
        self, finding: Finding, label: str, target: str | None = None, *, is_tenant: bool = True
    ) -> About:
        advice = self.words.advice(finding.remedy)
        return About(finding, self.message(finding), advice, label, target, is_tenant)


#: Where a tenant stands, where one word says it better than its verdict.
_STANDINGS: Mapping[Kind | None, str] = {
    Kind.UNCONFIRMED: "not confirmed",
    Kind.LOST: "lost",
    Kind.BUSY: "in another run's hands",
}
#: Where a summary tells of tenants that nothing was done for; what was done stands between.
_PLACES = {
    Verdict.OK: 0,
    Verdict.CHANGED: 5,
    Verdict.PENDING: 5,
    Verdict.HELD: 6,
    Verdict.REFUSED: 7,
    Verdict.UNKNOWN: 8,
    Verdict.FAILED: 9,
}


def _told(changes: Sequence[Change]) -> Sequence[Change]:
    """Return the changes of one tenant that are told: making a copy is a part of moving."""
    return [change for change in changes if change.action is Action.MOVE] or changes


def _kept_until(change: Change) -> str:
    if change.until is None or change.action is Action.ADOPT:  # then that is about its old copy
        return ""
    return f" (data until {moment(change.until)})"


def retention_change(before: Database | None, after: Database | None) -> str:
    """Return a database's retention period, and what it was where it changes."""
    if after is None:
        return "" if before is None else retention_words(before.retention)
    now = retention_words(after.retention)
    if before is None or before.retention == after.retention:
        return now
    return f"{now}, was {retention_words(before.retention)}"
