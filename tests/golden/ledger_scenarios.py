"""Commands with a ledger: first runs, and the situations that a recorded tenant can be in."""

from __future__ import annotations

from tests.golden.stage import Play, Scene, Stage
from tests.integration.servers import Influx

BOTH = (80, 130)
ROW = "telemetry,device=d1 temp=1 1700000000000000000"


def first_runs(stage: Stage) -> str:
    """Nothing installed, installed, three to create, nothing to do."""
    with stage.scene("acme", "beta", "gamma", installed=()) as scene:
        scene.server("eu1")
        scene.config()
        for command in ("ensure", "ledger status", "where acme --recorded", "doctor"):
            scene.run(command)
        scene.run("ledger install")
        scene.run("ledger install")
        scene.run("plan", widths=BOTH)
        scene.run("plan --format json", traced=False)
        scene.run("ensure", reports=True)
        scene.run("ensure", widths=BOTH, reports=True)
        scene.run("ensure --format json", traced=False)
        scene.run("ensure acme")
        scene.run("plan acme --verify")
        scene.run("plan nobody")
        return scene.all()


def looks(stage: Stage) -> str:
    """What is shown of tenants, and of the ledger."""
    with stage.scene("acme", "beta") as scene:
        scene.server("eu1")
        scene.config()
        scene.given("ensure")
        scene.servers["eu1"].write("telemetry_acme", ROW)
        scene.servers["eu1"].write("other", ROW)
        scene.db.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
        for command in ("status", "where acme", "history", "doctor"):
            scene.run(command, widths=BOTH)
            scene.run(f"{command} --format json", traced=False)
        for command in (
            "status acme",
            "status gamma",
            "where acme --recorded",
            "where acme --recorded --format json",
            "where gamma",
            "where gamma --recorded",
            "where nobody",
            "history acme --limit 1",
            "history nobody",
            "history --run 0123456789ab",
            "ledger status",
            "ledger status --format json",
            "plan --detailed-exitcode",
            "plan gamma",
            "config",
        ):
            scene.run(command)
        return scene.all()


def a_new_source(stage: Stage) -> str:
    """Tenants of a source that the ledger has not seen before, and an emptied registry."""
    with stage.scene("acme", "beta") as scene:
        scene.server("eu1")
        scene.config()
        scene.given("ensure")
        scene.db.execute("CREATE TABLE other (tenant_id text)", "INSERT INTO other VALUES ('pr7')")
        other = '[sources.other]\nkind = "postgres"\ndsn = {env = "DSN"}\ntable = "other"\n'
        scene.config(top=other)
        scene.run("plan", widths=BOTH)
        scene.run("ensure pr7")
        scene.run("ensure", reports=True)
        scene.run("ensure --allow new-source")
        scene.config()
        scene.db.execute("DELETE FROM device_registry")
        scene.run("ensure", reports=True)
        scene.run("ensure --allow empty-source")
        return scene.all()


def _lost(stage: Stage, scene: Scene) -> Influx:
    server = scene.server("eu1")
    scene.config(ledger="mass_change = 1.0")
    scene.given("ensure")
    server.drop("telemetry_acme")
    return server


def lost(stage: Stage) -> str:
    """A recorded database that is gone."""
    with stage.scene("acme", "beta") as scene:
        _lost(stage, scene)
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        for command in ("ensure acme", "status", "where acme", "where acme --recorded"):
            scene.run(command)
        scene.run("plan --format json", traced=False)
        scene.run("ensure acme --allow recreate-lost")
        scene.run("history acme", traced=False)
        return scene.all()


def created_again(stage: Stage) -> str:
    """A recorded database that is gone, and that a client's write has created again."""
    with stage.scene("acme", "beta") as scene:
        server = _lost(stage, scene)
        server.write("telemetry_acme", ROW)
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        for command in ("status", "where acme", "ensure acme --recreate acme", "adopt acme"):
            scene.run(command)
        scene.run("history acme", traced=False)
        return scene.all()


def most_are_gone(stage: Stage) -> str:
    """More databases are gone than a run may create by itself."""
    tenants = [f"tenant{number}" for number in range(1, 13)]
    with stage.scene(*tenants) as scene:
        server = scene.server("eu1", max_databases=None)
        scene.config()
        scene.given("ensure")
        for tenant in tenants[:6]:
            server.drop(f"telemetry_{tenant}")
        scene.run("ensure", reports=True)
        scene.run("ensure --allow recreate-lost", traced=False)
        return scene.all()


def replaced(stage: Stage) -> str:
    """Another server answers behind a target's URL."""
    with stage.scene("acme", "beta") as scene:
        scene.server("eu1")
        scene.config(ledger="mass_change = 1.0")
        scene.given("ensure")
        scene.server("eu1", wal_flush_interval="60ms")
        scene.config(ledger="mass_change = 1.0")
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        for command in (
            "ensure acme",
            "status",
            "where acme",
            "doctor",
            "ensure --allow replaced-server",
            "ensure --allow replaced-server --allow recreate-lost",
        ):
            scene.run(command)
        return scene.all()


def misplaced(stage: Stage) -> str:
    """A tenant's database is elsewhere than it is recorded."""
    with stage.scene("acme", "beta") as scene:
        first, second = scene.server("eu1"), scene.server("eu2")
        scene.config()
        scene.given("ensure")
        first.drop("telemetry_acme")
        second.write("telemetry_acme", "_init,source=provisioning,tenant=acme value=1i")
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        for command in ("ensure acme", "status", "where acme", "where acme --recorded"):
            scene.run(command)
        return scene.all()


def unreachable(stage: Stage) -> str:
    """A target cannot be reached: of recorded tenants, of new ones; then the ledger's."""
    with stage.scene("acme", "beta") as scene:
        scene.server("eu1")
        scene.server("eu2")
        scene.config()
        scene.given("ensure")
        scene.db.execute("INSERT INTO device_registry (tenant_id) VALUES ('gamma')")
        scene.config("eu1")
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        for command in (
            "ensure acme",
            "status",
            "where acme",
            "where acme --recorded",
            "history acme",
            "doctor",
            "ensure --allow unreachable",
        ):
            scene.run(command)
        scene.config("eu1", "eu2")
        scene.run("ensure", reports=True)
        scene.config(ledger='dsn = "host=127.0.0.1 port=1 user=iot dbname=iotcloud"')
        for command in (
            "ensure",
            "plan --allow unrecorded-changes",
            "where acme",
            "where acme --recorded",
        ):
            scene.run(command)
        return scene.all()


def full(stage: Stage) -> str:
    """Servers are full: by the configured capacity, by the estimated one, by their answer."""
    with stage.scene("acme", "beta", "gamma") as scene:
        scene.server("eu1")
        scene.server("eu2")
        scene.config(more={"eu1": "capacity = 1\n", "eu2": "capacity = 1\n"})
        scene.run("plan", widths=BOTH)
        scene.run("ensure", reports=True)
        scene.run("ensure gamma")
        scene.run("where gamma")
        scene.run("status")
    with stage.scene("acme") as said:
        for name in ("eu1", "eu2"):
            server = said.server(name)
            for number in range(1, 6):
                server.create(f"other{number}")
        said.config()
        said.run("plan")
        said.config(more={"eu1": "capacity = 10\n"})
        said.run("ensure", reports=True)
        said.run("ensure acme")
        said.run("history", traced=False)
        return scene.all() + "\n" + said.all()


SCENARIOS: dict[str, Play] = {
    "ledger_first_runs": first_runs,
    "ledger_looks": looks,
    "ledger_new_source": a_new_source,
    "ledger_lost": lost,
    "ledger_created_again": created_again,
    "ledger_most_are_gone": most_are_gone,
    "ledger_replaced": replaced,
    "ledger_misplaced": misplaced,
    "ledger_unreachable": unreachable,
    "ledger_full": full,
}
