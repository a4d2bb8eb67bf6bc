"""Workers and the queue: rows that become databases, and what is shown of it."""

from __future__ import annotations

import re
import signal

import urllib3

from tests.golden.stage import Play, Scene, Stage
from tests.queue.workers import insert, rows, states, until, working

QUEUED = ("ledger install", "queue install --trigger")
BOTH = (80, 130)


def queue_commands(stage: Stage) -> str:
    """The queue is installed and shown, and nobody works."""
    with stage.scene("acme") as scene:
        scene.server("eu1")
        scene.config()
        for command in (
            "queue status",
            "worker",
            "queue install",
            "queue install --trigger",
            "queue install --trigger",
        ):
            scene.run(command, traced=command != "worker")
        insert(scene.db, ["beta"])
        scene.run("queue status", widths=BOTH)
        scene.run("queue status --format json", traced=False)
        for command in ("queue retry", "queue retry beta", "queue retry nobody"):
            scene.run(command)
        return scene.all()


def _work(scene: Scene, *tenants: str, ready: int) -> None:
    """Let a worker make the databases of tenants that are inserted while it runs."""
    scene.forget()
    with working(scene.cli, listens=True) as worker:
        insert(scene.db, tenants)
        until(lambda: states(scene.db).get("ready") == ready)
        until(lambda: not rows(scene.db, "SELECT FROM influxops_queue.hints"))
        scene.say(f"=== a worker, and rows of {', '.join(tenants)}")
        scene.note("influxops queue status", scene.cli("queue", "status"))
        scene.names[worker.url] = "http://127.0.0.1:9108"
        for path in ("/healthz", "/metrics"):
            answer = urllib3.request("GET", worker.url + path)
            text = answer.data.decode()
            if path == "/metrics":
                names = re.findall(r"^# TYPE (\S+ \S+)", text, flags=re.MULTILINE)
                text = "\n".join(sorted(n for n in names if n.startswith("influxops")))
            scene.part(f"{path}: {answer.status}", text)
        code, said = worker.end(signal.SIGTERM)
        scene.part(f"worker: exit {code}", "\n".join([*worker.said, said]))
    for name, proxy in scene.proxies.items():
        scene.part(
            f"requests to {name}", "".join(sorted({f"{s.method} {s.path}\n" for s in proxy.seen}))
        )
    scene.statements(_is_no_pulse)
    scene.run("history", traced=False)


def _is_no_pulse(statement: str) -> bool:
    """Tell whether a statement is sent for a reason, and not periodically."""
    own = "FROM influxops" in statement  # the tests do not quote a schema
    return not own and "procrastinate" not in statement and statement != "SELECT 1"


def a_row(stage: Stage) -> str:
    """A row is inserted, and its tenant's database is created."""
    with stage.scene("acme", installed=QUEUED) as scene:
        scene.server("eu1")
        scene.config()
        scene.names["&no_sync=true"] = ""  # which one is the last of its batch varies
        _work(scene, "beta", "gamma", ready=3)
        return scene.all()


def full_first(stage: Stage) -> str:
    """The server that is filled first is full: the next one takes the tenant."""
    with stage.scene(installed=QUEUED) as scene:
        first = scene.server("eu1")
        scene.server("eu2")
        for number in range(1, 6):
            first.create(f"other{number}")
        scene.config()
        _work(scene, "acme", ready=1)
        return scene.all()


def _troubled(scene: Scene, title: str) -> None:
    """Let a worker fail."""
    with working(scene.cli):
        insert(scene.db, ["acme"])
        query = "SELECT error FROM influxops.tenants WHERE error <> ''"
        until(lambda: rows(scene.db, query))
        scene.say(f"=== a worker, and {title}")
        for (error,) in rows(scene.db, query):
            scene.part("error", _of_any_attempt(error))
        done = scene.cli("queue", "status")
        scene.part(
            f"queue status: exit {done.code}", _without_times(_of_any_attempt(done.out + done.err))
        )
        done = scene.cli("status")
        scene.part(f"status: exit {done.code}", done.out)


def _of_any_attempt(text: str) -> str:
    """Return a text with the server's reason alone: which attempt is shown depends on time."""
    return re.sub(r"no free slot: \w+ is full \((.*?)\)", r"\1", text)


def _without_times(text: str) -> str:
    text = re.sub(r"\b\d+(\.\d+)? ?s\b", "0 s", text)
    text = re.sub(r"\b\d+ (try|tries)\b", "1 try", text)
    return re.sub(r"(another try) .*", r"\1", text)


def trouble(stage: Stage) -> str:
    """All servers are full; the only one is away."""
    with stage.scene(installed=QUEUED) as full:
        server = full.server("eu1")
        for number in range(1, 6):
            server.create(f"other{number}")
        full.config()
        _troubled(full, "a full server")
    with stage.scene(installed=QUEUED) as away:
        away.server("eu1")
        away.config("eu1")
        _troubled(away, "a server that is away")
    return full.all() + "\n" + away.all()


SCENARIOS: dict[str, Play] = {
    "queue_commands": queue_commands,
    "worker_row": a_row,
    "worker_full": full_first,
    "worker_trouble": trouble,
}
