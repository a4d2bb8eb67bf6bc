"""Where the secrets of a task go: to the servers, and to nobody who watches."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import urllib3
from psycopg import sql

from influxops_devserver.testing import running_stand_in
from tests.ansible.conftest import Stage
from tests.pg import TestDatabase


@contextlib.contextmanager
def watched() -> Iterator[set[bytes]]:
    """Collect the command lines and environments of all processes, as long as the block runs."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        seen.add(path.joinpath(name).read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_secrets_of_a_task_reach_the_servers_and_nothing_else(
    stage: Stage, registry: TestDatabase
) -> None:
    registry.registry("acme")
    role, password = f"reader_of_{registry.name}", "vaulted_password"
    with psycopg.connect(registry.superuser_conninfo, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE ROLE {0} LOGIN PASSWORD {1}; GRANT SELECT ON device_registry TO {0}"
            ).format(sql.Identifier(role), sql.Literal(password))
        )
    with running_stand_in(with_auth=True) as open_, running_stand_in(with_auth=True) as closed:
        made = [
            urllib3.request("POST", f"{server.url}/api/v3/configure/token/admin").json()
            for server in (open_, closed)
        ]
        secrets = {"eu1": str(made[0]["token"]), "registry": password}
        targets = {"eu1": {"url": open_.url, "token": {"secret": "eu1"}}}
        wrong = {"eu1": {"url": closed.url, "token": {"secret": "eu1"}}}
        source = {"kind": "postgres", "user": role, "password": {"secret": "registry"}}
        own = {"secrets": "{{ vault }}"}
        environment = {k: v for k, v in registry.environment.items() if k != "PG_PASS"}
        with watched() as seen:
            played = stage.tasks(
                {"influx_tenant_db": {"targets": targets, "source": source, **own}},
                {"influx_tenant_db_info": {"targets": targets, "tenant": "acme", **own}},
                {"influx_tenant_db": {"url": open_.url, "token": "{{ vault.eu1 }}", "tenant": "x"}},
                {"influx_tenant_db": {"targets": wrong, "tenant": "acme", **own}},
                {"influx_tenant_db": {"targets": targets, "misspelt": 1, **own}},
                {"influx_tenant_db": {"targets": targets, "tenant": "a", "secrets": {}}},
                play={"vars": {"vault": secrets}},
                arguments=["-vvvv"],
                environment={
                    **environment,
                    "ANSIBLE_LOG_PATH": str(stage.folder / "log"),
                    "ANSIBLE_PIPELINING": "0",
                },
            )
    failed = [result["failed"] for result in played.results]
    assert failed == [False, False, False, True, True, True], played.results
    assert [entry["tenant"] for entry in played.results[0]["databases"]] == ["acme"]
    assert "`eu1` of the parameter `secrets`" in str(played.results[3]["findings"])
    stage.folder.joinpath("play.yml").unlink()  # where they are written, in place of a vault
    left = [path.read_bytes() for path in stage.folder.rglob("*") if path.is_file()]
    assert len(left) >= 2  # the results, and Ansible's own log
    told = [*seen, *left, played.output.encode(), str(played.results).encode()]
    for secret in secrets.values():
        assert not any(secret.encode() in text for text in told)
