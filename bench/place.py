"""Where cases measure: one PostgreSQL, InfluxDB 3 or stand-ins for it, and timed commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psycopg

from bench.values import Failure, Figure, LeftOut, reason
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_devserver.testing import running_stand_in
from tests.integration.servers import Influx, NotOurs
from tests.pg import TestDatabase, new_database

ROOT = Path(__file__).parents[1]
#: The real servers, with commas between them, and the token that all of them take.
URLS, TOKEN = "INFLUXOPS_BENCH_INFLUXDB_URL", "INFLUXOPS_BENCH_INFLUXDB_TOKEN"
#: Up to how many databases the limit of a real server is looked for.
LOOKED_FOR = 1_000
_TIMED = [sys.executable, "-ISs", str(ROOT / "bench/timed.py")]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    tenants: Sequence[int]
    devices: int
    #: Rows of a move, and of an export.
    rows: Sequence[int]
    #: Rows of a move of many small tables.
    small: int
    #: Tenants with telemetry, for `status`.
    status: Sequence[int]
    #: Tenants of service and console; of those in `tenants`.
    pages: Sequence[int]
    #: Tenants of the ledger, and of an application's registry.
    ledger: Sequence[int]
    #: Tenants of three targets, and of several workers.
    fleet: Sequence[int]
    #: How many workers there are.
    workers: Sequence[int]
    #: Tenants of servers that are slow to create.
    slow: Sequence[int]
    #: Rows that the trigger sees in one statement.
    trigger: int
    #: Rounds of what takes seconds, and of what takes minutes.
    rounds: int
    few: int


SIZES: Mapping[Literal["small", "full"], Sizes] = {
    "small": Sizes(
        tenants=(3,),
        devices=20_000,
        rows=(2_000,),
        small=3_000,
        status=(20,),
        pages=(3,),
        ledger=(200,),
        fleet=(6,),
        workers=(1,),
        slow=(6,),
        trigger=2_000,
        rounds=1,
        few=1,
    ),
    "full": Sizes(
        tenants=(20, 1_000, 10_000, 100_000),
        devices=5_000_000,
        rows=(200_000, 1_000_000),
        small=3_000,
        status=(1_000, 10_000),
        pages=(10_000, 100_000),
        ledger=(10_000, 100_000),
        fleet=(1_000,),
        workers=(1, 2, 4),
        slow=(100,),
        trigger=500_000,
        rounds=5,
        few=3,
    ),
}


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    seconds: float
    cpu: float | None = None
    memory: float | None = None
    #: What it printed.
    output: str = ""


class Unfit(Exception):
    """A case that cannot be measured here; the message says why."""


class ContenderFailed(Exception):
    """A contender did not do what it was asked; the message says what happened."""


@dataclass(frozen=True)
class Place:
    """What a case is given."""

    postgres: EmbeddedPostgres
    sizes: Sizes
    #: Another checkout's interpreter, whose `influxops` is put beside this one's; or empty.
    base: str = ""
    #: The limit of each real server, by its URL.
    rooms: Mapping[str, int] = field(default_factory=dict)
    say: Callable[[str, Any], None] = print

    def figure(
        self,
        table: str,
        contender: str,
        column: str,
        taken: Sequence[Taken | float],
        beside: str = "",
        unit: str = "s",
    ) -> None:
        """Tell what a contender took; nothing where it has failed."""
        if not taken:
            return
        all_ = [each if isinstance(each, Taken) else Taken(each) for each in taken]
        memory = [each.memory for each in all_ if each.memory is not None]
        cpu = [each.cpu for each in all_ if each.cpu is not None]
        seconds = [each.seconds for each in all_]
        told = Figure(table, contender, column, seconds, unit, beside)
        told = Figure(
            **{
                **asdict(told),
                "memory": max(memory, default=None),
                "cpu": sorted(cpu)[len(cpu) // 2] if cpu else None,
            }
        )
        self.say("figure", told)

    def left_out(self, table: str, contender: str, column: str, why: str) -> None:
        """Tell what is not measured."""
        self.say("left_out", LeftOut(table, contender, column, why))

    def in_turns(
        self,
        table: str,
        column: str,
        contenders: Mapping[str, Callable[[], Taken | float]],
        rounds: int | Mapping[str, int],
        beside: str = "",
    ) -> None:
        """Measure contenders in turns, so that a busy moment meets all; say which fail."""
        each_ = {name: rounds if isinstance(rounds, int) else rounds[name] for name in contenders}
        taken: dict[str, list[Taken | float]] = {name: [] for name in contenders}
        failed: dict[str, str] = {}
        for number in range(max(each_.values())):
            for name, measure in contenders.items():
                if name in failed or number >= each_[name]:
                    continue
                try:
                    taken[name].append(measure())
                except Unfit:
                    raise  # what is said of the whole case
                except Exception as error:
                    failed[name] = reason(error)
        for name, values in taken.items():
            if name in failed:
                self.say("failure", Failure(f"{table}, {column}", name, failed[name]))
            else:
                self.figure(table, name, column, values, beside if name != beside else "")

    @contextlib.contextmanager
    def database(self) -> Iterator[TestDatabase]:
        """Give an empty database."""
        with new_database(self.postgres) as db:
            yield db

    @contextlib.contextmanager
    def registry(self, tenants: int, devices: int = 0) -> Iterator[TestDatabase]:
        """Give a database whose registry has so many tenants, `t0` and on."""
        with self.database() as db, psycopg.connect(db.conninfo, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE device_registry (device_id bigserial PRIMARY KEY, tenant_id text)"
            )
            connection.execute(
                "INSERT INTO device_registry (tenant_id) "
                "SELECT 't' || n %% %s FROM generate_series(0, %s) AS n",
                [tenants, max(tenants, devices) - 1],
            )
            connection.execute("CREATE INDEX ON device_registry (tenant_id)")
            connection.execute("VACUUM ANALYZE device_registry")
            yield db

    @contextlib.contextmanager
    def servers(
        self, number: int = 1, databases: int = 1, first: int = 0
    ) -> Iterator[list[Influx]]:
        """Give empty servers that hold so many databases each; real ones where there are any.

        Args:
            number: How many.
            databases: How many databases each has to hold.
            first: Where in the list of real servers they begin.

        Raises:
            Unfit: Where there are too few of them, or they hold too few databases.
        """
        real = [Influx(url, os.environ.get(TOKEN, "")) for url in self.rooms]
        with contextlib.ExitStack() as stack:
            if not real:
                start = partial(running_stand_in, max_databases=None, max_tables=None)
                started = [stack.enter_context(start()) for _ in range(number)]
                yield [Influx(each.url, stand_in=each) for each in started]
                return
            if len(real) < first + number:
                raise Unfit(f"it needs {first + number} servers, and {URLS} names {len(real)}")
            given = real[first : first + number]
            for server in given:
                if (room := self.rooms[server.url]) < databases:
                    more = "; more was not looked for" if room >= LOOKED_FOR else ""
                    raise Unfit(f"the server holds {room:,} databases{more}")
                stack.callback(server.clean)
                server.clean()
            yield given


def find_room(server: Influx) -> int:
    """Return how many databases a real server holds, `LOOKED_FOR` at most.

    Raises:
        NotOurs: When it has databases already.
    """
    if names := server.databases():
        raise NotOurs(f"{server.url} holds {names[:5]}; the bench wants an empty server")
    made = 0
    try:
        while made < LOOKED_FOR:
            body = {"db": f"bench-{made}"}
            answer = server.request("POST", "/api/v3/configure/database", json=body)
            if answer.status == 422:
                break
            assert answer.status == 200, answer.data
            made += 1
    finally:
        server.clean()
    return made


def program(name: str = "influxops", python: str = sys.executable) -> str:
    """Give the path of a program of an interpreter's environment."""
    return str(Path(python).with_name(name))


def environment(**variables: str) -> dict[str, str]:
    """Give variables with nothing of the caller's but where programs are."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", TOKEN) if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", **variables}


def timed(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    folder: Path | None = None,
    limit: int = 600,
    codes: Sequence[int] = (0,),
) -> Taken:
    """Run a command in a folder of its own, and return what it took.

    Raises:
        ContenderFailed: Where it ends with another code, or not at all.
    """
    with contextlib.ExitStack() as stack:
        own = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        output = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
        path = shutil.which(command[0])
        if path is None:
            raise ContenderFailed(f"{command[0]} is not installed")
        done = subprocess.run(
            [*_TIMED, str(limit), path, *command[1:]],
            cwd=own,
            env={"HOME": str(own), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        output.seek(0)
        told = output.read()
        if found["code"] not in codes:
            tail = " / ".join(told.strip().splitlines()[-5:])
            raise ContenderFailed(f"{Path(path).name} ended with {found['code']}: {tail[-600:]}")
    return Taken(found["seconds"], found["cpu"], found["memory"], told)


def inside(work: Callable[[], object]) -> Taken:
    """Do what this process does itself, and return what it took."""
    began, own = time.perf_counter(), time.process_time()
    work()
    return Taken(time.perf_counter() - began, time.process_time() - own)


def config(*urls: str, ledger: bool = False, extra: str = "") -> str:
    """Write a configuration of a registry and targets."""
    text = '[sources.registry]\nkind = "postgres"\n' + extra
    if ledger:
        text += '[ledger]\nkind = "postgres"\n'
    for number, url in enumerate(urls, 1):
        token = f'token = {{env = "{TOKEN}"}}\n' if os.environ.get(TOKEN) else ""
        text += f'[targets.eu{number}]\nkind = "influxdb3"\nurl = "{url}"\n{token}'
    return text
