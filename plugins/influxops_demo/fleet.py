"""The demonstration's servers behind a proxy, with clients that write to all tenants."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import urllib3
from psycopg.rows import class_row

from influxops.plugin import InfluxopsError
from influxops_demo.environment import DEVICES, INFLUXOPS, DemoEnvironment, run_command
from influxops_demo.timeline import Timeline

_SETTINGS = """
[placement]
policy = "spread"

[ledger]
kind = "postgres"
"""
_REPORTER = """
[routing]
probes = [{probe}]

[reporters.proxy]
kind = "routes"
format = "nginx"
path = {path}
on_change = {reload}
"""
_MOVES = (
    "SELECT extract(epoch FROM at)::float8, event, tenant, before, after FROM influxops.history "
    "WHERE event IN ('moving', 'moved', 'retiring') AND outcome = 'done' ORDER BY id"
)
#: The tables of a tenant: their tag, their field, and what its type is known by.
_TABLES = (("telemetry", "device_id", "temperature", ""), ("live", "writer", "n", "i"))
#: Seconds for what takes a second on a machine that does nothing else.
PATIENCE = 120.0
_RECORDS = (
    "SELECT tenant, database, state, target, secondary_target FROM influxops.tenants "
    "WHERE state NOT IN ('pending', 'retired')"
)


class WentWrong(InfluxopsError):
    """What should not have happened; the message says what."""


@dataclass
class Place:
    """What the ledger has of a tenant."""

    tenant: str
    database: str
    state: str
    target: str
    secondary_target: str | None


@dataclass
class Counts:
    """Where the rows are whose writing was acknowledged."""

    acknowledged: int = 0
    found: int = 0  # on the server of their tenant
    doubled: int = 0  # of those, more than once
    elsewhere: int = 0  # on another server alone
    lost: list[str] = field(default_factory=list)  # nowhere

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.acknowledged + other.acknowledged,
            self.found + other.found,
            self.doubled + other.doubled,
            self.elsewhere + other.elsewhere,
            [*self.lost, *other.lost],
        )

    @property
    def is_good(self) -> bool:
        """Whether each is where it should be, and once."""
        return self.acknowledged == self.found and not self.doubled


class RoutedFleet:
    """The demonstration's servers with a ledger, a proxy before them, and clients that write.

    Args:
        demo: The servers.
        variables: What influxops needs in its environment beside theirs.
    """

    def __init__(self, demo: DemoEnvironment, variables: Mapping[str, str] | None = None) -> None:
        self.demo, self.environment = demo, {**demo.environment, **(variables or {})}
        self.folder = demo.folder
        self.routes = self.folder / "influxops-routes.conf"
        self.databases = self.folder / "databases"  # those that clients write to
        self.timeline = Timeline(self.folder / "seen.log", demo)
        self.killed: list[str] = []  # the commands that were, and when

    # What it is made of ----------------------------------------------------------------------

    def prepare(self) -> None:
        """Make ledger, databases and the first file of routes."""
        config = self.demo.config
        config.write_text(config.read_text(encoding="utf-8") + _SETTINGS, encoding="utf-8")
        self.run("ledger", "install")
        self.run("ensure")
        self.run("routes", "--format", "nginx", "--output", str(self.routes))
        self.databases.write_text("\n".join(sorted(self._names(DEVICES))))
        self.demo.write_telemetry()

    def connect(self, probe: str, reload: Sequence[str]) -> None:
        """Have influxops write the proxy's routes from now on, and ask it for their version."""
        lines = _REPORTER.format(
            probe=json.dumps(probe), path=json.dumps(str(self.routes)), reload=json.dumps(reload)
        )
        with self.demo.config.open("a", encoding="utf-8") as config:
            config.write(lines)

    @property
    def log_lines(self) -> str:
        """The lines of nginx's configuration that make it say what went where."""
        return self.timeline.log_lines

    @contextlib.contextmanager
    def client(self, name: str, command: Sequence[str], **options: Any) -> Iterator[None]:
        """Run a client that must not end by itself."""
        with subprocess.Popen(
            [*command],
            stdin=subprocess.PIPE,
            cwd=self.folder,
            start_new_session=True,
            **options,
        ) as process:
            try:
                yield
                if process.poll() is not None:
                    raise WentWrong(f"the client {name} ended by itself, with {process.poll()}")
            finally:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()

    # influxops -------------------------------------------------------------------------------

    def run(self, *arguments: str) -> str:
        """Run a command to its end; return what it printed."""
        return run_command(self.environment, *arguments)

    def kill(self, *arguments: str, when: Callable[[], object]) -> None:
        """Start a command, kill it as soon as something is so, and run it again to its end."""
        command = f"influxops {shlex.join(arguments)}"
        self.timeline.note(command)
        with subprocess.Popen(
            [*INFLUXOPS, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                while process.poll() is None and not when():
                    time.sleep(0.005)
                if process.poll() is not None:
                    raise WentWrong(f"{command} ended with {process.poll()} before it was killed")
            finally:
                process.kill()
        self.killed.append(command)
        self.timeline.note("SIGKILL; the same again")
        self.run(*arguments)

    def records(self) -> dict[str, Place]:
        """Return what the ledger has of each tenant that has a database."""
        with psycopg.connect(self.demo.postgres.conninfo(), row_factory=class_row(Place)) as db:
            return {row.tenant: row for row in db.execute(_RECORDS)}

    def execute(self, statement: str, *values: object) -> None:
        """Change the registry."""
        with psycopg.connect(self.demo.postgres.conninfo()) as connection:
            connection.execute(statement.encode(), values)

    # What it must hold -----------------------------------------------------------------------

    def acknowledged(self) -> dict[str, set[tuple[str, int]]]:
        """Return the rows whose writing was acknowledged, by database."""
        found = self.timeline.acknowledged()
        for file in self.folder.glob("*.acked"):
            for line in file.read_text().splitlines():
                database, number = line.split()
                found.setdefault(database, set()).add((file.stem, int(number)))
        return found

    def judge(self, tenants: Sequence[str] | None = None) -> Counts:
        """Count what is where, of some tenants; what is on its way is waited for."""
        end, records, acknowledged = time.monotonic() + 5, self.records(), self.acknowledged()
        while True:
            counts = Counts()
            for tenant in tenants or records:
                record = records[tenant]
                counts += self._judge(record, acknowledged.get(record.database, set()))
            if counts.is_good or time.monotonic() > end:
                return counts
            time.sleep(0.5)

    def _judge(self, record: Place, acknowledged: set[tuple[str, int]]) -> Counts:
        there = self._rows(record.target, record.database)
        missing = acknowledged - there.keys()
        elsewhere: set[tuple[str, int]] = set()
        for target in self.demo.stand_ins if missing else ():
            elsewhere |= missing & self._rows(target, record.database).keys()
        return Counts(
            len(acknowledged),
            len(acknowledged & there.keys()),
            sum(number > 1 for number in there.values()),
            len(elsewhere),
            [f"{record.database}: {row}" for row in sorted(missing - elsewhere)],
        )

    def _rows(self, target: str, database: str) -> Counter[tuple[str, int]]:
        answer = urllib3.request(
            "GET",
            f"{self.demo.stand_ins[target].url}/api/v3/query_sql",
            fields={"db": database, "q": "SELECT writer, n FROM live", "format": "json"},
            timeout=60,
        )
        if answer.status != 200:  # no such database, or no row yet
            return Counter()
        return Counter((row["writer"], row["n"]) for row in answer.json())

    def strangers(self) -> list[str]:
        """Return the databases that no tenant has, and that are no old copy of one."""
        records = self.records().values()
        own = {
            (target, each.database)
            for each in records
            for target in (each.target, each.secondary_target)
        }
        return [
            f"{name} on {target}"
            for target, names in self.demo.databases().items()
            for name in names
            if (target, name) not in own
        ]

    # How long it took ------------------------------------------------------------------------

    def moves(self) -> list[tuple[str, str, str, float, float]]:
        """Return tenant, source, target of each move, and its seconds to the cut-over and after."""
        found: list[tuple[str, str, str, float, float]] = []
        began: dict[str, float] = {}
        with psycopg.connect(self.demo.postgres.conninfo()) as connection:
            rows = connection.execute(_MOVES).fetchall()
        cut: dict[str, tuple[float, str, str]] = {}
        for at, event, tenant, before, after in rows:
            if event == "moving":
                began.setdefault(tenant, at)
            elif event == "moved":
                cut[tenant] = at, before, after
            elif tenant in cut:
                cut_at, source, target = cut.pop(tenant)
                found.append((tenant, source, target, cut_at - began.pop(tenant), at - cut_at))
        return found

    def bare_copy(self, tenant: str) -> tuple[int, float]:
        """Read a tenant's rows once, and write them once; return their number, and the seconds."""
        place = self.records()[tenant]
        source = self.demo.stand_ins[place.target].url
        target = next(each.url for each in self.demo.stand_ins.values() if each.url != source)
        began, number = time.monotonic(), 0
        for table, tag, value, suffix in _TABLES:
            query = f"SELECT {tag}, {value}, CAST(time AS BIGINT) AS at FROM {table}"  # of our own  # noqa: S608
            fields = {"db": place.database, "q": query, "format": "json"}
            rows = urllib3.request("GET", f"{source}/api/v3/query_sql", fields=fields).json()
            body = "\n".join(
                f"{table},{tag}={row[tag]} {value}={row[value]}{suffix} {row['at']}" for row in rows
            )
            url = f"{target}/api/v3/write_lp?db=bare_copy&precision=nanosecond"
            if urllib3.request("POST", url, body=body, timeout=60).status != 204:
                raise WentWrong(f"a bare copy of {tenant} was not taken")
            number += len(rows)
        seconds = time.monotonic() - began
        fields = {"db": "bare_copy", "hard_delete_at": "now"}
        urllib3.request("DELETE", f"{target}/api/v3/configure/database", fields=fields)
        return number, seconds

    @staticmethod
    def _names(tenants: Iterable[str]) -> list[str]:
        return [f"telemetry_{tenant}" for tenant in tenants]


def until(happened: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise WentWrong(f"waited for {PATIENCE:g} s until {what}")
        time.sleep(0.1)
