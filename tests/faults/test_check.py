"""The checker says what is wrong: each test makes a state that must not be, past influxops."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.faults import check
from tests.faults.check import Facts, Server, Told
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in


class Stage:
    """Two tenants on the first of two servers, recorded; and a third server that holds nothing."""

    def __init__(self, cli: Cli, db: TestDatabase, servers: list[Influx]) -> None:
        self.db, (self.one, self.two, self.other) = db, servers
        db.registry("acme", "beta")
        targets: dict[str, Influx] = {"eu1": self.one, "eu2": self.two}
        cli.config(targets_toml(dict(targets), '[ledger]\nkind = "postgres"\n'))
        assert cli("ledger", "install").code == 0
        assert cli("ensure").code == 0
        self.facts = Facts(
            postgres=db.conninfo,
            servers={name: self._at(server) for name, server in targets.items()},
            impostors=[self._at(self.other)],
            registered=["acme", "beta"],
            told=[Told("acme", "a test", "eu1"), Told("beta", "a test")],
            settled=True,
        )

    def _at(self, server: Influx) -> Server:
        return Server(int(server.url.rpartition(":")[2]))

    def found(self) -> tuple[str, str, str]:
        """What is lost, doubled and wrong, a line each."""
        verdict = check.check(self.facts)
        return "\n".join(verdict.lost), "\n".join(verdict.doubled), "\n".join(verdict.wrong)

    def rows(self, server: Influx, *numbers: int) -> None:
        lines = [f"telemetry,device=d n={n}i {1_700_000_000_000_000_000 + n}" for n in numbers]
        server.write("telemetry_acme", "\n".join(lines))


@pytest.fixture
def stage(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> Iterator[Stage]:
    yield Stage(cli, db, [stand_in(max_databases=None) for _ in range(3)])


def test_nothing_is_wrong_where_all_is_as_it_was_told(stage: Stage) -> None:
    stage.rows(stage.one, 0, 1, 2)
    stage.facts.acknowledged, stage.facts.sent = {"acme": [0, 2]}, {"acme": 5}

    assert stage.found() == ("", "", "")


def test_a_database_that_is_gone_is_lost(stage: Stage) -> None:
    stage.one.drop("telemetry_acme")

    lost, _, _ = stage.found()

    assert "a test said that acme has its database; no server holds it" in lost
    assert "the ledger says that acme is ready on eu1; it does not hold it" in lost


def test_a_database_without_its_marker_is_none(stage: Stage) -> None:
    stage.one.drop("telemetry_acme")
    stage.one.create("telemetry_acme")

    lost, _, wrong = stage.found()

    assert "a test said that acme has its database; on eu1 it has no marker" in lost
    assert "the ledger says that acme is ready on eu1; its database has no marker" in wrong


def test_a_marker_may_follow_where_the_ledger_says_so_until_all_is_well_again(stage: Stage) -> None:
    stage.one.drop("telemetry_acme")
    stage.one.create("telemetry_acme")
    stage.db.execute("UPDATE influxops.tenants SET state = 'unconfirmed' WHERE tenant = 'acme'")

    assert "on eu1 it has no marker" in stage.found()[0]
    stage.facts.settled = False
    assert stage.found() == ("", "", "")


def test_the_marker_of_another_tenant_is_none(stage: Stage) -> None:
    stage.one.drop("telemetry_acme")
    stage.one.write("telemetry_acme", "_init,source=provisioning,tenant=beta value=1i")

    assert "on eu1 it has no marker" in stage.found()[0]


def test_a_tenant_on_two_servers_is_doubled(stage: Stage) -> None:
    stage.two.create("telemetry_acme")

    assert "acme is ready on eu1; eu1, eu2 hold it" in stage.found()[1]


def test_a_copy_that_the_ledger_knows_is_not_doubled(stage: Stage) -> None:
    stage.two.create("telemetry_acme")
    stage.db.execute("UPDATE influxops.tenants SET secondary_target = 'eu2' WHERE tenant = 'acme'")

    assert stage.found() == ("", "", "")


def test_a_row_that_is_missing_is_lost_and_one_that_nobody_sent_is_wrong(stage: Stage) -> None:
    stage.rows(stage.one, 0, 1, 7)
    stage.facts.acknowledged, stage.facts.sent = {"acme": [0, 1, 2]}, {"acme": 5}

    lost, _, wrong = stage.found()

    assert "acme on eu1 (ready): 1 acknowledged rows, 2 to 2 of 2, on no server" in lost
    assert "acme on eu1 (ready): 1 rows that nobody sent, [7] …" in wrong


def test_a_row_that_came_twice_is_doubled(stage: Stage) -> None:
    stage.rows(stage.one, 0)
    stage.one.write("telemetry_acme", "telemetry,device=d n=0i 1700000000000000009")
    stage.facts.acknowledged, stage.facts.sent = {"acme": [0]}, {"acme": 1}

    assert "acme on eu1 (ready): 1 rows, [0] …" in stage.found()[1]


def test_rows_of_a_tenant_that_is_moved_may_be_on_either_server(stage: Stage) -> None:
    stage.two.create("telemetry_acme")
    stage.rows(stage.one, 0, 1)
    stage.rows(stage.two, 1, 2)
    stage.db.execute(
        "UPDATE influxops.tenants SET state = 'moving', secondary_target = 'eu2'"
        " WHERE tenant = 'acme'"
    )
    stage.facts.acknowledged, stage.facts.sent = {"acme": [0, 1, 2]}, {"acme": 3}
    stage.facts.settled = False

    assert stage.found() == ("", "", "")


def test_a_ledger_that_says_what_is_not_so_is_found_out(stage: Stage) -> None:
    stage.db.execute(
        "UPDATE influxops.tenants SET target = 'eu2' WHERE tenant = 'acme'",
        "UPDATE influxops.tenants SET state = 'lost' WHERE tenant = 'beta'",
    )

    lost, _, wrong = stage.found()

    assert "the ledger says that acme is ready on eu2; it does not hold it" in lost
    assert "the ledger says that acme is ready on eu2; eu1 holds it" in wrong
    assert "the ledger says that beta is lost on eu1; it holds it" in wrong
    assert "when all should be ready" in wrong


def test_another_identity_and_a_tenant_without_a_record_are_wrong(stage: Stage) -> None:
    stage.db.execute(
        "UPDATE influxops.tenants SET identity = 'another' WHERE tenant = 'acme'",
        "DELETE FROM influxops.tenants WHERE tenant = 'beta'",
    )

    _, _, wrong = stage.found()

    assert "acme is ready on eu1, on a server that has another identity" in wrong
    assert "beta is on ['eu1'], and the ledger does not know it" in wrong
    assert "beta is registered, and the ledger does not know it" in wrong


def test_a_door_that_tells_what_is_not_so_is_found_out(stage: Stage) -> None:
    stage.facts.told = [Told("acme", "a test", "eu2"), Told("gamma", "a test")]
    stage.facts.told_gone = [Told("beta", "a test")]

    lost, _, wrong = stage.found()

    assert "a test said that acme has its database on eu2; it is on eu1" in wrong
    assert "a test said that beta is lost; it is there" in wrong
    assert "a test said that gamma has its database; no server holds it" in lost


def test_a_database_that_somebody_deleted_must_not_be_made_again(stage: Stage) -> None:
    stage.facts.deleted = ["acme"]
    stage.facts.settled = False

    assert "what was deleted has been made again, empty" in stage.found()[2]


def test_a_tenant_that_the_service_said_is_stored_has_to_be(stage: Stage) -> None:
    stage.db.execute("CREATE TABLE tenants AS SELECT 'acme' AS tenant_id")
    stage.facts.stored = ["acme", "beta"]

    assert stage.found()[0] == "the service said that beta is stored; it is not"


def test_a_write_to_another_server_behind_the_address_is_found_out(stage: Stage) -> None:
    stage.other.create("telemetry_acme")
    told = "another server behind an address was written to"

    assert told in stage.found()[2]
    stage.facts.astray = 1
    assert told not in stage.found()[2]


def test_tracebacks_and_secrets_are_found_in_outputs() -> None:
    texts = [
        ("a", "Traceback (most recent call last):\n  File"),
        ("b", "no answer; the token was canary-1"),
        ("c", "ERR telemetry_acme: no answer"),
    ]

    broken, shown = check.outputs(texts, ["canary-1"])

    assert broken == ["a: Traceback (most recent call last)"]
    assert shown == ["b: a secret"]


def test_the_checker_shares_no_code_with_influxops() -> None:
    path = Path(check.__file__)
    nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = [each.module or "" for each in nodes if isinstance(each, ast.ImportFrom)]
    names += [name.name for each in nodes if isinstance(each, ast.Import) for name in each.names]
    command = "import sys, json, check; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=path.parent, capture_output=True, text=True, check=True
    )

    assert not any(name.startswith(("influxops", "tests")) for name in names)
    assert not any(name.startswith(("influxops", "tests")) for name in json.loads(done.stdout))
