"""`ReportView`: a report in the words for people, which every front end renders.

Whatever a tenant, a server or an operating system named is safe to print in all that it returns:
no name breaks a line or steers a terminal. Every part is made once, and is linear in the tenants.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from influxops.domain.database import TargetCapabilities
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint, HintKind
from influxops.domain.plan import Action, Change, TenantPlan, TenantStatus
from influxops.domain.text import format_time, one_line, pluralize, quote, truncate
from influxops.errors import ExitCode
from influxops.report.groups import FindingGroup, grouped
from influxops.report.model import Report
from influxops.report.wording import (
    CLI_STYLE,
    DONE,
    TO_DO,
    VERB,
    HintStyle,
    action_words,
    format_retention,
)

#: The worst first, where it is seen.
_ORDER = [
    TenantStatus.FAILED,
    TenantStatus.UNKNOWN,
    TenantStatus.BLOCKED,
    TenantStatus.GUARDED,
    TenantStatus.PENDING,
    TenantStatus.CHANGED,
    TenantStatus.OK,
]
#: Reasons for which a tenant is held although its name and id are valid, so it was looked for.
_LOOKED_FOR = (
    FindingKind.OVER_CAPACITY,
    FindingKind.DRAINING,
    FindingKind.CASE,
    FindingKind.RETENTION_NOT_READ,
    FindingKind.COMPLETENESS_UNKNOWN,
)


class ReportView:
    """A report in the words for people; `words` are how hints are written."""

    def __init__(self, report: Report, words: HintStyle = CLI_STYLE) -> None:
        self.report = report
        self.words = words
        self._targets = {target.name: target for target in report.targets}

    # One tenant

    def label(self, tenant: TenantPlan) -> str:
        """Return a tenant's name: its database's, or its quoted id where that has no valid one."""
        return truncate(tenant.database) or f"tenant {quote(tenant.tenant)}"

    def target_url(self, target: str | None) -> str | None:
        """Return the URL of a target; None where there is no such one."""
        found = self._targets.get(target or "")
        return found.url if found else None

    def capabilities(self, target: str | None) -> TargetCapabilities:
        """Return what a target's kind has, and what it calls it."""
        found = self._targets.get(target or "")
        return found.capabilities if found else TargetCapabilities()

    def target_text(self, tenant: TenantPlan) -> str:
        """Return where a tenant's database is or will be: ` on eu1`; empty where that is unknown.

        Of one that is to be moved, from where to where: ` from eu1 to eu2`.
        """
        move = tenant.move
        if (
            move is not None
            and tenant.status is TenantStatus.PENDING
            and move.target != tenant.target
        ):
            return f" from {one_line(tenant.target or '?')} to {one_line(move.target)}"
        return f" on {one_line(tenant.target)}" if tenant.target else ""

    def is_ok(self, tenant: TenantPlan) -> bool:
        """Return whether nothing is to be done: it is as desired, or a dry run would make it so."""
        status = tenant.status
        if status is TenantStatus.PENDING:
            return self.report.dry_run
        return status is TenantStatus.OK or status.is_ok

    def severity(self, tenant: TenantPlan) -> Severity:
        """Return how much it matters that a tenant is not ok; acknowledged ones matter less."""
        return tenant.finding.severity if tenant.finding else Severity.ERROR

    def reason(self, tenant: TenantPlan) -> Finding:
        """Return what explains that a tenant is not ok."""
        if tenant.finding is not None:
            return tenant.finding
        message = {
            TenantStatus.PENDING: "not done",
            TenantStatus.GUARDED: "refused by a guard",
            TenantStatus.UNKNOWN: "its target could not be read",
        }.get(tenant.status, tenant.status.value)
        return Finding(FindingKind.NOT_ATTEMPTED, Severity.ERROR, message, tenant=tenant.tenant)

    def reason_text(self, tenant: TenantPlan) -> str:
        """Return why a tenant is not ok, without its name."""
        return self.message(self.reason(tenant))

    def advice(self, tenant: TenantPlan) -> str:
        """Return what to do about a tenant that is not ok; empty where that is unknown."""
        return self.words.advice(tenant.finding.remedy) if tenant.finding else ""

    def action_text(self, tenant: TenantPlan) -> str:
        """Return what was done for a tenant, or is to be done, and its status if it is not ok."""
        is_planned = tenant.status is TenantStatus.PENDING and self.report.dry_run
        form, changes = (TO_DO, tenant.changes) if is_planned else (DONE, tenant.made)
        if not is_planned and not tenant.status.is_ok and tenant.move is not None:
            changes = ()  # the copy that was created is a part of a move that has not ended
        parts = [self._words(form, change) + _kept_until(change) for change in _reported(changes)]
        if is_planned:
            parts += ["may exceed the capacity"] if tenant.may_exceed_capacity else []
        elif tenant.status is not TenantStatus.CHANGED:
            parts.append(self._status(tenant))
        return ", ".join(parts) or tenant.status.value

    def steps_text(self, tenant: TenantPlan) -> str:
        """Return what is to be done as the beginning of a sentence that its name ends."""
        return " and ".join(self._words(VERB, change) for change in _reported(tenant.changes))

    def kept_text(self, tenant: TenantPlan) -> str:
        """Return until when a tenant's data is kept after all changes; empty where that is open."""
        return "".join(_kept_until(change) for change in tenant.changes).strip()

    def retention(self, tenant: TenantPlan) -> str:
        """Return a tenant's retention period, and what it was where it changes."""
        before, after = tenant.before, tenant.after
        if before is None or after is None:
            known = after or before
            return format_retention(known.retention) if known else ""
        now, was = format_retention(after.retention), format_retention(before.retention)
        return now if after.retention == before.retention else f"{now}, was {was}"

    def exists(self, tenant: TenantPlan) -> bool | None:
        """Return whether a dry run found a tenant's database; None where that is unknown.

        A target that cannot be read may hold it, another server answers than recorded, or the
        tenant is held for its id or a shared name and was not looked for.
        """
        kind = tenant.kind
        remedy = tenant.finding.remedy if tenant.finding else Hint.advise("")
        is_allowance = remedy.kind is HintKind.ALLOW and tenant.status is TenantStatus.GUARDED
        if is_allowance and remedy.value == "replaced-server":
            return None
        if kind is FindingKind.LOST:
            return False  # a client's database has its name
        if tenant.before is not None or kind in (FindingKind.IN_TWO_TARGETS, FindingKind.MISPLACED):
            return True
        if kind is FindingKind.INVALID_NAME:
            return False  # no database can be called so
        if tenant.unseen_on or tenant.status is TenantStatus.UNKNOWN:
            return None
        if tenant.status in (TenantStatus.BLOCKED, TenantStatus.GUARDED):
            if any(not target.reachable for target in self.report.targets):
                return None
            looked_for = tenant.status is TenantStatus.GUARDED or kind in _LOOKED_FOR
            return False if looked_for and tenant.database else None
        return False

    @staticmethod
    def of_many(words: str, number: int) -> str:
        """Return the words for a status as they are said of so many tenants: `need --allow`."""
        return f"need {words[6:]}" if number != 1 and words.startswith("needs ") else words

    def _status(self, tenant: TenantPlan) -> str:
        guarded = tenant.status is TenantStatus.GUARDED
        return _STATUSES.get(tenant.kind, self.words.guarded if guarded else tenant.status.value)

    def message(self, finding: Finding) -> str:
        """Return the message of a finding, safe to print, without its subject."""
        return one_line(finding.message)

    def _words(self, form: int, change: Change) -> str:
        marker = self.capabilities(change.target).completion_marker
        return action_words(form, change.action, marker)

    # All of it

    @cached_property
    def tenants(self) -> list[TenantPlan]:
        """All tenants, those first that are not ok, then in the order of the report."""
        return self._worst_first(self.report.tenants)

    @staticmethod
    def _worst_first(tenants: Iterable[TenantPlan]) -> list[TenantPlan]:
        return sorted(tenants, key=lambda tenant: _ORDER.index(tenant.status))

    @cached_property
    def run_groups(self) -> list[FindingGroup]:
        """What concerns no single tenant, the guards' refusals included: the causes."""
        found = [
            self._group(finding, one_line(finding.subject), finding.tenant)
            for finding in self.report.notes
            if finding.kind is not FindingKind.NO_TENANTS
        ]
        for refusal in self.report.refusals:
            message = f"refused by the guard {refusal.guard}: {refusal.message}"
            found.append(
                self._group(Finding(FindingKind.GUARD, Severity.ERROR, message, refusal.remedy))
            )
        return grouped(found)

    @cached_property
    def failure_groups(self) -> list[FindingGroup]:
        """Why tenants are not ok; those that share a reason are one group."""
        return grouped(
            self._group(self.reason(tenant), self.label(tenant), tenant.tenant, tenant.target)
            for tenant in self._worst_first(t for t in self.report.tenants if not self.is_ok(t))
        )

    @cached_property
    def extra_groups(self) -> list[FindingGroup]:
        """What was found about tenants beyond why they are not ok."""
        return grouped(
            self._group(finding, self.label(tenant), tenant.tenant, tenant.target)
            for tenant in self.report.tenants
            for finding in self.notes(tenant)
        )

    def _group(
        self,
        finding: Finding,
        label: str = "",
        tenant: str | None = None,
        target: str | None = None,
    ) -> FindingGroup:
        return FindingGroup(
            finding.kind,
            finding.severity,
            self.message(finding),
            finding.remedy,
            self.words.advice(finding.remedy),
            labels=(label,) if label else (),
            targets=(target,) if target else (),
            tenants=(tenant,) if tenant is not None else (),
        )

    def notes(self, tenant: TenantPlan) -> tuple[Finding, ...]:
        """Return what was found about a tenant beyond why it is not ok."""
        if tenant.finding is None:
            return tenant.notes
        return tenant.findings if self.is_ok(tenant) else tenant.notes

    def groups(self, severity: Severity) -> list[FindingGroup]:
        """Return all groups of one severity: the causes, then the tenants.

        What a guard refuses is one group, and not a second one for the tenants that wait for it.
        """
        told = {tenant for refusal in self.report.refusals for tenant in refusal.tenants}
        reasons = [
            group
            for group in self.failure_groups
            if group.kind is not FindingKind.GUARD or not told.issuperset(group.tenants)
        ]
        every = (*self.run_groups, *reasons, *self.extra_groups)
        return [group for group in every if group.severity is severity]

    @cached_property
    def changes(self) -> Mapping[str, list[Change]]:
        """The changes that were made, or that a dry run would make, by the words for them."""
        report = self.report
        changes = report.planned if report.dry_run else report.changed
        form = TO_DO if report.dry_run else DONE
        found: defaultdict[str, list[Change]] = defaultdict(list)
        moved = {change.tenant for change in changes if change.action in _WITH_DATA}
        for change in sorted(changes, key=lambda change: _ACTIONS.index(change.action)):
            if change.tenant not in moved or change.action in _WITH_DATA:
                found[self._words(form, change)].append(change)
        return found

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many tenants there are of each status, in the order of a summary.

        A tenant counts once: by the first change made for it, or by its status.
        """
        report = self.report
        found: Counter[tuple[int, str]] = Counter({(0, TenantStatus.OK.value): 0})
        if not report.dry_run:
            found[_PLACES[TenantStatus.FAILED], TenantStatus.FAILED.value] = 0
        ok = 0  # and nothing else to say, as of nearly all
        for tenant in report.tenants:
            if tenant.status is TenantStatus.OK and tenant.finding is None:
                ok += 1
                continue
            is_pending = tenant.status is TenantStatus.PENDING
            did = _reported(tenant.changes if is_pending else tenant.made)
            if did and self.is_ok(tenant) and tenant.status is not TenantStatus.OK:
                # What is dropped to make room for a new one is a part of creating that.
                first = next((each for each in did if each.action is Action.CREATE), did[0])
                words = self._words(TO_DO if is_pending else DONE, first)
                found[1 + _ACTIONS.index(first.action), words] += 1
            else:
                found[_PLACES[tenant.status], self._status(tenant)] += 1
        found[0, TenantStatus.OK.value] += ok
        return {self.of_many(word, n): n for (_, word), n in sorted(found.items())}

    @property
    def no_tenants(self) -> list[str]:
        """The sentences that say that a source was read and has no tenants."""
        return [one_line(f.message) for f in self.report.notes if f.kind is FindingKind.NO_TENANTS]

    @property
    def asides(self) -> list[str]:
        """The sentences to read beside what was found: of what is no tenant's of this run."""
        number = len(self.report.orphans)
        if not number:
            return self.no_tenants
        are = "tenant is" if number == 1 else "tenants are"
        line = f"{number:,} recorded {are} in no source (`influxops status --orphans`)"
        return [*self.no_tenants, line]

    @property
    def has_retention(self) -> bool:
        """Whether there is a target that has retention periods, so that one speaks of them."""
        return any(target.capabilities.retention is not None for target in self.report.targets)

    @property
    def is_unread(self) -> bool:
        """Whether nothing is known of the tenants, because no source could be read."""
        report = self.report
        return not report.tenants and all(source.error for source in report.sources)

    @cached_property
    def needs_attention(self) -> bool:
        """Whether there is an error or a warning."""
        return self.report.exit_code is not ExitCode.OK or any(
            group.severity is not Severity.INFO
            for group in (*self.run_groups, *self.failure_groups, *self.extra_groups)
        )

    @property
    def is_routine(self) -> bool:
        """Whether nothing is wrong, and a dry run found nothing to do: not worth a word."""
        return not self.needs_attention and not (self.report.dry_run and self.report.planned)

    @property
    def is_as_desired(self) -> bool:
        """Whether all is as desired; what could not be read does not count as that."""
        report = self.report
        return (
            all(tenant.status is TenantStatus.OK for tenant in report.tenants)
            and not any(finding.severity is Severity.ERROR for finding in report.findings)
            and not report.refusals
        )

    @cached_property
    def failure_counts(self) -> Mapping[str, int]:
        """How many tenants are not ok, by the words for their status."""
        found = Counter(self._status(t) for t in self.tenants if not self.is_ok(t))
        return {self.of_many(word, number): number for word, number in found.items()}

    def summary(self) -> str:
        """Return the tenants counted by what happened to them, in one line."""
        report = self.report
        ending = ""
        if report.interrupted:
            ending = "; interrupted"
        elif report.dry_run:
            ending = f"; nothing {'to do' if self.is_as_desired else 'was written'} (dry run)"
        elif report.tenants and self.is_as_desired:
            ending = "; nothing to do"
        took = f"in {report.seconds:.1f} s{ending}"
        if self.is_unread:
            return f"tenants unknown: no source could be read, {took}"
        counted = ", ".join(f"{number:,} {word}" for word, number in self.counts.items())
        return f"{pluralize(len(report.tenants), 'tenant')}: {counted}, {took}"

    def next_steps(self) -> list[str]:
        """Return what to do now beyond the hint of each error, the most urgent first."""
        report, steps = self.report, []
        if report.interrupted:
            steps.append("run it again: what was done stays done, and the rest follows")
        if report.dry_run and any(t.status is TenantStatus.PENDING for t in report.tenants):
            limited = any(tenant.may_exceed_capacity for tenant in report.tenants)
            command = report.apply or f"influxops {report.command}"
            apply = self.words.apply.replace("{}", one_line(command))
            steps.append(apply + (", as far as there is room" if limited else ""))
        errors = len(self.groups(Severity.ERROR))
        if errors and not report.interrupted:
            what = "the error" if errors == 1 else "the errors"
            done_once = "" if report.dry_run else "; completed work is not repeated"
            steps.append(f"fix {what} above, then run it again{done_once}")
        return steps


#: In the order in which a summary has them.
_ACTIONS = list(Action)
#: Actions for which a database may be created first.
_WITH_DATA = (Action.MOVE, Action.IMPORT)
#: The status of a tenant, where one word says it better than its value.
_STATUSES: Mapping[FindingKind | None, str] = {
    FindingKind.UNCONFIRMED: "not confirmed",
    FindingKind.LOST: "lost",
    FindingKind.CLAIMED: "claimed by another run",
    FindingKind.INTERRUPTED: "interrupted",
}
#: The place in a summary of tenants that nothing was done for; between them, what was done.
_PLACES = {
    TenantStatus.OK: 0,
    TenantStatus.CHANGED: 20,
    TenantStatus.PENDING: 20,
    TenantStatus.BLOCKED: 21,
    TenantStatus.GUARDED: 22,
    TenantStatus.UNKNOWN: 23,
    TenantStatus.FAILED: 24,
}


def _reported(changes: Sequence[Change]) -> Sequence[Change]:
    """Return the changes of one tenant to report: what is created for them is a part of some."""
    if len(changes) < 2:
        return changes
    return [change for change in changes if change.action in _WITH_DATA] or changes


def _kept_until(change: Change) -> str:
    if change.until is None or change.action is Action.ADOPT:  # then it concerns the old copy
        return ""
    return f" (data until {format_time(change.until)})"
