"""What `influxops demo --routing` shows: clients write while tenants are moved and retired."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from influxops_demo import nginx
from influxops_demo.environment import DEVICES, running_environment
from influxops_demo.fleet import Counts, RoutedFleet, WentWrong, until

#: Who is moved there and back, who is retired, and who is new.
MOVED, RETIRED, NEW = "harbor-cranes", "coldchain-24", "tidal-power"
DRAINED = "eu1"
#: How long a write waits at most; a second on a real server.
FLUSH = "100ms"


@dataclass
class Outcome:
    """How it ended."""

    counts: Counts
    dropped: int  # rows that were written to the retired tenant after that was decided
    strangers: list[str]  # databases that no tenant has

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, doubled or elsewhere."""
        return self.counts.is_good and not self.strangers


def run_routing() -> int:
    """Show all of it, with clients that send bare requests; return the exit code."""
    nginx.program()  # before anything is started
    click.echo(
        f"Four clients write to {len(DEVICES)} tenants through nginx, and know one address.\n"
        "influxops moves, retires and makes tenants in that time, and is killed twice.\n\n"
        "Starting a PostgreSQL, three stand-ins for InfluxDB 3 and nginx ...\n"
    )
    with running_environment(wal_flush_interval=FLUSH, max_databases=None) as demo:
        fleet = RoutedFleet(demo)
        fleet.prepare()
        with nginx.running_nginx(fleet.folder, fleet.log_lines) as url:
            fleet.connect(f"{url}/influxops-route-version", nginx.reload(fleet.folder))
            writer = [sys.executable, "-P", "-m", "influxops_demo.bare_writer"]
            names = [f"writer{number}" for number in range(1, 5)]
            clients = {name: [*writer, name, url, str(fleet.folder)] for name in names}
            ended = show(fleet, clients, click.echo)
    if not ended.is_good:
        click.secho("This should not have happened.", fg="red", err=True)
    click.echo("Everything is stopped and removed.")
    return 0 if ended.is_good else 1


def show(
    fleet: RoutedFleet,
    clients: Mapping[str, Sequence[str]],
    put: Callable[[str], object],
    at_end: Callable[[], object] = lambda: None,
    **options: Any,
) -> Outcome:
    """Run clients by their commands, and what happens to their tenants; put out what comes of it.

    The names of clients are those of the tag `writer` of their rows; `at_end` is called before they
    are ended.
    """
    with contextlib.ExitStack() as running:
        for name, command in clients.items():
            running.enter_context(fleet.client(name, command, **options))
        table = fleet.timeline.show(put)
        try:
            retired, dropped = _play(fleet, [*clients])
        finally:
            fleet.timeline.end()
            table.join()
        at_end()
    ended = Outcome(fleet.judge() + retired, dropped, fleet.strangers())
    counts = ended.counts
    put(
        f"\nrows acknowledged {counts.acknowledged:,}, found {counts.found:,}, doubled "
        f"{counts.doubled:,}, elsewhere {counts.elsewhere:,}\n({dropped:,} more were written to "
        f"{RETIRED} before it was dropped)\ndatabases that no tenant has: "
        f"{', '.join(ended.strangers) or 'none'}\nclients that had to be started again: none\n"
    )
    put(f"{'move':35}{'to cut-over':>13}{'after it':>11}{'bare copy':>20}")
    for tenant, source, target, before, after in fleet.moves():
        rows, bare = fleet.bare_copy(tenant)
        what = f"{tenant}: {source} to {target}"
        put(f"{what:35}{before:>11.1f} s{after:>9.1f} s{f'{rows:,} rows':>11}{bare:>7.1f} s")
    put("")
    return ended


def _play(fleet: RoutedFleet, writers: Sequence[str]) -> tuple[Counts, int]:
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
