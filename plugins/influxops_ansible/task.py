"""A task: from its parameters to a configuration, a scope, and an engine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from influxops.config.load import (
    ENVIRONMENT,
    Config,
    ConfigAuthor,
    Section,
    load_config,
    parse_config,
)
from influxops.config.secrets import Secret
from influxops.domain.text import did_you_mean, quote
from influxops.engine.engine import Engine
from influxops.errors import ConfigError
from influxops.runtime.context import RunContext

#: Parameters that Ansible fills from environment variables where the task does not give them.
_VARIABLES = {"url": "INFLUXDB_URL", "token": "INFLUXDB_TOKEN"}
#: The keys of a dictionary in `tenants`.
_TENANT_KEYS = ("id", "retention", "target", "database")
#: Variables that configure a registry without a file.
_REGISTRY_VARIABLES = ("PG_", "PGHOST", "PGDATABASE")
#: Settings of a server that have no parameter of their own.
_IN_TARGETS = (
    "capacity",
    "cluster_uuid",
    "connect_timeout",
    "read_timeout",
    "retries",
    "state",
)
#: The parameters of the only target, beside `token`.
_TARGET = ("url", "validate_certs", "ca_path", "client_cert", "client_key")
_UNMANAGED = "unmanaged"


class Task(Struct, frozen=True, dict=True):
    """A task's parameters, as the engine takes them."""

    parameters: Mapping[str, Any]  # checked against the module's argument specification

    @cached_property
    def named(self) -> list[Any] | None:
        """The tenants that the task itself names: ids and tables; None where it names none."""
        tenant, tenants = self.parameters.get("tenant"), self.parameters.get("tenants")
        if isinstance(tenant, Mapping):
            raise ConfigError(
                "`tenant` is one id, not a dictionary", hint="dictionaries go into `tenants`"
            )
        if tenant is not None:
            return [_parse_id(tenant, "`tenant`")]
        if tenants is None:
            return None
        named = [_parse_tenant(item, f"`tenants`, item {n}") for n, item in enumerate(tenants, 1)]
        if named and not any(id_.strip() for id_ in map(id_of, named)):
            raise ConfigError("a tenant's id is empty", hint="give it, or leave the task out")
        return named

    @property
    def ids(self) -> frozenset[str] | None:
        """The tenants that the task names, None for all; databases of others are not changed."""
        if self.named is None:
            return None
        return frozenset(id_ for id_ in map(id_of, self.named) if id_.strip())

    def config(self) -> Config:
        """Return the configuration."""
        self._check()
        names = {"naming.database": "name_template", "database.retention": "retention"}
        names |= {f"targets.{name}": f"targets.{name}" for name in self._get("targets", {})}
        if self.parameters.get("url") is not None:
            for key in _IN_TARGETS:
                names[f"targets.default.{key}"] = f"targets.default.{key}"
        names |= {"ledger": "ledger"}
        if self.named is None:
            names["sources.task"] = "source"
        author = ConfigAuthor("the task", names)
        sections = {**self._tables(), **self._sources()}
        path = self.parameters.get("config")
        # A file that the task names has precedence over a URL from a variable.
        if path is None and any(
            self.parameters.get(name) is not None for name in ("url", "targets")
        ):
            return self._supplementing(
                parse_config({**sections, "targets": self._targets()}, author), "task"
            )
        # The modules require one of the three; the lookup finds a file as the command does.
        file, task = load_config(path), parse_config(sections, author)
        if "sources" in sections:
            file = self._with_sources(file, task)
        if "database" in sections:
            authors = {**file.authors, "database": author}
            file = replace(file, database=task.database, authors=authors)
        return file

    @contextlib.contextmanager
    def engine(self, *, dry_run: bool) -> Iterator[tuple[Engine, RunContext]]:
        """Yield an engine with the task's configuration, and the context of its run.

        What a reporter prints goes to standard error: standard output is the module's result.
        """
        with contextlib.redirect_stdout(sys.stderr):
            config = replace(self.config(), door="ansible")
            timeout = self.parameters.get("timeout") or config.timeout
            with Engine(config) as engine:
                verify = bool(self.parameters.get("verify"))
                yield engine, RunContext(timeout, dry_run=dry_run, verify=verify, tenants=self.ids)

    def _get(self, name: str, default: Any = None) -> Any:
        value = self.parameters.get(name)
        return default if value is None else value

    def _check(self) -> None:
        """Refuse what Ansible's own checks let through.

        Ansible fills parameters from variables before it checks which exclude each other, so the
        modules declare these exclusions only where the variable is not set.
        """
        for name, variable in _VARIABLES.items():
            value = self.parameters.get(name)
            for other in ("config", "targets"):
                if None not in (value, self.parameters.get(other)) and value != os.environ.get(
                    variable
                ):
                    raise ConfigError(f"parameters are mutually exclusive: {name}|{other}")
        alone = all(self.parameters.get(name) is None for name in ("url", "config", "targets"))
        if alone and self._get("token", "") != os.environ.get("INFLUXDB_TOKEN", ""):
            raise ConfigError("`token` is given without the `url` that it is for")
        if self._get("timeout", 0) < 0:
            raise ConfigError("`timeout` is negative", hint="give seconds, or 0 for the default")
        # Ansible makes text of a dictionary.
        if str(self._get("token", "")).lstrip().startswith("{"):
            raise ConfigError(
                "`token` is the token itself, not a dictionary",
                hint="a reference to a variable or a file goes into `targets`",
            )

    def _tables(self) -> dict[str, Any]:
        tables: dict[str, Any] = {}
        if self.parameters.get("name_template") is not None:
            tables["naming"] = {"database": self.parameters["name_template"]}
        if self.parameters.get("retention") is not None:
            retention = duration_text(self.parameters["retention"])
            tables["database"] = {"retention": None if retention == _UNMANAGED else retention}
        if self.parameters.get("ledger") is not None:
            tables["ledger"] = {"kind": "postgres", **self._with_secrets(self.parameters["ledger"])}
        return tables

    def _sources(self) -> dict[str, Any]:
        if self.named is not None:
            return {"sources": {"task": {"kind": "static", "tenants": self.named}}}
        source = self.parameters.get("source")
        if source is None:
            return {}
        if not isinstance(source.get("kind"), str):
            raise ConfigError("`source` has no `kind`", hint="`postgres`, for instance")
        return {"sources": {"task": self._with_secrets(source)}}

    def _targets(self) -> Mapping[str, Any]:
        targets: Mapping[str, Any] | None = self.parameters.get("targets")
        if targets == {}:
            raise ConfigError("`targets` is empty", hint="name one at least, with its `url`")
        if targets is not None:
            return {name: self._target(name, values) for name, values in targets.items()}
        target = {
            name: self.parameters[name] for name in _TARGET if self.parameters.get(name) is not None
        }
        if self.parameters.get("token"):
            origin = "the parameter `token` (or INFLUXDB_TOKEN)"
            target["token"] = Secret.given(self.parameters["token"], origin)
        return {"default": {"kind": "influxdb3", **target}}

    def _target(self, name: str, values: object) -> Any:
        if not isinstance(values, Mapping):
            raise ConfigError(f"`targets.{name}` is no dictionary", hint="give its `url` in one")
        # A variable, or this machine, must not silently replace it.
        if values.get("kind", "influxdb3") == "influxdb3" and not values.get("url"):
            raise ConfigError(f"`targets.{name}` has no `url`", hint="say where it is")
        return {"kind": "influxdb3", **self._with_secrets(values)}

    def _with_secrets(self, value: Any) -> Any:
        """Return a section with its references to the task's secrets replaced by those."""
        if isinstance(value, list):
            return [self._with_secrets(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if value.keys() != {"secret"}:
            return {key: self._with_secrets(item) for key, item in value.items()}
        name, secrets = value["secret"], self._get("secrets", {})
        if not isinstance(name, str) or name not in secrets:
            # The name is not shown: it may be a secret that was written in the wrong place.
            known = ", ".join(f"`{each}`" for each in secrets) or "none"
            raise ConfigError(
                "a `secret` is called what `secrets` does not have", hint=f"it has: {known}"
            )
        if not isinstance(secrets[name], str):
            raise ConfigError(f"the secret `{name}` is not text", hint="put it in quotes")
        return Secret.given(secrets[name], f"`{name}` of the parameter `secrets`")

    def _with_sources(self, file: Config, task: Config) -> Config:
        """Return a file's configuration with the task's source.

        Tenants that the task names join the file's: the registry's attributes of one of them, its
        database's name or its target, still apply. A `source` replaces the file's sources.
        """
        others = [section for section in file.sections if section.role != "sources"]
        kept: list[Section] = []
        if self.named is not None:
            registry = any(name.startswith(_REGISTRY_VARIABLES) for name in os.environ)
            kept = [s for s in file.by_role("sources") if registry or s.author != ENVIRONMENT]
        name = "task"
        while name in {section.name for section in kept}:
            name += "-"
        added = self._supplementing(task, name).by_role("sources")
        return replace(file, sections=(*kept, *added, *others))

    def _supplementing(self, task: Config, name: str) -> Config:
        """Return the task's configuration; naming a tenant there does not make it a known one."""
        sections = (
            replace(section, name=name, supplements=self.named is not None)
            if section.role == "sources"
            else section
            for section in task.sections
        )
        return replace(task, sections=tuple(sections))


def _parse_id(value: object, where: str) -> str:
    """Return an id as text; YAML reads some ids as whole numbers, without a loss."""
    if isinstance(value, bool | float) or not isinstance(value, str | int):
        raise ConfigError(f"{where}: a tenant's id is text", hint="put it in quotes")
    if not str(value).strip() and where == "`tenant`":
        raise ConfigError("a tenant's id is empty", hint="give it, or leave the task out")
    return str(value)


def _parse_tenant(item: object, where: str) -> Any:
    if not isinstance(item, Mapping):
        return _parse_id(item, where)
    for key in item:
        if key not in _TENANT_KEYS:
            near = did_you_mean(str(key), _TENANT_KEYS)
            raise ConfigError(
                f"{where}: the key {quote(str(key))} is not known",
                hint=near or f"known keys: {', '.join(_TENANT_KEYS)}",
            )
    if "id" not in item:
        raise ConfigError(f"{where} has no `id`", hint="give it, or the id alone")
    given = {key: value for key, value in item.items() if value is not None}
    if "retention" in given:
        given["retention"] = duration_text(given["retention"])
    return {**given, "id": _parse_id(item["id"], where)}


def id_of(named: Any) -> str:
    """Return the id of one of the task's tenants."""
    return str(named["id"] if isinstance(named, Mapping) else named)


def duration_text(value: object) -> str:
    """Return a duration with its unit; a bare number, which the modules return, is in seconds."""
    text = str(value).strip()
    return f"{text}s" if text.isdecimal() else text
