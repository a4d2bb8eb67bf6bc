"""Every example that is printed anywhere, run for real, and searched for the secrets used."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import urllib3
import yaml
from psycopg import sql

from influxops_devserver.testing import running_stand_in
from tests.ansible.conftest import NOWHERE, ROOT, Played, Stage, stage_collection
from tests.ansible.test_secrets import watched
from tests.pg import TestDatabase

#: What Ansible's modules write to where a host has systemd's journal.
_JOURNAL = """
import os

def send(**fields):
    with open(os.environ["JOURNAL"], "a") as file:
        print(fields, file=file)

sendv = send
"""
#: The servers of the examples, and the one of the configuration that they name.
_SERVERS = ("influx", "eu1", "us1", "fleet")
_TENANTS = ("acme", "globex")
_ENSURE = "influxops.influxdb3.influx_tenant_db"
_PLAYBOOKS = {
    "ensure_registry": ["--diff"],
    "ensure_tenant": ["-e", "influx_tenant=newcomer"],
    "audit": ["-e", "audit_report={folder}/report.json"],
    "retire_tenant": ["-e", "influx_tenant=newcomer", "-e", "confirm=newcomer"],
}


@dataclass
class World:
    """Servers that want tokens, a registry that wants a password, and a vault that has them."""

    stage: Stage
    urls: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    texts: list[bytes] = field(default_factory=list)  # what anybody could see

    @property
    def vault(self) -> Path:
        """The folder with the files that secrets are kept in, and what reads them."""
        return self.stage.folder / "vault"

    def put(self, text: str) -> str:
        """Put this world's servers, files and programs in the place of an example's."""
        for name, url in self.urls.items():
            text = text.replace(f"https://{name}.example:8181", url)
        text = text.replace("http://new-server.example:8181", NOWHERE)
        text = text.replace("/etc/influxops/", f"{self.vault}/")
        text = text.replace("/opt/influxops/bin/python", sys.executable)
        text = text.replace("registry.example", self.stage.environment["PG_HOST"])
        assert set(re.findall(r"[\w.-]+\.example\b", text)) <= {"ops.example"}, text
        return text

    def install_ledger(self) -> None:
        """Let the configuration have a ledger, in the registry's database."""
        with (self.vault / "influxops.toml").open("a") as config:
            config.write('[ledger]\nkind = "postgres"\n')
        subprocess.run(
            [str(Path(sys.executable).with_name("influxops")), "ledger", "install"],
            env={**os.environ, **self.stage.environment},
            check=True,
            capture_output=True,
        )

    def run(self, path: Path, *arguments: str) -> Played:
        """Run a playbook at the highest verbosity, and keep all that other processes could see."""
        inventory = ("-i", "localhost,ops.example,")
        local = json.dumps(
            {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        )
        with watched() as seen:
            played = self.stage.playbook(
                path,
                *("-vvvv", *inventory, "-e", local, "-e", f"@{self.vault}/vault.yml"),
                *arguments,
            )
        self.texts += [*seen, played.output.encode()]
        return played

    def search(self) -> None:
        """Look for the secrets in all that was seen, and in all that is left."""
        kept = {path for path in self.vault.rglob("*") if path.is_file()}
        left = [p for p in self.stage.folder.rglob("*") if p.is_file() and p not in kept]
        names = {path.name for path in left}
        assert {"ansible.log", "journal"} <= names  # those two were really written
        for name, secret in self.secrets.items():
            raw = secret.encode()
            for form in {raw, base64.b64encode(raw).rstrip(b"="), quote(secret).encode()}:
                assert not any(form in text for text in self.texts), name
                found = [path for path in left if form in path.read_bytes()]
                assert not found, (name, found)


@pytest.fixture
def world(stage: Stage, registry: TestDatabase) -> Iterator[World]:
    registry.registry(*_TENANTS)
    role = f"reader_of_{registry.name}"
    secrets = {"registry_password": f"vaulted+password/of_{registry.name}"}
    with psycopg.connect(registry.superuser_conninfo, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE ROLE {0} LOGIN PASSWORD {1}; GRANT SELECT ON device_registry TO {0}; "
                "GRANT CREATE ON DATABASE {2} TO {0}"
            ).format(
                sql.Identifier(role),
                sql.Literal(secrets["registry_password"]),
                sql.Identifier(registry.name),
            )
        )
    folder = stage.folder
    fake = folder / "fake/systemd"
    fake.mkdir(parents=True)
    fake.joinpath("__init__.py").write_text("")
    fake.joinpath("daemon.py").write_text("def booted():\n    return True\n")
    fake.joinpath("journal.py").write_text(_JOURNAL)
    stage_collection(folder / "collections")
    environment = {
        **{k: v for k, v in registry.environment.items() if k != "PG_PASS"},
        "PG_USER": role,
        "INFLUXOPS_CONFIG": str(folder / "vault/influxops.toml"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "ANSIBLE_PIPELINING": "0",  # as it is by default: modules are files there
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_ASYNC_DIR": str(folder / "async"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_RETRY_FILES_ENABLED": "1",
        "ANSIBLE_RETRY_FILES_SAVE_PATH": str(folder / "retry"),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(folder / "fake"),
        "JOURNAL": str(folder / "journal"),
    }
    made = World(replace(stage, environment=environment), secrets=secrets)
    made.vault.mkdir()
    with ExitStack() as stack:
        for name in _SERVERS:
            server = stack.enter_context(running_stand_in(with_auth=True, max_databases=None))
            answer = urllib3.request("POST", f"{server.url}/api/v3/configure/token/admin")
            made.urls[name] = server.url
            made.secrets[name] = str(answer.json()["token"])
        _fill(made)
        yield made


def _fill(world: World) -> None:
    for name in _SERVERS:
        (world.vault / f"{name}.token").write_text(world.secrets[name])
    (world.vault / "registry.password").write_text(world.secrets["registry_password"])
    text = '[sources.registry]\nkind = "postgres"\n'
    text += f'password = {{ file = "{world.vault}/registry.password" }}\n'
    text += f'[targets.fleet]\nkind = "influxdb3"\nurl = "{world.urls["fleet"]}"\n'
    text += f'token = {{ file = "{world.vault}/fleet.token" }}\n'
    (world.vault / "influxops.toml").write_text(text)
    known = {
        "registry_password": world.secrets["registry_password"],
        "influxdb_admin_token": world.secrets["influx"],
        "eu1_admin_token": world.secrets["eu1"],
    }
    (world.vault / "vault.yml").write_text(yaml.safe_dump(known))


def examples(path: Path) -> list[Any]:
    """Give the tasks and plays that a plugin's documentation or a page shows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = {
            ast.unparse(node.targets[0]): node.value
            for node in ast.parse(text).body
            if isinstance(node, ast.Assign)
        }
        blocks = [ast.literal_eval(said["EXAMPLES"])]
    else:
        blocks = [textwrap.dedent(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    found: list[Any] = []
    for block in map(yaml.safe_load, blocks):
        if isinstance(block, list):
            # The role that installs influxops has tests of its own.
            foreign = ("influxops.influxdb3.setup", "'alert'")
            found += [item for item in block if not any(each in str(item) for each in foreign)]
        elif "secrets" in block:  # a part of a task
            server = {"url": "https://influx.example:8181", "token": "{{ influxdb_admin_token }}"}
            found.append({_ENSURE: {**server, **block}})
    return found


_PAGES = [
    *sorted((ROOT / "ansible/library").glob("*.py")),
    *sorted((ROOT / "ansible/lookup").glob("*.py")),
    ROOT / "README.md",
    ROOT / "docs/ansible.md",
    ROOT / "ansible/collection/README.md",
]


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_example_lets_a_secret_be_seen(world: World, page: Path) -> None:
    shown = examples(page)
    assert shown
    (world.stage.folder / "restart.yml").write_text("- ansible.builtin.debug:\n    msg: restart\n")
    eu1 = {"url": "https://eu1.example:8181", "token": "{{ eu1_admin_token }}"}
    ahead = [  # what examples look for
        {_ENSURE: {"config": "/etc/influxops/influxops.toml"}},
        {_ENSURE: {**eu1, "tenant": "acme"}},
    ]
    # A page drops the tenant that it looks up elsewhere.
    looking = [each for each in shown if "lookup(" in str(each)]
    # Who retires a tenant needs a ledger, and a tenant that it remembers.
    retiring = [each for each in shown if "after" in each.get(_ENSURE, {})]
    others = [each for each in shown if each not in looking and each not in retiring]
    played = [play(world, [*ahead, *looking, *others])]
    if retiring:
        world.install_ledger()
        told = ("state", "after", "allow")
        first = [{k: v for k, v in each[_ENSURE].items() if k not in told} for each in retiring]
        played.append(play(world, [*({_ENSURE: each} for each in first), *retiring]))
    for each in played:
        assert each.code == 0, each.output[-6000:]
    world.search()


def play(world: World, shown: list[Any]) -> Played:
    """Run tasks, and plays after them."""
    tasks: dict[str, Any] = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"tenants": [*_TENANTS]},
        "handlers": [{"name": "Reload the writers", "ansible.builtin.debug": {"msg": "reload"}}],
        "tasks": [each for each in shown if "hosts" not in each],
    }
    plays = [tasks, *(each for each in shown if "hosts" in each)]
    book = world.stage.folder / "book.yml"
    book.write_text(world.put(json.dumps(plays)), encoding="utf-8")
    return world.run(book, "--diff")


def test_no_playbook_lets_a_secret_be_seen(world: World) -> None:
    assert {path.stem for path in (ROOT / "playbooks").glob("*.yml")} == _PLAYBOOKS.keys()
    for name, arguments in _PLAYBOOKS.items():
        given = [each.format(folder=world.stage.folder) for each in arguments]
        played = world.run(ROOT / f"playbooks/{name}.yml", *given)
        assert played.code == 0, played.output[-6000:]
    world.search()


def test_no_cache_job_or_retry_file_of_a_play_that_fails_holds_a_secret(world: World) -> None:
    token = "{{ influxdb_admin_token }}"
    wrong = {"x": {"url": world.urls["eu1"], "token": {"secret": "x"}}}
    tasks: list[dict[str, Any]] = [
        {
            _ENSURE: {"url": world.urls["influx"], "token": token, "tenant": "acme"},
            "register": "made",
            "async": 60,
            "poll": 1,
        },
        {"ansible.builtin.set_fact": {"made": "{{ made }}", "cacheable": True}},
        {
            _ENSURE: {
                "targets": wrong,
                "secrets": {"x": token},
                "source": {"kind": "postgres", "password": {"secret": "r"}},
                "misspelt": 1,
            },
            "ignore_errors": True,
        },
        {_ENSURE: {"targets": wrong, "secrets": {"x": token}, "tenant": "acme"}},
    ]
    book = world.stage.folder / "book.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "tasks": tasks}]), encoding="utf-8")
    played = world.run(book)
    assert played.code == 2, played.output[-6000:]
    assert "of the parameter `secrets`" in played.output
    for kept in ("facts/*localhost*", "retry/book.retry"):
        assert list(world.stage.folder.glob(kept)), kept
    # What watches over a task with `async` removes its folder a few seconds after the task's end.
    end = time.monotonic() + 30
    while list(world.stage.folder.glob("remote/ansible-tmp-*")) and time.monotonic() < end:
        time.sleep(0.1)
    world.search()
