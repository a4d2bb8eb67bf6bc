"""docs/applications.md, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from influxops import EnsureStatus, Provisioner
from tests.conftest import GiveStandIn
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.provisioner.conftest import configured, until

pytestmark = pytest.mark.stand_in

TEXT = (Path(__file__).parents[2] / "docs" / "applications.md").read_text()


def test_the_code_of_the_documentation_does_what_it_says(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.registry("acme", "beta")
    server = stand_in(max_databases=None)
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    configured(cli, {"eu1": server}, ledger=True)
    monkeypatch.chdir(cli.folder)
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL))
    names: dict[str, Any] = {"__name__": "application"}
    exec(compile(code, "applications.py", "exec", dont_inherit=True), names)
    provisioner: Provisioner = names["provisioner"]
    with provisioner:
        names["application_starts"]()
        assert names["tenant_created"]("acme") == server.url
        assert names["tenant_created"]("nobody") is None
        names["tenant_created_without_waiting"]("beta")
        names["create_tenant"](db.conninfo, "gamma")
        assert provisioner.wait(timeout=20)
        assert names["telemetry_of"]("gamma") == 0
        assert names["healthy"]()
        there = ["telemetry_acme", "telemetry_beta", "telemetry_gamma"]
        assert server.databases() == there
        shown = re.findall(r"^\$ influxops (.*)$", TEXT, flags=re.MULTILINE)
        *first, worker = [shlex.split(line) for line in shown]
        for command in first:
            done = cli(*command)
            assert done.code == 0, done.all
        names["create_tenant_and_nothing_else"](db.conninfo, "delta")
        with cli.running(*worker):
            until(lambda: server.databases() == [*there[:2], "telemetry_delta", there[2]], 60)
            until(lambda: provisioner.ensure("delta").status == "existing")
    names["test_a_tenant_is_served_once_the_server_is_back"]()


def test_it_names_every_public_method_and_every_outcome() -> None:
    methods = {name for name in vars(Provisioner) if not name.startswith("_")} - {"from_config"}
    assert {name for name in methods if f"{name}(" not in TEXT} == set()
    assert {each for each in EnsureStatus if f"`{each}`" not in TEXT} == set()
