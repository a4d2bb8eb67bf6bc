"""What happened, in words: shared by the plain lines and the table.

Everything that a tenant, a server or an operating system named passes through `one_line`, `short`
or `printable` here, so that no name can break a line or steer a terminal.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from influxops import (
    Action,
    Database,
    Finding,
    Report,
    Severity,
    TenantResult,
    TenantState,
    action_words,
    one_line,
    printable,
    retention_words,
    short,
    without_tenant,
)

#: The worst first: what needs somebody stands where it is seen.
STATE_ORDER = (
    TenantState.FAILED,
    TenantState.UNKNOWN,
    TenantState.HELD,
    TenantState.REFUSED,
    TenantState.PENDING,
    TenantState.CHANGED,
    TenantState.OK,
)
_ALLOW = "only if that is what you want, run it again with"
_RIGHT = (TenantState.OK, TenantState.CHANGED)
_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: `1 tenant`, `1,000 tenants`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def retention_change(before: Database | None, after: Database | None) -> str:
    """Write the retention period of a database, and what it was where it changed."""
    if after is None:
        return "" if before is None else retention_words(before.retention)
    now = retention_words(after.retention)
    if before is None or before.retention == after.retention:
        return now
    return f"{retention_words(before.retention)} {_arrow()} {now}"


def _arrow() -> str:
    """Give an arrow where standard output has one."""
    try:
        "→".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "to"
    return "→"


@dataclass(frozen=True)
class Note:
    """One thing to tell beneath the tenants.

    Args:
        severity: How much it matters.
        what: Whom it is about, fit to be printed; empty where the text says so.
        text: Why, fit to be printed.
        hint: What to do, fit to be printed.
    """

    severity: Severity
    what: str
    text: str
    hint: str = ""

    @property
    def line(self) -> str:
        """The note without its hint."""
        return f"{self.what}: {self.text}" if self.what else self.text


@dataclass(frozen=True)
class Story:
    """A report, read for a person.

    Args:
        report: The report.
    """

    report: Report

    @cached_property
    def tenants(self) -> list[TenantResult]:
        """All tenants, those first that need somebody, then in the order of the report."""
        rank = {state: place for place, state in enumerate(STATE_ORDER)}
        return sorted(self.report.tenants, key=lambda tenant: rank[tenant.state])

    @cached_property
    def _findings(self) -> dict[str, list[Finding]]:
        found: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in self.report.findings:
            if finding.tenant is not None:
                found[finding.tenant].append(finding)
        return found

    @cached_property
    def guards(self) -> dict[str, str]:
        """The guard that refuses something for a tenant, by the tenant's id."""
        return {id_: r.guard for r in self.report.plan.refusals for id_ in r.tenants}

    @cached_property
    def beyond(self) -> frozenset[str]:
        """The ids of tenants for which a dry run finds no place left, if its estimate is right."""
        doubted = {
            finding.target
            for finding in self.report.findings
            if finding.kind == "over-capacity" and finding.tenant is None
        }
        left = {t.name: t.places_left or 0 for t in self.report.targets if t.name in doubted}
        beyond = set()
        for tenant in self.report.tenants:
            if tenant.state is not TenantState.PENDING or Action.CREATE not in tenant.actions:
                continue
            if tenant.target in left:
                left[tenant.target] -= 1
                if left[tenant.target] < 0:
                    beyond.add(tenant.tenant)
        return frozenset(beyond)

    def is_right(self, tenant: TenantResult) -> bool:
        """Tell whether a tenant needs nobody: it is right, or a dry run would make it so."""
        return tenant.state in _RIGHT or (
            tenant.state is TenantState.PENDING and self.report.dry_run
        )

    def severity(self, tenant: TenantResult) -> Severity:
        """Tell how much it matters that a tenant is not right.

        An error, unless all that was found about it is less: somebody who holds a tenant back
        knowingly (`acknowledged`) has said so.
        """
        found = self._findings.get(tenant.tenant)
        if tenant.state is not TenantState.HELD or not found:
            return Severity.ERROR
        return max((finding.severity for finding in found), key=_RANK.__getitem__)

    def label(self, tenant: TenantResult) -> str:
        """Name a tenant by its database, or by its quoted id where it has no valid one."""
        return short(tenant.database) or f"tenant {printable(tenant.tenant)}"

    def why(self, tenant: TenantResult) -> str:
        """Say why a tenant is not right, without naming it once more."""
        if tenant.state is TenantState.REFUSED and tenant.tenant in self.guards:
            # The guard's own message names all that it refuses, and is told once.
            return f"refused by the guard {self.guards[tenant.tenant]}"
        text = tenant.message
        if not text:
            found = self._findings.get(tenant.tenant, ())
            text = next((f.message for f in found if f.severity is Severity.ERROR), "")
        return one_line(without_tenant(text, tenant.tenant)) or {
            TenantState.PENDING: "not done",
            TenantState.REFUSED: "refused by a guard",
            TenantState.UNKNOWN: "its target could not be read",
        }.get(tenant.state, tenant.state.value)

    def did(self, tenant: TenantResult) -> str:
        """Say what was done for a tenant, or is to be done, or where it stands."""
        if tenant.state not in (TenantState.PENDING, TenantState.CHANGED):
            return tenant.state.value
        pending = tenant.state is TenantState.PENDING
        words = action_words(dry_run=pending)
        did = [words[action] for action in tenant.actions if action in words]
        if tenant.tenant in self.beyond:
            did.append("may find no place")
        return ", ".join(did) or tenant.state.value

    @cached_property
    def by_tenant(self) -> dict[str, list[Note]]:
        """What was found about each tenant beyond what its own line says."""
        results = {tenant.tenant: tenant for tenant in self.report.tenants}
        notes: dict[str, list[Note]] = {}
        for id_, found in self._findings.items():
            tenant = results.get(id_)
            said = None if tenant is None or self.is_right(tenant) else self.why(tenant)
            what = f"tenant {printable(id_)}" if tenant is None else self.label(tenant)
            for finding in found:
                text = one_line(without_tenant(finding.message, id_))
                if text != said:
                    note = Note(finding.severity, what, text, one_line(finding.hint))
                    notes.setdefault(id_, []).append(note)
        return notes

    @cached_property
    def general(self) -> list[Note]:
        """What was found that is about no single tenant, the guards' refusals among it."""
        notes = [
            Note(finding.severity, "", one_line(finding.message), one_line(finding.hint))
            for finding in self.report.findings
            if finding.tenant is None and finding.kind != "no-tenants"
        ]
        for refusal in self.report.plan.refusals:
            text = f"refused by the guard {refusal.guard}: {one_line(refusal.message)}"
            notes.append(Note(Severity.ERROR, "", text, f"{_ALLOW} --allow {refusal.guard}"))
        return notes

    @cached_property
    def no_tenants(self) -> list[str]:
        """The sentences that say that a source, read well, holds nobody."""
        return [one_line(f.message) for f in self.report.findings if f.kind == "no-tenants"]

    @cached_property
    def troubled(self) -> bool:
        """Whether somebody should look: an error or a warning, whatever the exit code."""
        notes = [*self.general, *(note for found in self.by_tenant.values() for note in found)]
        return (
            self.report.exit_code not in (0, 3)
            or any(note.severity is not Severity.INFO for note in notes)
            or any(
                self.severity(tenant) is not Severity.INFO
                for tenant in self.report.tenants
                if not self.is_right(tenant)
            )
        )

    def summary(self) -> str:
        """Count the tenants by what happened to them, in one line."""
        happened: Counter[str] = Counter()
        for tenant in self.report.tenants:
            word = self.did(tenant)
            if tenant.state in (TenantState.PENDING, TenantState.CHANGED):
                word = word.split(",")[0]  # a tenant counts once, by the first thing done
            happened[word] += 1
        done, to_do = action_words(dry_run=False), action_words(dry_run=True)
        order = ["ok", *done.values(), "changed", *to_do.values(), "pending"]
        order += ["held", "refused", "unknown", "failed"]
        always = {"ok"} if self.report.dry_run else {"ok", "failed"}
        parts = [f"{happened[w]:,} {w}" for w in order if happened[w] or w in always]
        ending = ""
        if self.report.dry_run:
            ending = f"nothing {'to do' if self._all_right else 'was written'} (dry run)"
        elif self.report.tenants and self._all_right:
            ending = "nothing to do"
        if self.report.interrupted:
            ending = "interrupted"
        took = f"in {self.report.seconds:.1f} s"
        tail = f"; {ending}" if ending else ""
        if not self.report.tenants and self._unread:
            return f"tenants unknown: no source could be read, {took}{tail}"
        return f"{count(len(self.report.tenants), 'tenant')}: {', '.join(parts)}, {took}{tail}"

    @property
    def _unread(self) -> bool:
        """Whether no source could be read, be it for the time or the lock."""
        return all(source.error for source in self.report.sources)

    @property
    def _all_right(self) -> bool:
        """Whether all is as desired; what could not be read is not known to be."""
        report = self.report
        return (
            all(tenant.state is TenantState.OK for tenant in report.tenants)
            and not any(finding.severity is Severity.ERROR for finding in report.findings)
            and not report.plan.refusals
        )

    def next_steps(self, *, hints: int = 5) -> list[str]:
        """Say what to do now, the most urgent first.

        Args:
            hints: Hints of errors to give at most; 0 where they are shown elsewhere.
        """
        report = self.report
        steps = []
        if report.interrupted:
            steps.append("run it again: what was done stays done, and the rest follows")
        if hints:
            found = list(self._hints())
            steps += found[:hints]
            if len(found) > hints:
                steps.append(f"{count(len(found) - hints, 'more hint')} in the JSON report")
            for refusal in report.plan.refusals:
                steps.append(f"{_ALLOW} --allow {refusal.guard}")
        if report.dry_run and any(t.state is TenantState.PENDING for t in report.tenants):
            limit = ", as far as there is room" if self.beyond else ""
            steps.append(f"influxops ensure makes these changes{limit}")
        return steps

    def _hints(self) -> Iterable[str]:
        """The hints of all that is wrong, each once, those first that help most tenants."""
        helps: Counter[str] = Counter()
        for finding in self.report.findings:
            if finding.severity is Severity.ERROR and finding.tenant is None:
                helps[one_line(finding.hint)] = 0
        for tenant in self.report.tenants:
            if tenant.state is TenantState.REFUSED:
                continue  # its guard has a step of its own
            if not self.is_right(tenant) and self.severity(tenant) is Severity.ERROR:
                helps[one_line(tenant.hint)] += 1
        helps.pop("", None)
        return (
            f"{hint} ({count(number, 'tenant')})" if number > 1 else hint
            for hint, number in helps.most_common()
        )
