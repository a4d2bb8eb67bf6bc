"""A whole move of a tenant, writers paused, beside a bare copy of the same rows."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.contenders import prepare
from bench.copying import DATABASE, fill, lines
from bench.place import ROOT, ContenderFailed, Place, Taken, config, environment, program, timed
from bench.values import column
from tests.integration.servers import Influx

ROWS, TABLES = "a move, rows", "a move of 18 small tables, rows"
BARE, OURS = "bare copy", "influxops move"
_TENANT = DATABASE.removeprefix("telemetry_")


def count(influx: Influx) -> int:
    """Count the rows that a server has in the tables of the tenant."""
    query = (
        "SELECT table_name FROM system.tables WHERE deleted = false "
        f"AND database_name = '{DATABASE}' AND table_name <> '_init'"
    )
    names = [row["table_name"] for row in influx.rows("_internal", query)]
    return sum(
        influx.rows(DATABASE, f'SELECT count(*) AS n FROM "{each}"')[0]["n"] for each in names
    )


def copy(place: Place, source: Influx, rows: int, groups: int) -> Taken:
    """Copy them, and nothing else."""
    with place.servers(first=1) as (target,):
        script = [sys.executable, str(ROOT / "bench/copying.py"), source.url, target.url]
        env = environment()
        found = timed([*script, str(groups)], env, limit=400)
        compare(target, rows)
        return found


def move(place: Place, source: Influx, rows: int) -> Taken:
    """Run `influxops move`, from its start to its exit."""
    with (
        place.servers(first=1) as (target,),
        place.database() as db,
        tempfile.TemporaryDirectory() as folder,
    ):
        db.registry(_TENANT)
        given = prepare(Path(folder), db, source, 0, 400)
        path = Path(folder, "influxops.toml")
        path.write_text(config(source.url, ledger=True))
        given.timed(program(), "ledger", "install")
        given.timed(program(), "adopt", f"{_TENANT}={DATABASE}")
        text = config(source.url, target.url, ledger=True)
        # A stand-in takes its time for the rows of a whole table.
        patient = text.replace('kind = "influxdb3"', 'kind = "influxdb3"\nread_timeout = 120')
        path.write_text(patient)
        found = given.timed(program(), "move", _TENANT, "--to", "eu2", "--writers-paused")
        compare(target, rows)
        return found


def compare(target: Influx, rows: int) -> None:
    """See that all rows are there."""
    if (there := count(target)) != rows:
        raise ContenderFailed(f"{there:,} rows of {rows:,} are there")


def measure(place: Place, rows: int, groups: int, table: str) -> None:
    """Measure both in turns, each with an empty server to go to."""
    with place.servers() as (source,):
        fill(source.url, lines(rows, groups))
        measures = {
            BARE: partial(copy, place, source, rows, groups),
            OURS: partial(move, place, source, rows),
        }
        many = place.sizes.few if rows <= 200_000 else 1
        place.in_turns(table, column(rows), measures, many, BARE)


def run(place: Place, rows: int) -> None:
    """Measure a move of three tables."""
    measure(place, rows, 1, ROWS)


def run_small(place: Place, rows: int) -> None:
    """Measure a move of 18 small tables."""
    measure(place, rows, 6, TABLES)
