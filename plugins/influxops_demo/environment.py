"""What the demonstration runs on: a registry, three stand-ins, a configuration."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Unpack

import psycopg
import urllib3

from influxops.plugin import InfluxopsError
from influxops_devserver.postgres import (
    EmbeddedPostgres,
    ended_with_this_process,
    start_postgres,
)
from influxops_devserver.testing import StandIn, StandInFailed, StandInOptions, start_stand_in

TARGETS = ("eu1", "eu2", "us1")
#: What InfluxDB 3 Core holds, and with that each stand-in by default.
PLACES = 5

#: What runs influxops.
INFLUXOPS = (sys.executable, "-P", "-c", "from influxops.cli.main import main; main()")
#: Variables of the user's own servers; the demonstration must never meet those.
_FOREIGN = ("PG", "INFLUXDB_", "INFLUXOPS_")


def run_command(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command to its end; return what it printed to standard output."""
    done = subprocess.run(
        [*INFLUXOPS, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        what = f"influxops {shlex.join(arguments)} ended with {done.returncode}"
        raise InfluxopsError(f"{what}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


#: Devices by tenant. The ids are made up; some are short, some are not, as in real registries.
DEVICES: Final[Mapping[str, int]] = {
    "acme": 1_240,
    "alpine-hydro": 310,
    "borealis-wind": 865,
    "brewline": 96,
    "coldchain-24": 1_012,
    "delta-irrigation": 540,
    "fjordtrack": 228,
    "greenhouse-nl": 417,
    "harbor-cranes": 73,
    "metro-lifts": 694,
    "smartmeter-south": 2_180,
    "vineyard-sensors": 151,
}

_TABLE = """
CREATE TABLE device_registry (
    device_id    text PRIMARY KEY,
    tenant_id    text NOT NULL,
    model        text NOT NULL,
    firmware     text NOT NULL,
    serial       bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
)
"""

_DEVICES = """
INSERT INTO device_registry (device_id, tenant_id, model, firmware, created_at, last_seen_at)
SELECT %(tenant)s || '-' || lpad(number::text, 5, '0'), %(tenant)s,
       (ARRAY['TH-200', 'PM-11', 'GW-4G', 'FLOW-3'])[1 + number %% 4],
       '2.' || number %% 7 || '.' || number %% 3,
       now() - number * interval '7 hours',
       CASE WHEN number %% 19 > 0 THEN now() - number %% 60 * interval '1 minute' END
FROM generate_series(1, %(devices)s) AS number
"""


@dataclass(frozen=True)
class DemoEnvironment:
    """All that runs for the demonstration."""

    folder: Path  # of the configuration and the journal
    postgres: EmbeddedPostgres  # the registry's server
    stand_ins: Mapping[str, StandIn]  # by target

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "influxops.toml"

    @property
    def journal(self) -> Path:
        """The file that each change is appended to."""
        return self.folder / "changes.jsonl"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that the demonstration's commands need."""
        return {**self.postgres.environment, "INFLUXOPS_CONFIG": str(self.config)}

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the demonstration's commands."""
        own = {name: v for name, v in os.environ.items() if not name.startswith(_FOREIGN)}
        return {**own, **self.variables}

    def changes(self) -> int:
        """Count the changes that the journal holds."""
        if not self.journal.exists():
            return 0
        return len(self.journal.read_text(encoding="utf-8").splitlines())

    def databases(self) -> dict[str, list[str]]:
        """Ask each stand-in itself for its databases, past influxops."""
        return {target: _databases(stand_in.url) for target, stand_in in self.stand_ins.items()}

    def write_telemetry(self) -> None:
        """Write a day of telemetry for each tenant that has a database."""
        now = datetime.now(UTC)

        def write(target: str, database: str) -> None:
            devices = DEVICES[database.removeprefix("telemetry_")] // 70 + 1
            lines = []
            for minutes in range(0, 24 * 60, 20):
                at = now - timedelta(minutes=minutes)
                busy = 1 + math.cos((at.hour + at.minute / 60 - 14) / 24 * 2 * math.pi)
                for device in range(1 + int(devices * busy / 2)):
                    value = 18 + 4 * busy + device % 3
                    nanoseconds = int(at.timestamp()) * 10**9 + device
                    lines.append(
                        f"telemetry,device_id=d-{device:05} temperature={value:.1f} {nanoseconds}"
                    )
            url = self.stand_ins[target].url
            answer = urllib3.request(
                "POST", f"{url}/api/v3/write_lp?db={database}", body="\n".join(lines), timeout=30
            )
            if answer.status >= 300:
                raise InfluxopsError(
                    f"the stand-in at {url} did not take telemetry: {answer.status}"
                )

        with ThreadPoolExecutor() as pool:
            for target, databases in self.databases().items():
                for _ in pool.map(write, [target] * len(databases), databases):
                    pass


@contextlib.contextmanager
def running_environment(**options: Unpack[StandInOptions]) -> Iterator[DemoEnvironment]:
    """Start everything at once; end and remove it all when the block is left, however it is."""
    folder = Path(tempfile.mkdtemp(prefix="influxops-demo-"))
    with ThreadPoolExecutor(1 + len(TARGETS)) as pool:
        registry = pool.submit(_start_registry)
        stand_ins = {
            name: pool.submit(start_stand_in, outlives=False, **options) for name in TARGETS
        }
        try:
            try:
                demo = DemoEnvironment(
                    folder,
                    registry.result(),
                    {name: start.result() for name, start in stand_ins.items()},
                )
            except StandInFailed as error:
                raise InfluxopsError(str(error)) from None
            demo.config.write_text(_configuration(demo), encoding="utf-8")
            with ended_with_this_process(demo.postgres):
                yield demo
        finally:
            with _unhurried():
                # What is still starting has to be up before it can be ended.
                started = [start.result() for start in stand_ins.values() if not start.exception()]
                for stand_in in started:
                    stand_in.process.terminate()
                for stand_in in started:
                    stand_in.stop()
                if not registry.exception():
                    registry.result().stop()
                shutil.rmtree(folder, ignore_errors=True)


def _start_registry() -> EmbeddedPostgres:
    postgres = start_postgres()
    try:
        _fill(postgres.conninfo())
    except BaseException:
        postgres.stop()
        raise
    return postgres


def _fill(conninfo: str) -> None:
    """Create the table `device_registry`, owned by the user of the connection, with all devices."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(_TABLE)
        connection.cursor().executemany(
            _DEVICES,
            [{"tenant": tenant, "devices": devices} for tenant, devices in DEVICES.items()],
        )
        connection.execute("CREATE INDEX ON device_registry (tenant_id)")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ANALYZE device_registry")


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """Keep a second Ctrl-C from leaving servers behind; ending them takes a second or two."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _configuration(demo: DemoEnvironment) -> str:
    targets = "".join(
        f'[targets.{name}]\nkind = "influxdb3"\nurl = "{stand_in.url}"\n\n'
        for name, stand_in in demo.stand_ins.items()
    )
    return (
        '[sources.registry]\nkind = "postgres"\n\n'
        f'{targets}[reporters.changes]\nkind = "journal"\n'
        f"path = {json.dumps(str(demo.journal))}\n"
    )


def _databases(url: str) -> list[str]:
    try:
        answer = urllib3.request(
            "GET", f"{url}/api/v3/configure/database?format=json", timeout=10, retries=False
        )
        rows = answer.json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise InfluxopsError(
            f"the stand-in at {url} does not list its databases: {error}"
        ) from None
    names = [row["iox::database"] for row in rows]
    return sorted(name for name in names if name != "_internal")
