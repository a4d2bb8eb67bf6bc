"""Routes of 100,000 tenants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import PROGRAM, Cli
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]


def peak(cli: Cli, *arguments: str) -> tuple[float, int]:
    """Give the seconds of processor time that a command takes, and its peak of memory in MB."""
    pid = os.posix_spawn(PROGRAM, [str(PROGRAM), *arguments], cli.environment(None))
    _, status, used = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss // 1000


def test_they_take_little_time_and_memory(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cli.folder)
    cli.config(targets_toml({"eu1": stand_in()}, '[ledger]\nkind = "postgres"\n'))
    file = Path(cli.folder) / "routes.conf"
    asked = ("-q", "routes", "--format", "nginx", "--output", str(file))
    few = peak(cli, *asked)
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, target, identity) "
        "SELECT 'default', n, 'ready', 'telemetry_' || n, 'eu1', 'x' "
        "FROM generate_series(1, 100000) AS n",
    )
    for _ in range(2):  # written for the first time, and compared with what is there
        many = peak(cli, *asked)
        assert file.read_text().count("\t") == 100_000
        assert many[1] - few[1] < 100
        assert many[0] - few[0] < 2
        db.execute("UPDATE influxops.tenants SET target = 'eu1', state = 'lost' WHERE tenant = '7'")
