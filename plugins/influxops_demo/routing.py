"""Tenants that are moved, retired and made while clients write to all of them through a proxy.

`play` drives it, for `influxops demo --routing` and for the tests; `RoutedFleet.judge` counts where
the rows are whose writing was acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import psycopg
import urllib3
from psycopg.rows import class_row

from influxops.plugin import InfluxopsError
from influxops_demo import nginx
from influxops_demo.environment import DEVICES, INFLUXOPS, DemoEnvironment, running_environment
from influxops_demo.timeline import Timeline

#: Who is moved there and back, who is retired, and who is new.
MOVED, RETIRED, NEW = "harbor-cranes", "coldchain-24", "tidal-power"
DRAINED = "eu1"
#: How long a write waits at most; a second on a real server.
FLUSH = "100ms"
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
#: Seconds for what takes a second on a machine that does nothing else.
_PATIENCE = 120.0
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
            [*command], stdin=subprocess.DEVNULL, cwd=self.folder, **options
        ) as process:
            try:
                yield
                if process.poll() is not None:
                    raise WentWrong(f"the client {name} ended by itself, with {process.poll()}")
            finally:
                process.terminate()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()

    # influxops -------------------------------------------------------------------------------

    def run(self, *arguments: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            [*INFLUXOPS, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 130:
            raise KeyboardInterrupt
        if done.returncode:
            what = f"influxops {shlex.join(arguments)} ended with {done.returncode}"
            raise WentWrong(f"{what}: {done.stderr}{done.stdout}")
        return done.stdout + done.stderr

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

    @staticmethod
    def _names(tenants: Iterable[str]) -> list[str]:
        return [f"telemetry_{tenant}" for tenant in tenants]


def play(fleet: RoutedFleet, writers: Sequence[str]) -> tuple[Counts, int]:
    """Move, retire and make tenants while these clients write, until all of that is done.

    It returns where the rows of the tenant that was retired were when that was decided, and how
    many of its rows were acknowledged after that, and dropped with it.
    """
    until(lambda: _all_write(fleet, [*DEVICES], writers), "all clients write to all tenants")

    def second_begins() -> bool:
        records = fleet.records().values()
        left = [each for each in records if DRAINED in (each.target, each.secondary_target)]
        return [each.target == DRAINED for each in left].count(False) >= 1 and any(
            each.state == "moving" and each.target == DRAINED for each in left
        )

    fleet.kill("drain", DRAINED, when=second_begins)

    there = fleet.records()[MOVED].target
    to = next(name for name in fleet.demo.stand_ins if name not in (DRAINED, there))
    fleet.kill("move", MOVED, "--to", to, when=lambda: fleet.records()[MOVED].target == to)
    fleet.timeline.note(f"influxops move {MOVED} --back")
    fleet.run("move", MOVED, "--back")

    fleet.execute("DELETE FROM device_registry WHERE tenant_id = %s", RETIRED)
    fleet.timeline.note(f"influxops retire {RETIRED}")
    fleet.run("retire", RETIRED, "--after", "1s", "--allow", "recent-telemetry")
    retired = fleet.judge([RETIRED])
    fleet.timeline.note("influxops retire --due")

    def dropped() -> bool:
        fleet.run("retire", "--due", "--allow", "recent-telemetry")
        return RETIRED not in fleet.records()

    until(dropped, f"{RETIRED} is dropped")
    told = len(fleet.acknowledged()[f"telemetry_{RETIRED}"])

    with fleet.databases.open("a") as file:
        file.write(f"\ntelemetry_{NEW}")
    fleet.execute("INSERT INTO device_registry VALUES ('t-1', %s, 'GW', '1')", NEW)
    fleet.timeline.note(f"influxops ensure {NEW}")
    fleet.run("ensure", NEW)
    until(lambda: _all_write(fleet, [NEW], writers), f"all clients write to {NEW}")
    if len(fleet.acknowledged()[f"telemetry_{RETIRED}"]) != told:
        raise WentWrong(f"a client could still write to {RETIRED} after it was dropped")
    return retired, told - retired.acknowledged


def _all_write(fleet: RoutedFleet, tenants: Sequence[str], writers: Sequence[str]) -> bool:
    acknowledged = fleet.acknowledged()
    return all(
        {name for name, _ in acknowledged.get(f"telemetry_{tenant}", ())} >= set(writers)
        for tenant in tenants
    )


def until(happened: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + _PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise WentWrong(f"waited for {_PATIENCE:g} s until {what}")
        time.sleep(0.1)


def run_routing() -> int:
    """Show all of it, with clients that send bare requests; return the exit code."""
    nginx.program()  # before anything is started
    clients = [f"writer{number}" for number in range(1, 5)]
    click.echo(
        f"Four clients write to {len(DEVICES)} tenants through nginx, and know one address; "
        "influxops moves,\nretires and makes tenants in that time, and is killed twice.\n\n"
        "Starting a PostgreSQL, three stand-ins for InfluxDB 3 and nginx ..."
    )
    with running_environment(wal_flush_interval=FLUSH, max_databases=None) as demo:
        fleet = RoutedFleet(demo)
        fleet.prepare()
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(nginx.running_nginx(fleet.folder, fleet.log_lines))
            fleet.connect(f"{url}/influxops-route-version", nginx.reload(fleet.folder))
            for name in clients:
                command = [sys.executable, "-P", "-m", "influxops_demo.bare_writer", name]
                stack.enter_context(fleet.client(name, [*command, url, str(fleet.folder)]))
            click.echo()
            table = fleet.timeline.show(click.echo)
            try:
                retired, dropped = play(fleet, clients)
            finally:
                fleet.timeline.end()
                table.join()
        counts, strangers = fleet.judge() + retired, fleet.strangers()
    click.echo(
        f"\n{counts.acknowledged:,} rows acknowledged, {counts.found:,} of them found, "
        f"{counts.doubled:,} doubled, {counts.elsewhere:,} elsewhere;\n{dropped:,} more were "
        f"written to {RETIRED} until it was dropped.\nDatabases that no tenant has: "
        f"{', '.join(strangers) or 'none'}. Clients that had to be started again: none."
    )
    is_good = counts.is_good and not strangers
    if not is_good:
        click.secho("This should not have happened.", fg="red", err=True)
    click.echo("Everything is stopped and removed.")
    return 0 if is_good else 1
