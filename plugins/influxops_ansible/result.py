"""What a task comes to: a report in the words of a task."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.change import Change
from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.hint import Remedy
from influxops.domain.plan import TenantPlan
from influxops.domain.text import summarize, truncate
from influxops.errors import InfluxopsError, LockBusy
from influxops.report.document import finding_document, summary
from influxops.report.groups import FindingGroup
from influxops.report.model import Report
from influxops.report.view import ReportView
from influxops.report.wording import ANSIBLE_STYLE
from influxops_ansible.task import Task

#: How much a message tells; the result has all of it.
_MOST_REASONS = 20
_MOST_NAMES = 20


class Result(Struct, frozen=True):
    """What a task comes to."""

    values: Mapping[str, Any] = field(default_factory=dict)  # what the module returns
    warnings: tuple[str, ...] = ()  # what it warns of
    failure: str = ""  # why the task fails; empty where it does not
    missing: str = ""  # the Python library that is not installed


def attempt(work: Callable[[Task], Result], parameters: Mapping[str, Any]) -> Result:
    """Return what a task's work comes to; what ends it before it began is its failure.

    Args:
        work: What to do.
        parameters: The module's parameters.
    """
    try:
        result = work(Task(parameters))
        if result.failure and not result.values.get("changed"):
            # A plugin that finds a library missing has failed, and others went on without it.
            return replace(result, missing=_missing_requirement())
        return result
    except ModuleNotFoundError as error:
        return Result(failure=str(error), missing=error.name or "influxops")
    except InfluxopsError as error:
        missing = _missing_requirement()
        if missing:
            return Result(failure=str(error), missing=missing)
        kind = Kind.LOCK_BUSY if isinstance(error, LockBusy) else Kind.CONFIGURATION
        finding = Finding(kind, Severity.ERROR, error.message, error.remedy)
        return Result(
            {"findings": [_document(finding)]},
            failure=with_advice(error.message, ANSIBLE_STYLE.advice(error.remedy)),
        )


class Told:
    """A report, as a task tells it.

    Args:
        report: The report.
    """

    def __init__(self, report: Report) -> None:
        if report.dry_run:
            # What may find no place is tried in the run, and the server decides.
            report = replace(report, notes=tuple(map(_softened, report.notes)))
        self.report = report
        self.view = ReportView(report, ANSIBLE_STYLE)

    @property
    def values(self) -> dict[str, Any]:
        """What every module returns."""
        refusals = [
            Finding(Kind.GUARD, Severity.ERROR, refusal.message, Remedy.allow(refusal.guard))
            for refusal in self.report.refusals
            if not refusal.tenants  # else those that wait for it have the finding
        ]
        findings = [*self.report.findings, *refusals]
        counted = summary(self.report)
        if self.report.dry_run:
            planned = (c.action.value for t in self.report.tenants for c in self.changes(t))
            counted["planned"] = dict(Counter(planned))
        counted["findings"] = dict(Counter(finding.severity.value for finding in findings))
        return {
            "findings": [_document(finding) for finding in findings],
            "summary": counted,
        }

    def changes(self, tenant: TenantPlan) -> tuple[Change, ...]:
        """Return what was changed, or would be; what may find no place is not promised."""
        if not self.report.dry_run:
            return tenant.made
        return () if tenant.over_estimate else tenant.changes

    def is_open(self, tenant: TenantPlan) -> bool:
        """Return whether a tenant is not as it should be, and nobody acknowledged that."""
        return not self.view.is_ok(tenant) and self.view.severity(tenant) is Severity.ERROR

    @property
    def open(self) -> list[str]:
        """The ids of the tenants that are not as they should be."""
        return [tenant.tenant for tenant in self.report.tenants if self.is_open(tenant)]

    @property
    def failure(self) -> str:
        """Why the task fails: which tenants are not as they should be, and why."""
        groups = self.view.groups(Severity.ERROR)
        told = [self._said(group) for group in groups[:_MOST_REASONS]]
        if len(groups) > _MOST_REASONS:
            told.append(f"and {len(groups) - _MOST_REASONS} more, see `findings`")
        return "; ".join(told)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the task warns of."""
        return tuple(map(self._said, self.view.groups(Severity.WARNING)))

    @property
    def is_only_unreachable(self) -> bool:
        """Whether all that is wrong is that targets cannot be reached."""
        errors = [f for f in self.report.findings if f.severity is Severity.ERROR]
        kinds = {f.kind for f in errors if f.remedy != Remedy.allow("unreachable")}
        if not any(target.reachable for target in self.report.targets):
            kinds.discard(Kind.DEADLINE)
        return kinds <= {Kind.UNREACHABLE, Kind.NOT_READ} and all(
            refusal.guard == "unreachable" for refusal in self.report.refusals
        )

    @property
    def is_nameless(self) -> bool:
        """Whether it fails for tenants that nobody can name: their source says nothing of them."""
        return any(not refusal.tenants for refusal in self.report.refusals) or any(
            f.kind is Kind.FAILED_SOURCE and f.severity is Severity.ERROR
            for f in self.report.findings
        )

    def _said(self, group: FindingGroup) -> str:
        line = group.line(_MOST_NAMES)
        if group.kind is Kind.OVER_CAPACITY:
            # It is about a target; who it is that may find no place there is said here.
            these = [t for t in self.report.tenants if t.over_estimate]
            names = [truncate(t.database) for t in these if f"target {t.target}" in group.labels]
        elif group.remedy == Remedy.allow("unreachable"):
            names = [truncate(t.database) for t in self.report.tenants if t.refused and t.unseen_on]
        else:
            names = []
        return with_advice(
            f"{line}: {summarize(names, _MOST_NAMES)}" if names else line, group.advice
        )


def shortened(
    entries: Iterable[tuple[dict[str, Any], bool]], task: Task, *, failed: bool
) -> dict[str, Any]:
    """Return the entries that are to be told, and how many are not.

    Args:
        entries: Each entry, and whether it is about what is not as it should be.
        task: The task, which may ask for all of them.
        failed: Whether it fails.
    """
    every = list(entries)
    shown = every
    if failed and task.parameters.get("details") != "all":
        shown = [(entry, is_open) for entry, is_open in every if is_open]
    return {"databases": [entry for entry, _ in shown], "omitted": len(every) - len(shown)}


def nothing(task: Task) -> dict[str, Any]:
    """Return what every module returns, for a task that asks for nothing.

    Args:
        task: The task, whose other parameters are checked all the same.

    Raises:
        InfluxopsError: When they say what cannot be.
    """
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


def _softened(finding: Finding) -> Finding:
    if finding.kind is Kind.OVER_CAPACITY and finding.severity is Severity.ERROR:
        return replace(finding, severity=Severity.WARNING)
    return finding


def _document(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data; what to do about it is its hint, in a task's words."""
    document = finding_document(finding, ANSIBLE_STYLE)
    del document["remedy"]
    return document


def with_advice(text: str, advice: str) -> str:
    """Return a text with what to do about it, if there is anything."""
    return f"{text} ({advice})" if advice else text
