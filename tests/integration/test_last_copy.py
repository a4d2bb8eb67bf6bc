"""An old copy that may be all that is left of a tenant's database: `retire --due` keeps it."""

from __future__ import annotations

import psycopg
import pytest

from influxops_ansible.locate import locate
from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.old_copies import Stage
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\n'
DATABASE = "telemetry_acme"


@pytest.fixture
def stage(cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy) -> Stage:
    """Give acme on eu2, and its old copy on eu1, which is due."""
    eu1, eu2 = stand_in(max_databases=None), stand_in(max_databases=None)
    proxy = proxied(eu1)
    db.registry("acme")
    targets = targets_toml({"eu2": eu2, "eu1": proxy}, LEDGER)
    cli.config(targets.replace("[targets.eu2]\n", '[targets.eu2]\ncapacity = "unlimited"\n'))
    assert cli("ensure").code == 0
    made = Stage(cli, db, eu1, eu2, proxy)
    proxy.before = made.see
    made.old_copies("acme")
    return made


def devices(stage: Stage) -> set[str]:
    rows = stage.eu2.rows(DATABASE, "SELECT device FROM telemetry")
    return {row["device"] for row in rows}


@pytest.mark.parametrize("allowed", [[], ["--allow", "late-writes"]], ids=["", "late-writes"])
def test_it_stays_where_a_client_created_the_new_place_again(
    stage: Stage, allowed: list[str]
) -> None:
    stage.eu2.drop(DATABASE)
    stage.eu2.write(DATABASE, "telemetry,device=new temp=1 1800000000000000000")
    for _ in range(2):
        done = stage.due(*allowed)
        assert done.code == 1, done.all
        assert "a client has created another one of that name on eu2" in done.out
        assert "its old copy is on eu1; it holds 1 row" in done.out
    assert (stage.began, stage.left("acme"), devices(stage)) == ({}, ["acme"], {"new"})
    # What the message says leads out, with all of both.
    aside = stage.cli("adopt", f"acme={DATABASE}", "--target", "eu1")
    assert (aside.code, "influxops adopt acme takes what clients" in aside.out) == (1, True)
    assert stage.cli("adopt", "acme").code == 0
    assert "1 row (telemetry 1) came late" in stage.due().out
    assert stage.due().code == 0
    assert devices(stage) == {"new", "d0"}
    assert stage.cli("ensure").code == 0


def test_it_stays_where_the_new_place_is_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.eu2.drop(DATABASE)
    done = stage.due()
    assert done.code == 1, done.all
    assert f"influxops adopt acme={DATABASE} makes that copy its database" in done.out
    assert (stage.began, stage.left("acme")) == ({}, ["acme"])
    where = stage.cli("where", "acme")
    assert (where.code, where.out.split()[0]) == (1, "eu1")
    assert "what is on eu1 is the copy that it left there" in where.err
    assert stage.cli("where", "acme", "--format", "json").code == 1
    task = {"config": str(stage.cli.folder / "influxops.toml"), "tenants": ["acme"]}
    for name, value in stage.db.environment.items():
        monkeypatch.setenv(name, value)
    assert "what is on eu1 is the copy that it left there" in locate(task).failure
    assert stage.cli("adopt", f"acme={DATABASE}").code == 0
    where = stage.cli("where", "acme")
    assert (where.code, where.out.split()[0], where.err) == (0, "eu1", "")
    assert locate(task).values["locations"][0]["target"] == "eu1"
    assert "nothing is due" in stage.due().out
    assert stage.eu1.databases() == [DATABASE]


def test_it_is_the_tenants_database_once_that_is_made_in_its_place(stage: Stage) -> None:
    """Else it would be copied to itself, and then dropped."""
    targets = targets_toml({"eu1": stage.proxy}, LEDGER)
    stage.cli.config(targets)  # eu2's server is gone for good
    refused = stage.cli("adopt", f"acme={DATABASE}")
    assert (refused.code, "influxops ensure --recreate acme only if" in refused.out) == (1, True)
    assert stage.cli("ensure", "--recreate", "acme").code == 0
    assert stage.left("acme") == []
    assert "nothing is due" in stage.due().out
    assert stage.cli("ensure").code == 0
    assert stage.eu1.databases() == [DATABASE]


def test_one_that_an_earlier_version_recorded_in_its_own_place_is_not_dropped(
    stage: Stage,
) -> None:
    stage.eu1.drop(DATABASE)
    with psycopg.connect(stage.db.conninfo) as connection:
        connection.execute(
            "UPDATE influxops.tenants SET secondary_target = target, secondary_identity = identity"
        )
    assert "nothing is due" in stage.due().out
    assert stage.cli("ensure").code == 0
    assert stage.eu2.databases() == [DATABASE]
