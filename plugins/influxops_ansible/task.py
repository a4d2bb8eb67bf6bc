"""From a task's parameters to a configuration and a scope, and from a report to why it fails."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from influxops import (
    Config,
    ConfigError,
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

#: The parameters that Ansible fills from variables, which are not the task's own words then.
_VARIABLES = {"url": "INFLUXDB_URL", "token": "INFLUXDB_TOKEN"}
#: What a dictionary in `tenants` may say.
_TENANT_KEYS = ("id", "retention", "target", "database")
#: The variables of the registry that is read where no file says which.
_REGISTRY_VARIABLES = ("PG_", "PGHOST", "PGDATABASE")
#: The engine's words for what a task has other words for.
_WORDS = (
    (
        re.compile(rf"(?:the )?environment variable {TOKEN}"),
        "the parameter `token` (or INFLUXDB_TOKEN)",
    ),
    (re.compile(rf"export {TOKEN}"), "give `token`"),
    (re.compile(r"--timeout\b"), "`timeout`"),
    (re.compile(r"--allow ([a-z-]+)"), r"allow: [\1]"),
)
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
        ids = (item.get("id") if isinstance(item, Mapping) else item for item in self.named or ())
        return Scope(frozenset(each for each in ids if isinstance(each, str) and each.strip()))

    def check(self) -> None:
        """Refuse what Ansible's own checks let through.

        Raises:
            ConfigError: When the parameters say what cannot be; no secret is repeated.
        """
        self._check_own_target()
        self._check_tenants()
        if (self.parameters.get("timeout") or 0) < 0:
            raise ConfigError("`timeout` is negative", hint="give seconds, or 0 for the default")
        # Ansible makes text of a dictionary.
        if str(self.parameters.get("token") or "").lstrip().startswith("{"):
            raise ConfigError(
                "`token` is the token itself, not a dictionary",
                hint="a reference to a variable or a file goes into `targets`",
            )

    def _check_own_target(self) -> None:
        """Keep what the task says beside `config` or `targets` from being passed over.

        Ansible fills parameters from variables before it looks at what excludes what, so the
        modules declare these exclusions only where the variable is not set.
        """
        for name, variable in _VARIABLES.items():
            value = self.parameters.get(name)
            for other in ("config", "targets"):
                if None not in (value, self.parameters.get(other)) and value != os.environ.get(
                    variable
                ):
                    raise ConfigError(f"parameters are mutually exclusive: {name}|{other}")

    def _check_tenants(self) -> None:
        if isinstance(self.parameters.get("tenant"), Mapping):
            raise ConfigError(
                "`tenant` is one id, not a dictionary", hint="dictionaries go into `tenants`"
            )
        for number, item in enumerate(self.named or (), 1):
            for key in item if isinstance(item, Mapping) else ():
                if key not in _TENANT_KEYS:
                    near = difflib.get_close_matches(str(key), _TENANT_KEYS, n=1)
                    raise ConfigError(
                        f"`tenants`, item {number}: the key {key!r} is not known",
                        hint=f"did you mean {near[0]}?"
                        if near
                        else f"known keys: {', '.join(_TENANT_KEYS)}",
                    )
        # Without a single id the scope would be empty, which is everybody.
        if self.named and not self.scope:
            if any(isinstance(item, bool | int | float) for item in self.named):
                raise ConfigError("a tenant's id is text", hint="put it in quotes")
            raise ConfigError("a tenant's id is empty", hint="give it, or leave the task out")

    def config(self) -> Config:
        """Make the configuration.

        Raises:
            ConfigError: When the parameters, or the file that they name, say what cannot be.
        """
        self.check()
        own = {**self._naming(), **self._sources()}
        path = self.parameters.get("config")
        if path is None:
            return parse_config({**own, "targets": self._targets()})
        file, task = load_config(path), parse_config(own)
        if "sources" in own:
            file = self._with_sources(file, task)
        return replace(file, database=task.database) if "database" in own else file

    def _with_sources(self, file: Config, task: Config) -> Config:
        """Give a file's configuration the task's source.

        Tenants that the task names join the file's: what the registry says of one of them, its
        database's name or its target, goes on to count. A `source` takes the place of the file's.
        """
        others = [section for section in file.sections if section.role != "sources"]
        sources = list(task.of("sources"))
        if self.named is not None:
            configured = bool(file.file and file.file.data.get("sources"))
            registry = any(name.startswith(_REGISTRY_VARIABLES) for name in os.environ)
            kept = list(file.of("sources")) if configured or registry else []
            name = "task"
            while name in {section.name for section in kept}:
                name += "-"
            own = (replace(section, name=name, supplements=True) for section in sources)
            sources = [*kept, *own]
        return replace(file, sections=(*sources, *others))

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
            _check_targets(targets)
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


def _check_targets(targets: Mapping[str, Any]) -> None:
    """Refuse targets that a variable, or this machine, would silently stand in for."""
    if not targets:
        raise ConfigError("`targets` is empty", hint="name one at least, with its `url`")
    for name, values in targets.items():
        ours = isinstance(values, Mapping) and values.get("kind", "influxdb3") == "influxdb3"
        if ours and not values.get("url"):
            raise ConfigError(f"targets.{name} has no `url`", hint="say where it is")


def attempt(work: Callable[[Task], Result], parameters: Mapping[str, Any]) -> Result:
    """Do a task's work; what ends it before it began is its failure.

    Args:
        work: What to do.
        parameters: The module's parameters.
    """
    try:
        result = work(Task(parameters))
    except InfluxopsError as error:
        result = Result(failure=str(error))
    return Result(
        {name: _translated(value) for name, value in result.values.items()},
        tuple(map(_in_words_of_a_task, result.warnings)),
        _in_words_of_a_task(result.failure),
    )


def _in_words_of_a_task(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def _translated(value: Any) -> Any:
    """Give a result with its messages and hints in the words of a task."""
    if isinstance(value, list):
        return [_translated(item) for item in value]
    if isinstance(value, dict):
        return {
            key: _in_words_of_a_task(item)
            if key in ("message", "hint", "error") and isinstance(item, str)
            else _translated(item)
            for key, item in value.items()
        }
    return value


def is_only_unreachable(report: Report) -> bool:
    """Tell whether all that is wrong is that targets cannot be reached.

    Args:
        report: A report; a deadline in it counts as such where no target could be reached.
    """
    kinds = {finding.kind for finding in report.findings if finding.severity is Severity.ERROR}
    if "unreachable" in kinds and not any(target.reachable for target in report.targets):
        kinds.discard("deadline")
    return kinds <= {"unreachable"} and all(
        refusal.guard == "unreachable" for refusal in report.plan.refusals
    )


def told(report: Report) -> dict[str, Any]:
    """Give the parts of a report that every module returns."""
    document = report_document(report)
    return {"findings": document["findings"], "summary": document["summary"]}


def nothing(task: Task) -> dict[str, Any]:
    """Give what every module returns, for a task that asks for nothing.

    Args:
        task: The task, whose other parameters are checked all the same.

    Raises:
        InfluxopsError: When they say what cannot be.
    """
    with task.engine(dry_run=True):
        summary: dict[str, Any] = {"tenants": {}, "planned": {}, "changed": {}, "findings": {}}
        return {"findings": [], "summary": summary}


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
    if report.dry_run and report.plan.doubtful:
        texts.append(f"no place may be left for {_listed(report.plan.doubtful)}")
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
