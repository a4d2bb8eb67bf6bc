"""Plays, run by a real ansible-playbook against stand-ins and a PostgreSQL."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import urllib3
import yaml

from influxops_devserver.postgres import EmbeddedPostgres
from influxops_devserver.testing import StandIn, running_stand_in
from tests.fork_server import ANSIBLE, PLAYBOOK, Forked, can_fork
from tests.pg import TestDatabase, new_database, postgres_server

ROOT = Path(__file__).parents[2]
_KEPT = ("PATH", "PYTHONPATH", "TMPDIR", "LOGNAME", "USER")
#: Nothing listens there.
NOWHERE = "http://127.0.0.1:1"
_RETURNED_ELSEWHERE = re.compile(r"RV\(influxops\.influxdb3\.(\w+)#module:(\w+)\)")


@dataclass(frozen=True)
class Played:
    """How a play ended.

    Args:
        code: ansible-playbook's exit code.
        output: What it printed.
        results: What its tasks registered, in their order.
    """

    code: int
    output: str
    results: list[dict[str, Any]]

    @property
    def result(self) -> dict[str, Any]:
        """What its only task registered."""
        (result,) = self.results
        return result


@dataclass(frozen=True)
class Stage:
    """Runs plays in a folder of a test's own, with none of the caller's servers in reach.

    Args:
        folder: The folder.
        environment: Further variables.
        forks: Whether a process that has imported Ansible is forked, where that is the same.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    forks: bool = True

    def playbook(
        self, path: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Played:
        """Run a playbook, by a fork where that is the same."""
        env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        env |= {**ANSIBLE, "HOME": str(self.folder), "PWD": str(self.folder)}
        env |= {**self.environment, **(environment or {})}
        forks = self.forks and can_fork(env, is_playbook=True)
        with (Forked if forks else subprocess.Popen)(
            [str(PLAYBOOK), str(path), *arguments],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            out, err = process.communicate()
        return Played(process.returncode, out + err, [])

    def tasks(
        self,
        *tasks: Mapping[str, Any],
        arguments: Sequence[str] = (),
        play: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Played:
        """Run tasks, all of them whether they fail or not, and give what they registered."""
        results = self.folder / "results.json"
        listed = "[" + ", ".join(f"result_{n}" for n in range(len(tasks))) + "] | to_json"
        steps: list[Mapping[str, Any]] = [
            {"register": f"result_{number}", "ignore_errors": True, **task}
            for number, task in enumerate(tasks)
        ]
        kept = f"{{{{ lookup('keep', {str(results)!r}, {listed}) }}}}"
        steps.append({"debug": {"msg": kept}, "no_log": True})
        book = self.folder / "play.yml"
        whole = {"hosts": "localhost", "gather_facts": False, **(play or {}), "tasks": steps}
        book.write_text(json.dumps([whole]), encoding="utf-8")
        played = self.playbook(book, *arguments, environment=environment)
        assert played.code == 0, played.output
        return Played(played.code, played.output, json.loads(results.read_text(encoding="utf-8")))

    def ensure(self, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        """Run one task with `influx_tenant_db`, and give its result with its diff."""
        task = {"influx_tenant_db": parameters, "check_mode": check, "diff": True}
        return self.tasks(task).result


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A stand-in with Core's five places, for one test."""
    with running_stand_in(wal_flush_interval="50ms") as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def registry(postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    with new_database(postgres) as database:
        yield database


def collection() -> ModuleType:
    """Load the script that stages and builds the collection."""
    spec = importlib.util.spec_from_file_location("collection", ROOT / "ansible/collection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stage_collection(folder: Path) -> None:
    """Put the collection together, as `make collection` does before it packs it."""
    collection().stage(folder)


def documented(module: Path, name: str) -> Any:
    """Read what a module assigns to DOCUMENTATION or RETURN."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return yaml.safe_load(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no {name}")


def return_values(module: str) -> dict[str, Any]:
    """Read what a module returns; what refers to the other module's has the contents of that."""
    values: dict[str, Any] = documented(ROOT / f"ansible/library/{module}.py", "RETURN")
    for value in values.values():
        if reference := _RETURNED_ELSEWHERE.search(str(value["description"])):
            value["contains"] = return_values(reference[1])[reference[2]]["contains"]
    return values


def databases(server: StandIn) -> list[str]:
    """Ask a stand-in itself for the databases of tenants."""
    answer = urllib3.request("GET", f"{server.url}/api/v3/configure/database?format=json")
    names = [row["iox::database"] for row in answer.json()]
    return sorted(name for name in names if not name.startswith("_"))


def write(server: StandIn, database: str, lines: str) -> None:
    """Write line protocol past influxops."""
    url = f"{server.url}/api/v3/write_lp?db={database}"
    assert urllib3.request("POST", url, body=lines).status == 204


def create(server: StandIn, database: str, retention: str | None = None) -> None:
    """Make a database past influxops, without a marker."""
    document = {"db": database} | ({"retention_period": retention} if retention else {})
    url = f"{server.url}/api/v3/configure/database"
    assert urllib3.request("POST", url, json=document).status == 200
