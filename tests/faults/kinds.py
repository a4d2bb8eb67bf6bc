"""The faults: each is injected for real, lasts for a moment, and ends by itself."""

from __future__ import annotations

import signal
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg

from tests.faults.answers import ANSWERS, WRONG, Trouble
from tests.faults.check import PREFIX
from tests.faults.world import NAMES, World

_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("/none"))
#: Commands that are killed at some moment; TENANT is one of this round.
_COMMANDS = (
    ("ensure",), ("ensure", "TENANT"), ("ensure", "--format", "json"), ("plan",), ("status",),
    ("where", "TENANT", "--recorded"), ("history",), ("doctor",), ("routes",), ("ledger", "status"),
    ("queue", "status"), ("queue", "retry"), ("ledger", "install"), ("db", "upgrade"),
    ("queue", "install", "--trigger"), ("adopt", "TENANT"), ("wait", "TENANT", "--timeout", "2s"),
    ("export", "TENANT", "--output", "exported"), ("import", "exported"),
    ("retire", "--due"), ("retire", "--copies"), ("ledger", "prune", "--before", "1d"),
    ("config",), ("unretire", "TENANT"), ("retire", "TENANT"), ("forget", "TENANT"),
    ("drain", "eu2", "--plan"), ("token", "list"), ("plugins",), ("status", "--orphans"),
)  # fmt: skip
_PG = "pg"
Inject = Callable[[World, Random], int]


class NotHere(Exception):
    """This machine, or this moment, has no such fault; says why."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault; `inject` returns how often it was injected."""

    group: str
    name: str
    inject: Inject
    weight: int = 2  # how often it is in the deck


def _toxic(kind: str, *, answer: bool, pg: bool = False, bytes_: int = 0) -> Inject:
    """Something that toxiproxy does to all connections for a moment."""

    def inject(w: World, r: Random) -> int:
        name = _PG if pg else r.choice(NAMES)
        given = {"bytes": r.randint(1, bytes_)} if bytes_ else {"timeout": 0}
        w.toxic.poison(name, kind, answer=answer, **given)
        time.sleep(r.uniform(0.1, 2.0 if kind == "timeout" else 0.4))
        w.toxic.heal(name)
        return 1

    return inject


def _refused(pg: bool) -> Inject:
    def inject(w: World, r: Random) -> int:
        name = _PG if pg else r.choice(NAMES)
        w.toxic.change(name, enabled=False)
        time.sleep(r.uniform(0.1, 0.6))
        w.toxic.heal(name)
        return 1

    return inject


def _meet(w: World, name: str, trouble: Trouble, patience: float = 1.0) -> int:
    """Wait until some requests to a server have met a trouble; return how many did."""
    layer = w.layers[name]
    with layer.lock:
        layer.troubles.append(trouble)
    end = time.monotonic() + patience
    while trouble.left > 0 and time.monotonic() < end:
        time.sleep(0.02)
    with layer.lock:
        trouble.left = 0
    return trouble.met


def _answers(name: str) -> Inject:
    """Something that some requests are answered with."""

    def inject(w: World, r: Random) -> int:
        skip = r.randint(1, 6) if name == "401" else r.randint(0, 1 if name == "full" else 3)
        trouble = Trouble(name, r.randint(1, 4), skip, name == "full", r.choice(WRONG))
        return _meet(w, r.choice(NAMES), trouble, 2.0 if name == "full" else 1.0)

    return inject


def _killed_server(w: World, r: Random) -> int:
    """Kill a server, half of the time just before it gets a write."""
    name = r.choice(NAMES)
    server = w.servers[name]
    if r.random() < 0.5:
        _meet(w, name, Trouble("", 1, r.randint(0, 3), True, act=lambda path: server.kill()), 1.0)
    server.kill()
    time.sleep(r.uniform(0, 1.0))
    server.start()
    return 1


def _paused(seconds: float) -> Inject:
    def inject(w: World, r: Random) -> int:
        server = w.servers[r.choice(NAMES)]
        server.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            server.signal(signal.SIGCONT)
        return 1

    return inject


def _deleted(w: World, r: Random) -> int:
    """Delete a database that is in use, when a run that has planned begins to write."""
    name = r.choice(NAMES)
    with w.lock:
        ready = [tenant for tenant, at in w.ready().items() if at == name]
        if not ready:
            return 0
        tenant = r.choice(ready)
        w.deleted[tenant] = name  # from now on nobody has to hold it
        w.ever.add(tenant)
        w.undone.add(tenant)

    def delete(path: str) -> None:
        # A write to this very database that is under way makes it again.
        if f"db={PREFIX}{tenant}" not in path:
            w.delete(tenant)

    _meet(w, name, Trouble("", 1, 0, True, act=delete))
    if tenant in w.undone:
        w.delete(tenant)
    return 1


def _foreign(w: World, r: Random) -> int:
    """Create the database that a run is about to create."""
    name = r.choice(NAMES)

    def create(path: str) -> None:
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        database = (asked.get("db") or [""])[0]
        if database.startswith(PREFIX):
            with w.lock:
                w.foreign.append(database.removeprefix(PREFIX))
            body = f'{{"db": "{database}"}}'
            w.servers[name].ask("POST", "/api/v3/configure/database", body)

    return _meet(w, name, Trouble("", r.randint(1, 3), 0, True, act=create))


def _impostor(w: World, r: Random) -> int:
    layer = w.layers[name := r.choice(NAMES)]
    began = time.monotonic()
    layer.behind = w.impostor.port
    time.sleep(r.uniform(0.3, 1.5))
    layer.behind = w.servers[name].port
    w.under_way += 4 * w.processes_since(began)
    return 1


def _full_server(w: World, r: Random) -> int:
    disk = w.servers[r.choice(NAMES)].disk
    if disk.folder is None:
        raise NotHere("a small disk is mounted by root only")
    disk.fill()
    time.sleep(r.uniform(0.3, 1.5))
    disk.free()
    return 1


def _restart(w: World, r: Random) -> int:
    with w.lock:
        w.primary.restart(r.choice(["fast", "immediate"]))
    return 1


def _fail_over(w: World, r: Random) -> int:
    with w.lock:
        w.primary.fail_over()
        w.toxic.change(_PG, upstream=f"127.0.0.1:{w.primary.port}")
    return 1


def _full_postgres(w: World, r: Random) -> int:
    disk = w.primary.disk
    if disk.folder is None:
        raise NotHere("a small disk is mounted by root only")
    with w.lock:
        disk.fill()
        time.sleep(r.uniform(0.3, 1.0))
        w.primary.heal()
    return 1


def _ended(w: World, r: Random) -> int:
    """End connections, as an administrator does."""
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE usename = 'iot' AND random() < {r.uniform(0.3, 1.0)}"
    )
    with psycopg.connect(w.primary.conninfo, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    time.sleep(r.uniform(0.0, 0.3))
    return int(bool(row and row[0]))


def _settings(**settings: str) -> Inject:
    """Server-wide limits that come in the middle, for sessions that there are as well."""

    def inject(w: World, r: Random) -> int:
        with w.lock:
            for name, value in settings.items():
                w.primary.owner(f"ALTER SYSTEM SET {name} = '{value}'")
            w.primary.owner("SELECT pg_reload_conf()")
            time.sleep(r.uniform(0.5, 1.5))
            w.primary.owner("ALTER SYSTEM RESET ALL")
            w.primary.owner("SELECT pg_reload_conf()")
        return 1

    return inject


def _locked(seconds: float) -> Inject:
    def inject(w: World, r: Random) -> int:
        table = r.choice(["influxops.tenants", "device_registry", "influxops.history", "tenants"])
        with psycopg.connect(w.primary.conninfo) as connection:
            connection.execute("SET lock_timeout = '2s'")
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            time.sleep(r.uniform(seconds / 2, seconds))
        return 1

    return inject


def _limit(w: World, r: Random) -> int:
    with w.lock:
        w.primary.owner(f"ALTER ROLE iot CONNECTION LIMIT {r.randint(0, 4)}")
        time.sleep(r.uniform(0.3, 1.2))
        w.primary.owner("ALTER ROLE iot CONNECTION LIMIT -1")
    return 1


def _bouncer(mode: str) -> Inject:
    """Run a command through a pooler."""

    def inject(w: World, r: Random) -> int:
        if mode not in w.bouncers:
            raise NotHere("PgBouncer is not installed")
        config = w.folder / f"through-{mode}.toml"
        text = w.config.read_text()
        mine = text.split("port = ", 1)[1].split("\n", 1)[0]
        config.write_text(text.replace(f"port = {mine}\n", f"port = {w.bouncers[mode]}\n", 1))
        everybody = [*w.registered]
        # A registry at another address is another one, for all that influxops knows.
        allowed = ("--allow", "new-source")
        options = ("--format", "json", "--config", str(config), *allowed)
        w.run("ensure", *options, everybody=_expected(w, everybody))
        return 1

    return inject


def _expected(w: World, tenants: list[str]) -> list[str]:
    return [tenant for tenant in tenants if tenant not in w.deleted]


def _killed_command(w: World, r: Random) -> int:
    """Kill a command at some moment; each of them gets its turn."""
    command = list(r.choice(_COMMANDS))
    tenant = r.choice(w.registered)
    arguments = [tenant if each == "TENANT" else each for each in command]
    w.commands.run(*arguments, kill_after=r.uniform(0.03, 0.8))
    return 1


def _killed_any(w: World, r: Random) -> int:
    """Kill what runs now: any command, move or task."""
    time.sleep(r.uniform(0.0, 0.5))
    return int(w.commands.kill_one(r.choice))


def _killed_keeper(prefix: str) -> Inject:
    def inject(w: World, r: Random) -> int:
        keeper = r.choice([each for each in w.keepers if each.name.startswith(prefix)])
        with keeper.lock:
            killed = keeper.kill()
            time.sleep(r.uniform(0.0, 0.5))
            keeper.start()
        return int(killed)

    return inject


def _paused_keeper(w: World, r: Random) -> int:
    keeper = r.choice(w.workers)
    keeper.signal(signal.SIGSTOP)
    time.sleep(r.uniform(0.3, 2.0))
    keeper.signal(signal.SIGCONT)
    return 1


def _ten(w: World, r: Random) -> int:
    """Ten runs over all tenants at once: one fault."""
    everybody = _expected(w, [*w.registered])
    for _ in range(10):
        w.run("ensure", "--format", "json", everybody=everybody)
    return 1


def _clock(w: World, r: Random) -> int:
    """Let the clock of a command jump while it runs."""
    if not _FAKETIME.exists():
        raise NotHere("libfaketime is not installed (Debian: apt-get install libfaketime)")
    now = w.folder / f"clock-{r.random()}"
    now.write_text("+0\n")
    env = {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(now),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    jump = r.choice(["-1h", "+1h", "-30d", "+30d", "-400d"])
    w.run("ensure", "--format", "json", env=env)
    time.sleep(r.uniform(0.2, 0.8))
    now.write_text(f"{jump}\n")
    return 1


def _output(out: str) -> Inject:
    def inject(w: World, r: Random) -> int:
        command = r.choice([("ensure",), ("ensure", "--format", "json"), ("status",), ("plan",)])
        w.run(*command, out=out)
        return 1

    return inject


_I, _P, _O = "InfluxDB", "PostgreSQL", "ours"


def kinds(pause: float) -> list[Kind]:
    """Return all of them; with so many seconds of a server's pause."""
    answers = [*ANSWERS, "wrong JSON", "truncated JSON", "truncated answer"]
    answers += ["reset in a request", "reset in an answer"]
    return [
        Kind(_I, "connection refused", _refused(pg=False)),
        Kind(_I, "connections reset while requests are sent", _toxic("reset_peer", answer=False)),
        Kind(_I, "connections reset while answers come", _toxic("reset_peer", answer=True)),
        Kind(_I, "answers end after some bytes", _toxic("limit_data", answer=True, bytes_=3000)),
        Kind(_I, "never answers", _toxic("timeout", answer=True), 1),
        *(Kind(_I, f"answer: {n}", _answers(n)) for n in answers),
        Kind(_I, "kill -9 and restart", _killed_server),
        Kind(_I, f"pause of {pause:g} s", _paused(pause), 1),
        Kind(_I, "database deleted between plan and apply", _deleted, 1),
        Kind(_I, "database made by somebody else", _foreign),
        Kind(_I, "another server behind the address", _impostor),
        Kind(_I, "disk full", _full_server, 1),
        Kind(_P, "connection refused", _refused(pg=True)),
        Kind(_P, "all connections reset", _toxic("reset_peer", answer=True, pg=True)),
        Kind(_P, "silent connection", _toxic("timeout", answer=True, pg=True)),
        Kind(_P, "restart", _restart, 1),
        Kind(_P, "fail-over to a promoted standby", _fail_over, 1),
        Kind(_P, "connections ended", _ended),
        Kind(_P, "table locked", _locked(1.0)),
        Kind(_P, "table locked beyond the time limit", _locked(3.0), 1),
        Kind(
            _P,
            "idle timeouts",
            _settings(idle_session_timeout="300ms", idle_in_transaction_session_timeout="200ms"),
        ),
        Kind(_P, "connection limit", _limit),
        *(Kind(_P, f"PgBouncer, {m} mode", _bouncer(m), 1) for m in _MODES),
        Kind(_P, "disk full", _full_postgres, 1),
        Kind(_O, "kill -9 of a command at some moment", _killed_command, 8),
        Kind(_O, "kill -9 of what runs", _killed_any, 4),
        Kind(_O, "kill -9 of a worker", _killed_keeper("worker")),
        Kind(_O, "kill -9 of the service", _killed_keeper("serve"), 1),
        Kind(_O, "kill -9 of an application", _killed_keeper("application"), 1),
        Kind(_O, "a worker paused", _paused_keeper),
        Kind(_O, "ten runs at once", _ten, 1),
        Kind(_O, "clock that jumps", _clock),
        Kind(_O, "standard output closed", _output("-"), 1),
        Kind(_O, "standard output full", _output("/dev/full"), 1),
    ]


_MODES = ("session", "transaction", "statement")


def one_by_one(faults: list[Kind], r: Random) -> list[Kind]:
    """Return them in some order, each as often as it weighs."""
    deck = [kind for kind in faults for _ in range(kind.weight)]
    r.shuffle(deck)
    return deck
