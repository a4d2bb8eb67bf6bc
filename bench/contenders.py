"""The contenders that give tenants their databases: each is asked for all of a registry's."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg

from bench.place import ROOT, ContenderFailed, Taken, config, environment, inside, program, timed
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase, new_database

#: What a shell script does: a process for each tenant, as `influxdb3 create database` is one.
_LOOP = """
while read -r tenant; do
  code=$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $INFLUXDB_TOKEN" \
    --json "{\\"db\\": \\"telemetry_$tenant\\"}" "$INFLUXDB_URL/api/v3/configure/database")
  case $code in 200|409) ;; *) echo "$tenant: $code" >&2; exit 1;; esac
done < tenants.txt
"""


@dataclass(frozen=True)
class Setting:
    """What a contender is asked to work on."""

    #: A folder of its own; `influxops.toml` and `tenants.txt` are there.
    folder: Path
    db: TestDatabase
    influx: Influx
    tenants: int
    limit: int
    base: str = ""
    #: What names registry and server to all of them, where it is not the usual variables.
    variables: Mapping[str, str] | None = None

    @property
    def env(self) -> dict[str, str]:
        if self.variables is not None:
            return environment(**self.variables)
        return environment(
            **self.db.environment, INFLUXDB_URL=self.influx.url, INFLUXDB_TOKEN=self.influx.token
        )

    def timed(self, *command: str) -> Taken:
        return timed(command, self.env, folder=self.folder, limit=self.limit)


def bare(setting: Setting, what: str = "make") -> Taken:
    """Send the requests of a run, and nothing else."""
    return setting.timed(sys.executable, str(ROOT / "bench/bare.py"), what)


def in_turn(setting: Setting) -> Taken:
    """Write each marker in the ordinary way, which waits for the server's flush."""
    return bare(setting, "turn")


def processes(setting: Setting) -> Taken:
    """Start a process for each tenant."""
    script = setting.folder / "loop.sh"
    script.write_text(_LOOP)
    return setting.timed("sh", str(script))


def play(setting: Setting, task: dict[str, object]) -> Taken:
    """Run a play of one task, as from this checkout."""
    book = setting.folder / "play.yml"
    whole = [{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]
    book.write_text(json.dumps(whole), encoding="utf-8")
    env = {
        **setting.env,
        "ANSIBLE_LIBRARY": str(ROOT / "ansible/library"),
        "ANSIBLE_MODULE_UTILS": str(ROOT / "ansible/module_utils"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [program("ansible-playbook"), str(book)]
    return timed(command, env, folder=setting.folder, limit=setting.limit)


def uri_loop(setting: Setting) -> Taken:
    """Loop over `ansible.builtin.uri`."""
    task: dict[str, object] = {
        "ansible.builtin.uri": {
            "url": f"{setting.influx.url}/api/v3/configure/database",
            "method": "POST",
            "body_format": "json",
            "body": {"db": "telemetry_{{ item }}"},
            "headers": {"Authorization": "Bearer {{ lookup('env', 'INFLUXDB_TOKEN') }}"},
            "status_code": [200, 409],
        },
        "loop": "{{ lookup('file', 'tenants.txt').splitlines() }}",
    }
    return play(setting, task)


def module(setting: Setting) -> Taken:
    """Run a play of one task with our module."""
    return play(setting, {"influx_tenant_db": {"config": str(setting.folder / "influxops.toml")}})


def cli(setting: Setting, *arguments: str) -> Taken:
    """Run `influxops ensure`."""
    return setting.timed(program(), *(arguments or ("ensure",)))


def base(setting: Setting, *arguments: str) -> Taken:
    """Run the other checkout's `influxops ensure`."""
    return setting.timed(program(python=setting.base), *(arguments or ("ensure",)))


def provisioner(setting: Setting) -> Taken:
    """Call `Provisioner.ensure_many` once in a program of its own, start and end included."""
    return setting.timed(sys.executable, str(ROOT / "bench/embedded.py"), "tenants.txt")


@contextlib.contextmanager
def working(
    setting: Setting, *urls: str, extra: str = "", workers: int = 1
) -> Iterator[psycopg.Connection]:
    """Run workers over an empty registry with a trigger, and give a connection to that."""
    from tests.queue.workers import working as running

    with new_database(setting.db.server) as db:
        db.registry()
        db.execute("CREATE INDEX ON device_registry (tenant_id)")
        cli = Cli(setting.folder, {**setting.env, **db.environment}, forks=False)
        text = config(*(urls or (setting.influx.url,)), ledger=True, extra=extra)
        cli.config(text, "worker.toml")
        cli = replace(cli, variables={**cli.variables, "INFLUXOPS_CONFIG": "worker.toml"})
        for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
            done = cli(*command)
            if done.code:
                raise ContenderFailed(done.all)
        with contextlib.ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(running(cli))
            yield stack.enter_context(psycopg.connect(db.conninfo, autocommit=True))


def insert(connection: psycopg.Connection, tenants: int, limit: float) -> None:
    """Insert tenants in one statement, and wait until the ledger says that all are ready."""
    connection.execute(
        "INSERT INTO device_registry (tenant_id) SELECT 't' || n FROM generate_series(0, %s) n",
        [tenants - 1],
    )
    wait(connection, tenants, limit)


def wait(connection: psycopg.Connection, tenants: int, limit: float) -> None:
    """Wait until so many tenants are ready, by the ledger."""
    query = "SELECT count(*) FROM influxops.tenants WHERE state = 'ready'"
    end = time.monotonic() + limit
    while connection.execute(query).fetchone() != (tenants,):
        if time.monotonic() > end:
            raise ContenderFailed(f"not all databases are there after {limit:.0f} s")
        time.sleep(0.005 if tenants < 100 else 0.1)


def worker(setting: Setting) -> Taken:
    """Insert all tenants in one statement, and wait until a worker has made their databases."""
    with working(setting) as connection:
        return inside(partial(insert, connection, setting.tenants, setting.limit))


@dataclass(frozen=True)
class Contender:
    """One way to give all tenants of a registry their databases."""

    name: str
    work: Callable[[Setting], Taken]
    #: How many tenants it is tried with, and what keeps it from more.
    most: int = 100_000
    why: str = ""
    #: Whether it writes the marker, too.
    marks: bool = True
    #: How often it is tried at most; one that is slow even where nothing is missing: once.
    rounds: int = 5
    slow: bool = False

    def left_out(self, tenants: int) -> str:
        """Say why it is not tried with so many tenants; nothing where it is."""
        if self.work is processes and shutil.which("curl") is None:
            return "curl is not installed"
        return self.why if tenants > self.most else ""


CONTENDERS = (
    Contender("bare script", bare),
    Contender("influxops ensure", cli),
    Contender("Ansible module", module, 10_000, "it is ensure, and a minute more", rounds=3),
    Contender("Provisioner", provisioner, 10_000, "it would take minutes", rounds=3),
    Contender("worker", worker, 10_000, "it would take minutes", rounds=3),
    Contender("a process a tenant", processes, 1_000, "it would take minutes", False, 1, True),
    Contender("Ansible uri loop", uri_loop, 20, "a third of a second a tenant", False, 1, True),
    Contender("ordinary writes", in_turn, 20, "a second a tenant", rounds=1, slow=True),
)


def prepare(
    folder: Path, db: TestDatabase, influx: Influx, tenants: int, limit: int, base: str = ""
) -> Setting:
    """Write what contenders find in their folder."""
    (folder / "influxops.toml").write_text(config(influx.url))
    (folder / "tenants.txt").write_text("".join(f"t{n}\n" for n in range(tenants)))
    return Setting(folder, db, influx, tenants, limit, base)


def check(influx: Influx, tenants: int, *, marks: bool) -> None:
    """See that a server has the databases of all tenants, and their markers.

    Raises:
        ContenderFailed: Where it has not.
    """
    queries = {
        "databases": "SELECT count(*) AS n FROM system.databases "
        "WHERE deleted = false AND database_name LIKE 'telemetry_t%'",
        "markers": "SELECT count(*) AS n FROM system.tables "
        "WHERE deleted = false AND table_name = '_init' AND database_name LIKE 'telemetry_t%'",
    }
    for what, query in queries.items():
        if what == "databases" or marks:
            (row,) = influx.rows("_internal", query)
            if row["n"] != tenants:
                raise ContenderFailed(f"it made {row['n']:,} {what} of {tenants:,}")
