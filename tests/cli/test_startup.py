"""What starting costs: only what a command needs is imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.conftest import GiveStandIn
from tests.integration.command import PROGRAM, Cli
from tests.pg import TestDatabase

HEAVY = ("psycopg", "rich", "urllib3", "pydantic", "yaml", "prometheus_client", "datafusion")


#: What no ordinary run needs, and how many modules of ours and in all a command may import: a
#: number that has to grow is worth a look at what else came along.
UNNEEDED = {
    "difflib",
    "urllib.request",
    "influxops.reconcile.files.export",
    "influxops.reconcile.move.execute",
    "influxops.reconcile.plan.adopt",
    "influxops_postgres.ledger.plugin",
    "influxops_influxdb3.copy.job",
}
MOST = {"--version": (18, 150), "--help": (70, 300), "plan": (135, 600), "ensure": (140, 600)}


def _imported(cli: Cli, *arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    return {name.partition(".")[0] for name in _modules(cli, *arguments)}


def _modules(cli: Cli, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(PROGRAM), *arguments],
        env=cli.environment(None),
        cwd=cli.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}  # the first has the titles


@pytest.mark.parametrize("command", MOST)
def test_a_command_imports_no_more_modules_than_it_needs(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, command: str
) -> None:
    if not command.startswith("--"):
        db.registry("acme")
        cli = replace(cli, variables={**cli.variables, **stand_in().environment})
    modules = _modules(cli, command)
    ours, every = MOST[command]
    assert not modules & UNNEEDED
    assert sum(name.startswith("influxops") for name in modules) <= ours
    assert len(modules) <= every


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("demo", "--help"), ("ensure", "--help")]
)
def test_what_only_tells_imports_nothing_heavy(cli: Cli, arguments: tuple[str, ...]) -> None:
    imported = _imported(cli, *arguments)
    assert "influxops" in imported
    assert not imported & set(HEAVY)
    if arguments == ("--version",):
        assert "msgspec" not in imported


def test_only_the_plugins_that_are_used_are_imported(cli: Cli) -> None:
    cli.config('[sources.them]\nkind = "static"\ntenants = ["acme"]\n')
    imported = _imported(cli, "config")
    assert "influxops_influxdb3" in imported
    assert not imported & {
        "psycopg",
        "influxops_slack",
        "prometheus_client",
        "influxops_demo",
        "influxops_devserver",
    }
