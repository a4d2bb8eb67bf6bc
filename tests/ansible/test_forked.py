"""A play that the tests fork is as one that a user starts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from influxops_devserver.testing import StandIn
from tests.ansible.conftest import NOWHERE, ROOT, Played, Stage


def _both(stage: Stage, *tasks: dict[str, Any], environment: dict[str, str]) -> list[Any]:
    forked, started = (
        replace(stage, forks=forks).tasks(*tasks, arguments=["--diff"], environment=environment)
        for forks in (True, False)
    )
    assert forked.results == started.results
    assert forked.output == started.output
    return forked.results


def test_it_says_and_does_the_same(stage: Stage, server: StandIn) -> None:
    made: dict[str, Any] = {"url": server.url, "tenants": ["a", "a b"], "details": "all"}
    stage.ensure(**made)
    ensured, odd, looked, found = _both(
        stage,
        {"influx_tenant_db": {**made, "tenants": ["a", "c", "a b"]}, "check_mode": True},
        {"influx_tenant_db": {"url": NOWHERE, "tenant": "a", "misspelt": 1}},
        {"influx_tenant_db_info": {"url": server.url, "tenant": "a"}},
        {"set_fact": {"found": f"{{{{ lookup('tenant', 'a', url='{server.url}') }}}}"}},
        environment={"INFLUXOPS_CONFIG": "named.toml"},
    )
    assert (ensured["failed"], ensured["changed"]) == (True, True)
    assert "misspelt" in odd["msg"]
    assert looked["databases"][0]["exists"]
    assert found["ansible_facts"]["found"]["url"] == server.url


@pytest.mark.parametrize("forks", [True, False])
def test_it_ends_with_the_same_code_and_the_arguments_count(stage: Stage, forks: bool) -> None:
    book = stage.folder / "book.yml"
    fail = {"fail": {"msg": "as {{ wanted }}"}, "tags": ["never", "failing"]}
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [fail]}]))

    def run(*arguments: str) -> Played:
        return replace(stage, forks=forks).playbook(book, *arguments)

    assert run().code == 0
    failed = run("--tags", "failing", "-e", "wanted=told")
    assert failed.code == 2
    assert "as told" in failed.output
    assert run("--no-such").code == 2
    assert replace(stage, forks=forks).playbook(ROOT / "nowhere.yml").code == 1


@pytest.mark.parametrize("forks", [True, False])
def test_its_modules_are_forked_with_it(stage: Stage, forks: bool) -> None:
    told = replace(stage, forks=forks).tasks({"debug": {"msg": "{{ ansible_playbook_python }}"}})
    assert (told.result["msg"] != sys.executable) == forks
