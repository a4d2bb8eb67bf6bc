"""`state: absent` with a ledger, in real plays: a tenant is retired, and dropped when it is due."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from influxops_devserver.testing import StandIn
from tests.ansible.conftest import Stage, create, databases, write
from tests.integration.command import Cli
from tests.pg import TestDatabase


@pytest.fixture
def wanted(stage: Stage, server: StandIn, registry: TestDatabase) -> dict[str, Any]:
    """Give the parameters of a task whose ledger is in a dictionary of its own."""
    (stage.folder / "influxops.toml").write_text(
        f'[ledger]\nkind = "postgres"\n[sources.registry]\nkind = "postgres"\n'
        f'[targets.default]\nkind = "influxdb3"\nurl = "{server.url}"\n'
    )
    command(stage, registry, "ledger", "install")
    place = registry.environment
    return {
        "url": server.url,
        "tenant": "acme",
        "ledger": {
            "host": place["PG_HOST"],
            "port": int(place["PG_PORT"]),
            "database": place["PG_DB"],
            "user": place["PG_USER"],
            "password": {"secret": "ledger"},
        },
        "secrets": {"ledger": place["PG_PASS"]},
    }


def command(stage: Stage, registry: TestDatabase, *arguments: str) -> str:
    done = Cli(stage.folder, registry.environment)(*arguments)
    assert done.code == 0, done.all
    return done.out


def state(registry: TestDatabase) -> tuple[str, datetime | None]:
    with psycopg.connect(registry.conninfo) as connection:
        row = connection.execute("SELECT state, drop_after FROM influxops.tenants").fetchone()
    assert row is not None
    return row


def entry(result: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = result["databases"]
    return dict(found)


def test_a_tenant_is_retired_once_and_unretired_by_present(
    stage: Stage, server: StandIn, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    assert stage.ensure(**wanted)["changed"]
    absent = {**wanted, "state": "absent", "after": "3d"}
    checked = stage.ensure(check=True, **absent)
    assert (checked["changed"], entry(checked)["action"]) == (True, "retire")
    assert state(registry)[0] == "ready"

    done = stage.ensure(**absent)
    assert (done["changed"], entry(done)["action"]) == (True, "retire")
    assert databases(server) == ["telemetry_acme"]
    now, due = state(registry)
    assert (now, due is not None) == ("retiring", True)
    assert entry(done)["until"].startswith(f"{due:%Y-%m-%dT%H:%M:%S}")
    again = stage.ensure(**absent)
    assert (again["changed"], entry(again)["until"]) == (False, entry(done)["until"])
    assert state(registry)[1] == due

    back = stage.ensure(**wanted)
    assert (back["changed"], entry(back)["action"]) == (True, "unretire")
    assert state(registry) == ("ready", None)
    assert not stage.ensure(**wanted)["changed"]


def test_what_is_due_is_dropped_and_the_task_stays_unchanged(
    stage: Stage, server: StandIn, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    stage.ensure(**wanted)
    stage.ensure(**wanted, state="absent")
    registry.execute("UPDATE influxops.tenants SET drop_after = now()")
    registry.registry("other")
    assert "OK telemetry_acme: dropped" in command(stage, registry, "retire", "--due")
    assert databases(server) == []
    assert not stage.ensure(**wanted, state="absent")["changed"]
    assert stage.ensure(**wanted)["changed"]
    assert databases(server) == ["telemetry_acme"]


def test_zero_drops_now_and_needs_its_guard(
    stage: Stage, server: StandIn, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    stage.ensure(**wanted)
    absent = {**wanted, "state": "absent", "after": "0"}
    refused = stage.ensure(**absent)
    assert refused["failed"]
    assert "allow: [drop]" in refused["msg"]
    assert stage.ensure(**absent, allow=["drop"])["changed"]
    assert databases(server) == []
    assert state(registry)[0] == "retired"


def test_what_was_never_recorded_is_retired_too_and_nothing_is_made_of_nobody(
    stage: Stage, server: StandIn, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    assert not stage.ensure(**wanted, state="absent")["changed"]
    create(server, "telemetry_acme")
    done = stage.ensure(**wanted, state="absent")
    assert done["changed"]
    assert state(registry)[0] == "retiring"
    assert not stage.ensure(**wanted, state="absent")["changed"]


@pytest.mark.parametrize("measurement", ["telemetry", "m"])
def test_recent_telemetry_fails_the_task_until_it_is_allowed(
    stage: Stage, server: StandIn, wanted: dict[str, Any], measurement: str
) -> None:
    stage.ensure(**wanted)
    at = int((datetime.now(UTC) - timedelta(hours=2)).timestamp() * 10**9)
    write(server, "telemetry_acme", f"{measurement},device=a value=1 {at}")
    refused = stage.ensure(**wanted, state="absent")
    assert refused["failed"]
    assert "allow: [recent-telemetry]" in refused["msg"]
    done = stage.ensure(**wanted, state="absent", allow=["recent-telemetry"])
    assert done["changed"]


def test_a_source_that_still_has_the_tenant_is_a_warning(
    stage: Stage, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    registry.registry("acme")
    task = {"config": str(stage.folder / "influxops.toml"), "tenant": "acme", "state": "absent"}
    stage.ensure(**wanted)
    played = stage.tasks({"influx_tenant_db": task}, environment=registry.environment)
    assert played.result["changed"]
    assert any("a source still has it" in warning for warning in played.result["warnings"])


def test_a_time_without_a_ledger_and_a_secret_that_is_written_out_are_refused(
    stage: Stage, server: StandIn, wanted: dict[str, Any]
) -> None:
    bare = stage.ensure(url=server.url, tenant="acme", state="absent", after="7d")
    assert bare["failed"]
    assert "`after` needs a ledger" in bare["msg"]
    odd = stage.ensure(**wanted, state="absent", after="soon")
    assert odd["failed"]
    assert "`after`" in odd["msg"]
    written = {**wanted, "ledger": {**wanted["ledger"], "password": "s3cret-of-the-ledger"}}
    refused = stage.ensure(**written)
    assert refused["failed"]
    assert "s3cret-of-the-ledger" not in str(refused)
