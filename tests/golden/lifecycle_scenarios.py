"""Commands that change where a tenant's database is, whose it is and how long it is kept."""

from __future__ import annotations

from tests.golden.stage import Play, Scene, Stage

BOTH = (80, 130)
#: Two tables with one row each.
ROWS = "telemetry,device=d1 temp=1 1700000000000000000\nstatus,device=d1 up=t 1700000000000000000"


def adopting(stage: Stage) -> str:
    """A database of another name becomes a tenant's."""
    with stage.scene("acme", "beta", "gamma") as scene:
        server = scene.server("eu1")
        server.write("legacy_acme", ROWS)
        scene.config()
        scene.run("adopt acme=legacy_acme --dry-run", widths=BOTH)
        scene.run("adopt acme=legacy_acme", reports=True)
        scene.run("adopt acme=legacy_acme")
        for command in (
            "adopt beta=legacy_acme",
            "adopt beta=none",
            "adopt nobody=legacy_acme",
            "adopt beta",
            "ensure",
            "adopt beta=legacy_acme --format json",
        ):
            scene.run(command)
        for command in ("where acme", "status", "history acme"):
            scene.run(command, traced=False)
        return scene.all()


def _let_time_pass(scene: Scene) -> None:
    """Let all be due whose time has not passed yet."""
    scene.db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE drop_after IS NOT NULL")


def retiring(stage: Stage) -> str:
    """Tenants are retired, kept after all, and dropped once the time has passed."""
    with stage.scene("acme", "beta", "gamma") as scene:
        scene.server("eu1")
        scene.config()
        scene.given("ensure")
        scene.servers["eu1"].write("telemetry_gamma", ROWS)
        scene.run("retire acme")
        scene.run("retire nobody")
        scene.db.execute("DELETE FROM device_registry WHERE tenant_id <> 'beta'")
        scene.run("retire acme --dry-run", widths=BOTH)
        scene.run("retire acme gamma", reports=True)
        for command in ("retire acme", "plan", "ensure", "ensure acme", "status", "where acme"):
            scene.run(command)
        scene.run("where acme --recorded")
        scene.run("retire --due")
        scene.run("unretire gamma --dry-run", widths=BOTH)
        scene.run("unretire gamma")
        scene.run("unretire gamma")
        scene.given("retire gamma")
        scene.db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE tenant = 'gamma'")
        scene.run("retire --due --dry-run", widths=BOTH)
        scene.run("retire --due", reports=True)
        scene.run("unretire gamma")
        scene.run("retire acme --after 1d --format json")
        scene.run("history", traced=False)
        return scene.all()


def back_again(stage: Stage) -> str:
    """A source has a retiring tenant again; a retiring one's server is away."""
    with stage.scene("acme", "beta", "gamma") as scene:
        scene.server("eu1")
        scene.config()
        scene.given("ensure")
        scene.db.execute("DELETE FROM device_registry WHERE tenant_id <> 'beta'")
        scene.given("retire acme gamma")
        _let_time_pass(scene)
        scene.db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
        scene.run("retire --due --dry-run")
        scene.config("eu1")
        scene.run("retire --due")
        scene.config()
        scene.run("ensure", reports=True)
        scene.run("history acme", traced=False)
        return scene.all()


def _moved(scene: Scene) -> None:
    scene.server("eu1")
    scene.server("eu2")
    scene.config()
    scene.given("ensure")
    for tenant in ("acme", "beta"):
        scene.servers["eu1"].write(f"telemetry_{tenant}", ROWS)


def moving(stage: Stage) -> str:
    """A tenant moves to another server, and its old copy is dropped."""
    with stage.scene("acme", "beta") as scene:
        _moved(scene)
        for command in ("move acme --to eu1", "move nobody --to eu2", "move acme --to nowhere"):
            scene.run(command)
        scene.run("move acme --to eu2 --plan", widths=BOTH, in_order=False)
        scene.run("move acme --to eu2 --writers-paused", reports=True, in_order=False, counts=False)
        for command in ("move acme --to eu2", "plan", "status", "where acme", "ensure"):
            scene.run(command, in_order=False)
        scene.run("retire --due", in_order=False)
        _let_time_pass(scene)
        scene.run("retire --due --dry-run", in_order=False)
        # A pass that took longer than a second is followed by another: no trace.
        scene.run("retire --due", reports=True, traced=False)
        scene.run("history acme", traced=False)
        scene.run("move acme --to eu1 --plan --format json", traced=False)
        return scene.all()


def moving_fails(stage: Stage) -> str:
    """The other server is full, away, or holds a database of that name."""
    with stage.scene("acme", "beta") as scene:
        _moved(scene)
        scene.servers["eu2"].write("telemetry_acme", ROWS)
        scene.run("move acme --to eu2 --plan", in_order=False)
        scene.run("move acme --to eu2 --writers-paused", reports=True, in_order=False, counts=False)
        scene.config("eu2")
        scene.run("move beta --to eu2", in_order=False)
        scene.config(more={"eu2": "capacity = 1\n"})
        scene.run("move beta --to eu2 --plan", in_order=False)
        scene.run("history", traced=False)
        return scene.all()


def draining(stage: Stage) -> str:
    """All tenants of a server move to others."""
    with stage.scene("acme", "beta") as scene:
        _moved(scene)
        scene.run("drain nowhere")
        # As text, what is estimated for two is one line where it took equally long to measure.
        scene.run("drain eu1 --plan --format json", in_order=False)
        scene.run("drain eu1 --writers-paused", reports=True, in_order=False, counts=False)
        scene.run("drain eu1", in_order=False)
        scene.run("plan", in_order=False)
        scene.run("status", traced=False)
        return scene.all()


def by_ansible(stage: Stage) -> str:
    """The Ansible modules with a ledger: to create, nothing to do, lost, replaced, absent."""
    with stage.scene("acme", "beta") as scene:
        server = scene.server("eu1")
        scene.config(ledger="mass_change = 1.0")
        scene.module("influx_tenant_db", check=True)
        scene.module("influx_tenant_db")
        scene.module("influx_tenant_db")
        scene.module("influx_tenant_db", tenant="acme")
        scene.module("influx_tenant_db_info")
        server.drop("telemetry_acme")
        scene.module("influx_tenant_db")
        scene.module("influx_tenant_db", tenant="acme")
        scene.module("influx_tenant_db", tenant="beta", state="absent")
        scene.module("influx_tenant_db", tenant="beta", state="absent", allow=["still-registered"])
        scene.run("history", traced=False)
        return scene.all()


SCENARIOS: dict[str, Play] = {
    "adopting": adopting,
    "retiring": retiring,
    "retiring_back_again": back_again,
    "moving": moving,
    "moving_fails": moving_fails,
    "draining_all": draining,
    "ansible_ledger": by_ansible,
}
