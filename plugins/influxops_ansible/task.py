"""From a task's parameters to a configuration and a scope, and from a report to why it fails."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from influxops import (
    Config,
    Engine,
    Finding,
    InfluxopsError,
    Report,
    Run,
    Scope,
    Severity,
    Status,
    load_config,
    parse_config,
    report_document,
)

#: The variable of the module's own process that its parameter `token` is put into: a
#: configuration names where a secret is and never holds one.
TOKEN = "INFLUX_TENANT_DB_TOKEN"

#: The parameters that say where the only target is, beside `token`.
_TARGET = ("url", "validate_certs", "ca_path", "client_cert", "client_key")
#: How many reasons a failure's message tells; the result has them all.
_MOST_REASONS = 20
_MOST_TENANTS = 50


@dataclass(frozen=True, slots=True)
class Result:
    """What a task comes to.

    Args:
        values: What the module returns.
        warnings: What it warns of.
        failure: Why the task fails; empty where it does not.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Task:
    """A task's parameters, as the engine takes them.

    Args:
        parameters: The module's parameters, checked against its argument specification.
    """

    parameters: Mapping[str, Any]

    @property
    def named(self) -> list[Any] | None:
        """The tenants that the task itself names: ids and tables; None where it names none."""
        tenant = self.parameters.get("tenant")
        if tenant is not None:
            return [tenant]
        tenants: list[Any] | None = self.parameters.get("tenants")
        return tenants

    @property
    def scope(self) -> Scope:
        """The tenants that the task names: the databases of all others are not its business."""
        ids = (
            (item.get("id") or item.get("tenant_id")) if isinstance(item, Mapping) else item
            for item in self.named or ()
        )
        return Scope(frozenset(each for each in ids if isinstance(each, str) and each.strip()))

    def config(self) -> Config:
        """Make the configuration.

        Raises:
            ConfigError: When the parameters, or the file that they name, say what cannot be.
        """
        own = {**self._naming(), **self._sources()}
        path = self.parameters.get("config")
        if path is None:
            return parse_config({**own, "targets": self._targets()})
        file, task = load_config(path), parse_config(own)
        if "sources" in own:
            kept = (section for section in file.sections if section.role != "sources")
            file = replace(file, sections=(*task.of("sources"), *kept))
        return replace(file, database=task.database) if "database" in own else file

    @contextlib.contextmanager
    def engine(self, *, dry_run: bool) -> Iterator[tuple[Engine, Run]]:
        """Give an engine with the task's configuration, and the task's run.

        Nothing that a reporter prints reaches standard output, which is the module's result.

        Args:
            dry_run: Whether nothing is written.

        Raises:
            InfluxopsError: When the parameters say what cannot be, or what they name is not there.
        """
        with contextlib.redirect_stdout(sys.stderr):
            config = self.config()
            timeout = self.parameters.get("timeout") or config.timeout
            with Engine(config) as engine:
                yield engine, Run(timeout=timeout, dry_run=dry_run, scope=self.scope)

    def _naming(self) -> dict[str, Any]:
        tables: dict[str, Any] = {}
        if self.parameters.get("name_template") is not None:
            tables["naming"] = {"database": self.parameters["name_template"]}
        if self.parameters.get("retention") is not None:
            tables["database"] = {"retention": self.parameters["retention"]}
        return tables

    def _sources(self) -> dict[str, Any]:
        if self.named is not None:
            return {"sources": {"task": {"kind": "static", "tenants": self.named}}}
        if self.parameters.get("source") is not None:
            return {"sources": {"task": self.parameters["source"]}}
        return {}

    def _targets(self) -> Mapping[str, Any]:
        targets: Mapping[str, Any] | None = self.parameters.get("targets")
        if targets is not None:
            return {
                name: {"kind": "influxdb3", **values} if isinstance(values, Mapping) else values
                for name, values in targets.items()
            }
        target = {
            name: self.parameters[name] for name in _TARGET if self.parameters.get(name) is not None
        }
        if self.parameters.get("token"):
            os.environ[TOKEN] = self.parameters["token"]
            target["token"] = {"env": TOKEN}
        return {"default": {"kind": "influxdb3", **target}}


def attempt(work: Callable[[Task], Result], parameters: Mapping[str, Any]) -> Result:
    """Do a task's work; what ends it before it began is its failure.

    Args:
        work: What to do.
        parameters: The module's parameters.
    """
    try:
        return work(Task(parameters))
    except InfluxopsError as error:
        return Result(failure=str(error))


def told(report: Report) -> dict[str, Any]:
    """Give the parts of a report that every module returns."""
    document = report_document(report)
    return {"findings": document["findings"], "summary": document["summary"]}


def warnings(report: Report) -> tuple[str, ...]:
    """Give what the task warns of."""
    return tuple(_said(f) for f in report.findings if f.severity is Severity.WARNING)


def reasons(report: Report) -> str:
    """Say which tenants are not as they should be, and why.

    Args:
        report: A report that ends with another exit code than 0.
    """
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    texts = [finding.message for finding in errors]
    hints = [finding.hint for finding in errors]
    for outcome in report.outcomes:
        if outcome.status is not Status.DONE:
            texts.append(
                f"tenant {outcome.change.tenant!r}: {outcome.change.action.value} of "
                f"{outcome.change.database} on {outcome.change.target}: "
                f"{outcome.message or outcome.status.value}"
            )
            hints.append(outcome.hint)
    if report.plan.unknown:
        texts.append(f"nothing can be told of {_listed(report.plan.unknown)}")
    for refusal in report.plan.refusals:
        texts.append(refusal.message)
        hints.append(f"if that is meant: allow: [{refusal.guard}]")
    shown = list(dict.fromkeys(texts))
    if len(shown) > _MOST_REASONS:
        more = len(shown) - _MOST_REASONS
        shown[_MOST_REASONS:] = [f"and {more} more, see `databases` and `findings`"]
    advice = "; ".join(dict.fromkeys(hint for hint in hints if hint))
    return "; ".join(shown) + (f" ({advice})" if advice else "")


def _said(finding: Finding) -> str:
    return f"{finding.message} ({finding.hint})" if finding.hint else finding.message


def _listed(tenants: Sequence[str]) -> str:
    names = ", ".join(map(repr, tenants[:_MOST_TENANTS]))
    if len(tenants) > _MOST_TENANTS:
        names += f" and {len(tenants) - _MOST_TENANTS} more"
    return f"{'tenant' if len(tenants) == 1 else 'tenants'} {names}"
