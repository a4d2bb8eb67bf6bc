"""What an application gets from a Provisioner, and what that costs its servers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, LiteralString

import psycopg

from influxops import EnsureResult, InvalidRequest, Provisioner
from influxops.errors import InfluxopsError
from tests.golden.stage import Play, Scene, Stage
from tests.golden.statements import in_order
from tests.queue.workers import states, until

_INSERT: LiteralString = "INSERT INTO device_registry (tenant_id) VALUES ('pr7')"
ROW = "telemetry,device=d1 temp=1 1700000000000000000"


@contextlib.contextmanager
def _provisioner(scene: Scene) -> Iterator[Provisioner]:
    """Give one that nothing else makes full runs for; it ends all that it began."""
    before = {name: os.environ.get(name) for name in scene.cli.variables}
    os.environ.update(scene.cli.variables)
    try:
        path = scene.cli.folder / "influxops.toml"
        made = Provisioner.from_config(path, timeout=60.0, full_runs=None, cache_ttl=600.0)
        try:
            yield made
        finally:
            made.close(10.0)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ask(
    scene: Scene,
    title: str,
    call: Callable[[Provisioner], Any],
    *,
    traced: bool = True,
    counts: bool = True,
) -> None:
    """Let a new Provisioner answer, and note what it said and asked for until it was closed."""
    scene.forget()
    with _provisioner(scene) as made:
        _tell(scene, title, lambda: call(made))
    if traced:
        scene.traced(in_order=False, counts=counts)


def _tell(scene: Scene, title: str, call: Callable[[], Any]) -> None:
    try:
        found = call()
    except (InfluxopsError, InvalidRequest) as error:
        found = error
    scene.say(f"=== {title}\n{_shown(found)}")


def _shown(value: Any) -> str:
    match value:
        case list():
            return "\n".join(_shown(each) for each in value)
        case EnsureResult():
            return f"{value.status.name} {value!r}"
        case Exception():
            return f"{type(value).__name__}: {value}"
        case _:
            return repr(value)


def _all_calls(scene: Scene) -> None:
    """Ask for tenants that are new, there and unknown, by each of the methods."""
    _ask(scene, "ensure of a new tenant", lambda made: made.ensure("acme"))
    _ask(scene, "ensure of one that is there", lambda made: made.ensure("acme"))
    _ask(scene, "ensure twice", lambda made: [made.ensure("acme") for _ in range(2)])
    _ask(scene, "ensure of one that no source knows", lambda made: made.ensure("nobody"))
    _ask(scene, "ensure of an id that can have no database", lambda made: made.ensure("a b"))
    _ask(scene, "ensure on a target that is none", lambda made: made.ensure("x", target="no"))
    _ask(
        scene,
        "ensure with retention and target",
        lambda made: made.ensure("kept", retention="7d", target="eu1"),
    )
    _ask(
        scene,
        "ensure_many of two new ones and one that is there",
        lambda made: made.ensure_many(["acme", "beta", "gamma"]),
        traced=False,  # how many are looked up at once is a matter of time
    )
    _ask(
        scene,
        "submit of a new one, and wait",
        lambda made: [made.submit("delta"), made.wait("delta"), made.health().pending],
    )
    scene.servers["eu1"].write("telemetry_acme", ROW)
    for title, tenant in (("there", "acme"), ("missing", "later"), ("unknown", "nobody")):
        _ask(scene, f"locate, {title}", _call("locate", tenant))
        _ask(scene, f"inspect, {title}", _call("inspect", tenant))


def _call(method: str, tenant: str) -> Callable[[Provisioner], Any]:
    return lambda made: getattr(made, method)(tenant)


_TENANTS = ("acme", "beta", "gamma", "delta", "kept", "later")


def without_ledger(stage: Stage) -> str:
    """All calls, with sources and servers alone."""
    with stage.scene(*_TENANTS) as scene:
        scene.server("eu1", max_databases=None)
        scene.config(ledgered=False)
        _all_calls(scene)
        return scene.all()


def with_ledger(stage: Stage) -> str:
    """All calls with a ledger, and what it says then."""
    with stage.scene(*_TENANTS) as scene:
        scene.server("eu1", max_databases=None)
        scene.config()
        _all_calls(scene)
        scene.run("history", traced=False)
        return scene.all()


def in_a_transaction(stage: Stage) -> str:
    """The transaction that creates a tenant notes that its database is wanted."""
    with stage.scene("acme") as scene:
        scene.server("eu1")
        scene.config()
        scene.forget()
        with _provisioner(scene) as made, psycopg.connect(scene.db.conninfo) as connection:
            connection.execute(_INSERT)
            _tell(scene, "enqueue in a transaction", lambda: made.enqueue("pr7", connection))
            connection.commit()
            until(lambda: states(scene.db).get("ready") == 1)
        said = scene.log.statements()
        (own,) = {session for session, statement in said if statement == _INSERT}
        scene.part(
            "statements of the transaction, in order",
            in_order([each for each in said if each[0] == own], scene.long),
        )
        scene.traced(in_order=False)
        scene.run("status pr7", traced=False)
        scene.run("ensure", traced=False)
        scene.run("history", traced=False)
        return scene.all()


def in_trouble(stage: Stage) -> str:
    """Recorded tenants that are lost, misplaced, retiring, moving; servers full or away."""
    ids = ("lost", "misplaced", "retiring", "moving", "new")
    with stage.scene(*ids[:4]) as scene:
        first, second = scene.server("eu1"), scene.server("eu2")
        scene.config(ledger="mass_change = 1.0")
        scene.given("ensure")
        # At once: what is deleted ten seconds after it was seen is looked at in another way.
        first.drop("telemetry_lost")
        first.drop("telemetry_misplaced")
        second.write("telemetry_misplaced", "_init,source=provisioning,tenant=misplaced value=1i")
        scene.db.execute(
            "DELETE FROM device_registry WHERE tenant_id = 'retiring'",
            "INSERT INTO device_registry (tenant_id) VALUES ('new')",
            "UPDATE influxops.tenants t SET state = 'moving', secondary_target = 'eu2', "
            "secondary_identity = "
            "s.identity FROM influxops.servers s WHERE s.target = 'eu2' AND tenant = 'moving'",
        )
        scene.given("retire retiring")
        for id_ in ids[:4]:
            _ask(scene, f"ensure, {id_}", _call("ensure", id_), counts=False)
            _ask(scene, f"locate, {id_}", _call("locate", id_), counts=False)
        scene.config("eu1")
        for id_ in ("new", "moving"):
            _ask(scene, f"ensure, away: {id_}", _call("ensure", id_), counts=False)
            _ask(scene, f"locate, away: {id_}", _call("locate", id_), counts=False)
        return scene.all()


def full(stage: Stage) -> str:
    """Servers that are full: one of two, and both."""
    with stage.scene("acme", "beta") as scene:
        first, second = scene.server("eu1"), scene.server("eu2")
        for number in range(1, 6):
            first.create(f"other{number}")
        scene.config()
        _ask(scene, "ensure, the first is full", lambda made: made.ensure("acme"), counts=False)
        for number in range(1, 5):
            second.create(f"other{number}")
        _ask(scene, "ensure, all are full", lambda made: made.ensure("beta"), counts=False)
        _ask(scene, "locate, all are full", lambda made: made.locate("beta"), counts=False)
        scene.run("history", traced=False)
        return scene.all()


SCENARIOS: dict[str, Play] = {
    "provisioner": without_ledger,
    "provisioner_ledger": with_ledger,
    "provisioner_transaction": in_a_transaction,
    "provisioner_trouble": in_trouble,
    "provisioner_full": full,
}
