"""What starting costs: only what a command needs is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.command import PROGRAM, Cli

HEAVY = ("psycopg", "rich", "urllib3", "pydantic", "yaml", "prometheus_client", "datafusion")


def _imported(cli: Cli, *arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
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
    names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line)
    return {name.partition(".")[0] for name in names}


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
