"""The result of a task: a run's report in the terms of its parameters."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.plan import Change, TenantPlan
from influxops.domain.text import summarize, truncate
from influxops.errors import InfluxopsError, LockBusy
from influxops.report.document import finding_document, summary
from influxops.report.groups import FindingGroup
from influxops.report.model import Report
from influxops.report.view import ReportView
from influxops.report.wording import ANSIBLE_STYLE
from influxops_ansible.task import Task

#: Reasons of a failure, and names with one of them; the result has all.
_MAX_REASONS = 20
_MAX_NAMES = 20


class Result(Struct, frozen=True):
    """What a task returns."""

    values: Mapping[str, Any] = field(default_factory=dict)  # what the module returns
    warnings: tuple[str, ...] = ()  # what it warns of
    failure: str = ""  # why the task fails; empty where it does not
    missing: str = ""  # the Python library that is not installed


def run_task(work: Callable[[Task], Result], parameters: Mapping[str, Any]) -> Result:
    """Return the result of a task's work; an error of its configuration is a failure as well."""
    try:
        result = work(Task(parameters))
        if result.failure and not result.values.get("changed"):
            # A plugin that lacks a library has failed, and the run went on without it.
            return replace(result, missing=_missing_requirement())
        return result
    except ModuleNotFoundError as error:
        return Result(failure=str(error), missing=error.name or "influxops")
    except InfluxopsError as error:
        missing = _missing_requirement()
        if missing:
            return Result(failure=str(error), missing=missing)
        kind = FindingKind.LOCK_BUSY if isinstance(error, LockBusy) else FindingKind.CONFIGURATION
        finding = Finding(kind, Severity.ERROR, error.message, error.remedy)
        return Result(
            {"findings": [_document(finding)]},
            failure=with_advice(error.message, ANSIBLE_STYLE.advice(error.remedy)),
        )


class TaskReport:
    """A run's report, as a task returns it."""

    def __init__(self, report: Report) -> None:
        if report.dry_run:
            # A run creates what may exceed an estimated capacity, and the server decides.
            report = replace(report, notes=tuple(map(_downgraded, report.notes)))
        self.run = report
        self.view = ReportView(report, ANSIBLE_STYLE)

    @property
    def values(self) -> dict[str, Any]:
        """The values that every module returns."""
        refusals = [
            Finding(FindingKind.GUARD, Severity.ERROR, refusal.message, Hint.allow(refusal.guard))
            for refusal in self.run.refusals
            if not refusal.tenants  # else the tenants that it blocks have the finding
        ]
        findings = [*self.run.findings, *refusals]
        counted = summary(self.run)
        if self.run.dry_run:
            planned = (c.action.value for t in self.run.tenants for c in self.changes(t))
            counted["planned"] = dict(Counter(planned))
        counted["findings"] = dict(Counter(finding.severity.value for finding in findings))
        return {
            "findings": [_document(finding) for finding in findings],
            "summary": counted,
        }

    def changes(self, tenant: TenantPlan) -> tuple[Change, ...]:
        """Return what was changed, or would be for certain."""
        if not self.run.dry_run:
            return tenant.made
        return () if tenant.may_exceed_capacity else tenant.changes

    def is_open(self, tenant: TenantPlan) -> bool:
        """Return whether a tenant is not as it should be, and that is not acknowledged."""
        return not self.view.is_ok(tenant) and self.view.severity(tenant) is Severity.ERROR

    @property
    def not_as_desired(self) -> list[str]:
        """The ids of the tenants that are not as they should be."""
        return [tenant.tenant for tenant in self.run.tenants if self.is_open(tenant)]

    @property
    def failure(self) -> str:
        """Why the task fails: which tenants are not as they should be, and why."""
        groups = self.view.groups(Severity.ERROR)
        messages = [self._message(group) for group in groups[:_MAX_REASONS]]
        if len(groups) > _MAX_REASONS:
            messages.append(f"and {len(groups) - _MAX_REASONS} more, see `findings`")
        return "; ".join(messages)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the task warns of."""
        return tuple(map(self._message, self.view.groups(Severity.WARNING)))

    @property
    def is_only_unreachable(self) -> bool:
        """Whether all that is wrong is that targets cannot be reached."""
        errors = [f for f in self.run.findings if f.severity is Severity.ERROR]
        kinds = {f.kind for f in errors if f.remedy != Hint.allow("unreachable")}
        if not any(target.reachable for target in self.run.targets):
            kinds.discard(FindingKind.DEADLINE)
        return kinds <= {FindingKind.UNREACHABLE, FindingKind.NOT_READ} and all(
            refusal.guard == "unreachable" for refusal in self.run.refusals
        )

    @property
    def names_tenants(self) -> bool:
        """Whether all tenants that it fails for are known: no source is unreadable or empty."""
        return all(refusal.tenants for refusal in self.run.refusals) and not any(
            f.kind is FindingKind.FAILED_SOURCE and f.severity is Severity.ERROR
            for f in self.run.findings
        )

    def _message(self, group: FindingGroup) -> str:
        line = group.line(_MAX_NAMES)
        if group.kind is FindingKind.OVER_CAPACITY:
            # The group is about a target; the tenants that may exceed its capacity are named here.
            beyond = [t for t in self.run.tenants if t.may_exceed_capacity]
            names = [truncate(t.database) for t in beyond if f"target {t.target}" in group.labels]
        elif group.remedy == Hint.allow("unreachable"):
            names = [truncate(t.database) for t in self.run.tenants if t.refused and t.unseen_on]
        else:
            names = []
        return with_advice(
            f"{line}: {summarize(names, _MAX_NAMES)}" if names else line, group.advice
        )


def listed(
    entries: Iterable[tuple[dict[str, Any], bool]], task: Task, *, failed: bool
) -> dict[str, Any]:
    """Return `databases` and `omitted`: a task that fails leaves out entries that are not open."""
    every = list(entries)
    shown = every
    if failed and task.parameters.get("details") != "all":
        shown = [(entry, is_open) for entry, is_open in every if is_open]
    return {"databases": [entry for entry, _ in shown], "omitted": len(every) - len(shown)}


def no_tenants(task: Task) -> dict[str, Any]:
    """Return the values of a task with an empty list of tenants."""
    with task.engine(dry_run=True):
        counted: dict[str, Any] = {"tenants": {}, "planned": {}, "changed": {}, "findings": {}}
        return {"databases": [], "omitted": 0, "findings": [], "summary": counted}


def _missing_requirement() -> str:
    """Return a library that influxops needs and that is not installed; empty where all are."""
    with contextlib.suppress(metadata.PackageNotFoundError):  # it runs from a folder
        for requirement in metadata.requires("influxops") or ():
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            if "extra ==" in requirement:
                continue
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                return name
    return ""


def _downgraded(finding: Finding) -> Finding:
    if finding.kind is FindingKind.OVER_CAPACITY and finding.severity is Severity.ERROR:
        return replace(finding, severity=Severity.WARNING)
    return finding


def _document(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data, whose hint names parameters instead of options."""
    document = finding_document(finding, ANSIBLE_STYLE)
    del document["remedy"]
    return document


def with_advice(text: str, advice: str) -> str:
    """Return a text with what to do about it, if there is any."""
    return f"{text} ({advice})" if advice else text
