from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from influxops.config.load import parse_config
from influxops.domain.tenant import Tenant
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure, Operation
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from tests.fakes import KINDS, WORLDS, Server, World

_numbers = itertools.count()


@dataclass
class Bench:
    """One registry, some targets, and runs over them."""

    name: str
    world: World
    extra: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ("eu1",)

    def server(self, name: str = "eu1", **values: Any) -> Server:
        """Give a target's server, with what the test wants of it."""
        server = self.world.servers.setdefault(name, Server(uuid=name))
        for key, value in values.items():
            setattr(server, key, value)
        return server

    def tenants(self, *ids: str | Tenant, source: str = "registry") -> None:
        """Let the registry hold these tenants."""
        self.world.tenants[source] = [
            each if isinstance(each, Tenant) else Tenant(each) for each in ids
        ]

    def configuration(self) -> dict[str, Any]:
        return {
            "sources": {"registry": {"kind": "memory", "world": self.name, "host": "localhost"}},
            "targets": {
                name: {"kind": "memorydb", "world": self.name, "url": f"http://localhost/{name}"}
                for name in self.targets
            },
            "reporters": {"memo": {"kind": "memo", "world": self.name}},
        }

    def engine(self) -> Engine:
        return Engine(parse_config(self.merged()), kinds=KINDS)

    def merged(self) -> dict[str, Any]:
        """Give the configuration with what the test adds to it."""
        data = self.configuration()
        for key, value in self.extra.items():
            if isinstance(value, Mapping):
                table = data.setdefault(key, {})
                for inner, content in value.items():
                    if isinstance(content, Mapping) and isinstance(table.get(inner), dict):
                        table[inner].update(content)
                    else:
                        table[inner] = content
        return data

    def run(
        self,
        *,
        dry_run: bool = False,
        tenants: tuple[str, ...] = (),
        targets: tuple[str, ...] = (),
        context: RunContext | None = None,
        verify: bool = False,
        operation: Operation | None = None,
        **arguments: Any,
    ) -> Report:
        with self.engine() as engine:
            context = context or RunContext(
                dry_run=dry_run,
                tenants=frozenset(tenants) or None,
                targets=frozenset(targets) or None,
                verify=verify,
            )
            return engine.run(operation or Ensure(), context, **arguments)


@pytest.fixture
def bench() -> Iterator[Bench]:
    name = f"world{next(_numbers)}"
    WORLDS[name] = World()
    yield Bench(name, WORLDS[name])
    del WORLDS[name]


MakeReport = Callable[..., Report]
