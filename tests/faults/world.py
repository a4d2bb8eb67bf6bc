"""Everything that a stretch of rounds works on: 300 tenants, three servers, all doors."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import urllib3

from influxops_devserver.testing import running_stand_in
from tests.faults import check
from tests.faults.answers import Layer, answering
from tests.faults.doors import Application, Commands, Keeper, Said, Service
from tests.faults.parts import Primary, Server
from tests.faults.toxiproxy import Toxiproxy, free_port, toxiproxy
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.pgbouncer import PROGRAM as BOUNCER
from tests.pgbouncer import pgbouncer

NAMES = ("eu1", "eu2", "eu3")
#: Seconds for which a writer may use a place that it looked up.
TTL = 1.0

_CONFIG = """
[run]
timeout = "8s"
target_read_timeout = "2s"

[placement]
policy = "{policy}"

[sources.registry]
kind = "postgres"
host = "127.0.0.1"
port = {port}
database = "faults"
user = "iot"
password = {{env = "FAULTS_PASSWORD"}}
connect_timeout = 2
statement_timeout = 2
lock_timeout = 2

[sources.tenants]
kind = "postgres"
like = "registry"
table = "tenants"

[ledger]
kind = "postgres"
cache_ttl = "{ttl:g}s"
last_pass = "5s"
retire_after = "1h"
mass_change = 1.0

[web]
login_rate_per_minute = 100000
timeout = 1.5
"""
_TARGET = """
[targets.{name}]
kind = "influxdb3"
url = "http://127.0.0.1:{port}"
token = {{env = "FAULTS_TOKEN_{number}"}}
capacity = "unlimited"
connect_timeout = 1.0
read_timeout = 1.5
retries = 2
"""


class Writer(threading.Thread):
    """A client that looks up where its tenant is, as often as it has to, and writes there."""

    def __init__(self, world: World, tenant: str) -> None:
        super().__init__(daemon=True)
        self.world, self.tenant = world, tenant
        self.over = threading.Event()
        self.sent, self.acknowledged = 0, list[int]()
        self.lock = threading.Lock()

    def run(self) -> None:
        pool = urllib3.PoolManager(retries=False)
        place, until = "", 0.0
        while not self.over.wait(0.03):
            if time.monotonic() > until - TTL / 2:
                asked = time.monotonic()
                with contextlib.suppress(psycopg.Error):
                    place, until = self.world.place_of(self.tenant), asked + TTL
            left = until - time.monotonic()
            if place and left > 0.05:
                self._write(pool, place, left)

    def _write(self, pool: urllib3.PoolManager, place: str, left: float) -> None:
        server = self.world.servers[place]
        first, now = self.sent, time.time_ns()
        if first % 400 == 200:  # a row that comes late, as from a device that was away
            now -= 10**9 * 86_400
        lines = "\n".join(
            f"telemetry,device=d{n % 3} n={n}i,v={n / 7} {now + n}" for n in range(first, first + 5)
        )
        with self.lock, contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
            self.sent += 5
            answer = pool.request(
                "POST",
                f"http://127.0.0.1:{server.port}/api/v3/write_lp?db={check.PREFIX}{self.tenant}",
                body=lines.encode(),
                headers={"Authorization": f"Bearer {server.token}"},
                timeout=urllib3.Timeout(total=left),
            )
            if answer.status == 204:
                self.acknowledged += range(first, first + 5)


@dataclass
class World:
    """What rounds work on."""

    rng: random.Random
    folder: Path
    toxic: Toxiproxy
    primary: Primary
    servers: dict[str, Server]
    layers: dict[str, Layer]
    impostor: check.Server
    said: Said
    commands: Commands
    config: Path
    keepers: list[Keeper] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    deleted: dict[str, str] = field(default_factory=dict)  # and from where
    ever: set[str] = field(default_factory=set)  # those that were deleted once
    under_way: int = 0  # databases that another server behind an address may have got
    undone: set[str] = field(default_factory=set)  # those that are still to be deleted
    foreign: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    writers: dict[str, Writer] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)  # tenants of this round
    secrets: list[str] = field(default_factory=list)
    background: list[threading.Thread] = field(default_factory=list)  # what a round waits for
    bouncers: dict[str, int] = field(default_factory=dict)  # ports, by mode
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def application(self) -> Application:
        return next(each for each in self.keepers if isinstance(each, Application))

    @property
    def service(self) -> Service:
        return next(each for each in self.keepers if isinstance(each, Service))

    @property
    def workers(self) -> list[Keeper]:
        return [each for each in self.keepers if each.name.startswith("worker")]

    def place_of(self, tenant: str) -> str:
        """Look up where a tenant's rows go, as a client may that reads the ledger."""
        with psycopg.connect(self.primary.conninfo, connect_timeout=2) as connection:
            row = connection.execute(
                "SELECT target FROM influxops.tenants WHERE tenant = %s AND state = ANY(%s)",
                [tenant, ["ready", "moving", "retiring"]],
            ).fetchone()
        return row[0] if row else ""

    def processes_since(self, began: float) -> int:
        """How many processes have worked since then: each has at most four writes under way."""
        commands = [call for call in self.said.calls if call.door in ("CLI", "Ansible")]
        return len(self.keepers) + sum(not c.ended or c.ended > began for c in commands)

    def ready(self) -> dict[str, str]:
        """Where tenants are that the ledger calls ready, and that are not moved."""
        query = "SELECT tenant, target FROM influxops.tenants WHERE state = 'ready'"
        with psycopg.connect(self.primary.conninfo) as connection:
            found: dict[str, str] = dict(connection.execute(query).fetchall())
        out = {*self.deleted, *self.foreign, *self.moved}
        return {tenant: at for tenant, at in sorted(found.items()) if tenant not in out}

    def run(self, *arguments: str, **options: Any) -> None:
        """Run a command without waiting for it; the round does."""
        thread = threading.Thread(
            target=self.commands.run, args=arguments, kwargs=options, daemon=True
        )
        thread.start()
        self.background.append(thread)

    def register(self, tenants: Sequence[str]) -> None:
        """Give tenants a device each, as a platform does, in one statement."""
        with psycopg.connect(self.primary.conninfo) as connection:
            connection.execute(
                "INSERT INTO device_registry (tenant_id) SELECT unnest(%s::text[])", [[*tenants]]
            )
        self.registered += tenants
        self.recent += tenants

    def delete(self, tenant: str) -> None:
        """Delete a database, as somebody does who knows nothing of influxops."""
        path = f"/api/v3/configure/database?db={check.PREFIX}{tenant}"
        with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
            if self.servers[self.deleted[tenant]].ask("DELETE", path) == 200:
                self.undone.discard(tenant)

    def clear_impostor(self) -> int:
        """Delete what is on the other server, and return how many databases that were."""
        self.under_way = 0
        server = Influx(f"http://127.0.0.1:{self.impostor.port}")
        names = server.databases()
        server.clean()
        return len(names)

    def facts(self, *, settled: bool, deep: Sequence[str] | None) -> check.Facts:
        """Put together what the checker needs."""
        writers = self.writers.items()
        return check.Facts(
            postgres=self.primary.conninfo,
            servers={
                name: check.Server(each.port, each.token) for name, each in self.servers.items()
            },
            impostors=[self.impostor],
            astray=self.under_way,
            registered=[*self.registered],
            stored=[*self.said.stored],
            told=[*self.said.told],
            told_gone=[each for each in self.said.told_gone if each.tenant not in self.ever],
            deleted=[*self.deleted],
            foreign=[*self.foreign],
            # Where one that was deleted is made again is decided then.
            moved=[*self.moved, *self.ever],
            acknowledged={tenant: [*each.acknowledged] for tenant, each in writers},
            sent={tenant: each.sent for tenant, each in writers},
            deep=None if deep is None else [*deep],
            settled=settled,
        )

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let nobody write: what is read in between belongs together."""
        with contextlib.ExitStack() as stack:
            for keeper in self.keepers:
                keeper.signal(signal.SIGSTOP)
                stack.callback(keeper.signal, signal.SIGCONT)
            for writer in self.writers.values():
                stack.enter_context(writer.lock)
            yield

    def heal(self) -> None:
        """End all faults."""
        for name, server in self.servers.items():
            self.toxic.heal(name)
            self.layers[name].heal()
            self.layers[name].behind = server.port
            server.heal()
        for tenant in [*self.undone]:  # its server was away
            self.delete(tenant)
        self.undone.clear()
        self.primary.heal()
        self.toxic.heal("pg")
        self.toxic.change("pg", upstream=f"127.0.0.1:{self.primary.port}")
        for keeper in self.keepers:
            keeper.signal(signal.SIGCONT)
            keeper.start()

    def install(self) -> None:
        """Make all tables, and the tokens of the service."""
        run = self.commands.cli
        self.primary.owner(
            "CREATE TABLE device_registry (device_id bigserial PRIMARY KEY, tenant_id text);"
            "ALTER TABLE device_registry OWNER TO iot",
            "faults",
        )
        for command in (
            ("ledger", "install"),
            ("db", "upgrade"),
            ("queue", "install", "--trigger"),
        ):
            done = run(*command)
            assert done.code == 0, done.all
        done = run("token", "create", "--role", "operator_admin", "--name", "faults")
        assert done.code == 0, done.all
        self.secrets.append(done.out.strip())
        # The first answer of a server decides which one it is: no fault may come before that.
        self.register(["first"])
        for _ in range(20):  # a machine that is busy may exceed the time limits of a round
            if (done := run("ensure")).code == 0:
                break
        assert done.code == 0, done.all


@contextlib.contextmanager
def new_world(rng: random.Random, folder: Path, *, most: int | None = None) -> Iterator[World]:
    """Start everything; with `most`, the first server has room for so many databases."""
    with contextlib.ExitStack() as stack:
        toxic = stack.enter_context(toxiproxy())
        primary = Primary(stack)
        servers = {name: Server(stack, most if name == "eu1" else None) for name in NAMES}
        layers = {name: stack.enter_context(answering(each.port)) for name, each in servers.items()}
        other = stack.enter_context(running_stand_in(max_databases=None))
        front = {name: toxic.lead(name, layer.port) for name, layer in layers.items()}
        port = toxic.lead("pg", primary.port)
        text = _CONFIG.format(policy=rng.choice(["fill", "spread"]), port=port, ttl=TTL)
        for number, name in enumerate(NAMES):
            text += _TARGET.format(name=name, port=front[name], number=number)
        tokens = {f"FAULTS_TOKEN_{n}": servers[name].token for n, name in enumerate(NAMES)}
        cli = Cli(folder, {"FAULTS_PASSWORD": primary.password, **tokens})
        config = cli.config(text)
        said = Said(folder / "said")
        commands = Commands(cli, said)
        world = World(
            rng, folder, toxic, primary, servers, layers, check.Server(other.port), said,
            commands, config, secrets=[primary.password, *tokens.values()],
        )  # fmt: skip
        world.install()
        if BOUNCER is not None:
            through = replace(primary.server, port=port)
            for mode in ("session", "transaction", "statement"):
                db = TestDatabase(through, "faults")
                world.bouncers[mode] = stack.enter_context(pgbouncer(db, mode, patience=5)).port
        world.keepers += [
            Keeper(commands, f"worker-{n}", ["worker", "--full-run-every", "6s"]) for n in (1, 2)
        ]
        world.keepers += [
            Application(commands),
            Service(commands, free_port(), world.secrets[-1]),
        ]
        for keeper in world.keepers:
            keeper.start()
        world.service.wait()
        try:
            yield world
        finally:
            for writer in world.writers.values():
                writer.over.set()
            for writer in world.writers.values():
                writer.join(10)
            for keeper in world.keepers:
                keeper.stop()
