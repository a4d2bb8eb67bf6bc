"""What every command says where PostgreSQL is away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.integration.command import Cli

CONFIG = """
[sources.registry]
kind = "postgres"
host = "127.0.0.1"
port = {port}
[sources.tenants]
kind = "postgres"
like = "registry"
table = "tenants"
[ledger]
kind = "postgres"
[targets.eu1]
kind = "influxdb3"
url = "http://127.0.0.1:{port}"
retries = 0
[web]
"""


@pytest.mark.parametrize(
    "command",
    [
        "plan",
        "doctor",
        "ledger install",
        "queue install",
        "queue status",
        "worker",
        "db upgrade",
        "token create --role operator --name ops",
        "token list",
        "serve",
    ],
)
def test_a_command_says_why_postgres_cannot_be_reached(tmp_path: Path, command: str) -> None:
    cli = Cli(tmp_path, {})
    with socket.socket() as closed:  # no server listens, and none can
        closed.bind(("127.0.0.1", 0))
        cli.config(CONFIG.format(port=closed.getsockname()[1]))
        done = cli(*command.split())
    assert done.code == 1
    assert "Connection refused" in done.all
    assert "\t" not in done.all
