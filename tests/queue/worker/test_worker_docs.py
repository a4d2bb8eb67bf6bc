"""docs/worker.md, held against the program."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.queue.conftest import CONFIG
from tests.queue.workers import all_ready, insert, until, working

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "worker.md").read_text()
COMMANDS = re.findall(r"^\$ (influxops .*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.stand_in
def test_its_commands_work_as_they_stand_there(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    cli.config(CONFIG.format(source="", ledger="", url=stand_in(max_databases=None).url))
    first = [shlex.split(line)[1:] for line in COMMANDS]
    later = [each for each in first if each[:2] in (["queue", "status"], ["queue", "retry"])]
    for command in [each for each in first if each not in later and each[0] != "worker"]:
        done = cli(*command)
        assert done.code == 0, done.all
    (worker,) = [each for each in first if each[0] == "worker"]
    options = worker[1 : worker.index("--listen")]
    with working(cli, *options, listens=True):
        until(all_ready(db, 1))
        insert(db, ["beta"])
        until(all_ready(db, 2))
        assert len(later) == 4
        for command in later:
            done = cli(*command)
            assert done.code == 0, done.all


def test_its_unit_starts_a_worker_with_options_that_there_are(cli: Cli) -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.read(ROOT / "docs" / "deployment" / "influxops-worker.service")
    started = shlex.split(unit["Service"]["ExecStart"])
    shown = cli("worker", "--help").out
    assert "worker" in started
    assert {word for word in started if word.startswith("--")} <= {"--config", "--listen"}
    assert "--listen" in shown
