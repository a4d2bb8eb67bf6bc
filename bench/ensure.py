"""One batch or one write a tenant: what ensuring tenants costs, both ways in one run.

    python bench/ensure.py [--tenants 20] [--only-batch] [--wal-flush-interval 1s]

Each way gets a fresh stand-in, so that only their ratio matters and not the machine. The naive way
writes each tenant's marker the ordinary way, which waits for the write-ahead log. Both ways are
run twice: the second time nothing is missing. Exits with 1 if a marker is not there afterwards,
or if the batch is not the faster one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from influxops import Action, Change, Database, Run, Status
from influxops_demo.testing import running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.client import Client
from influxops_influxdb3.lineprotocol import marker
from influxops_influxdb3.settings import InfluxDB3Settings


class Requests(logging.Handler):
    """Counts the requests that urllib3 logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0
        logger = logging.getLogger("urllib3.connectionpool")
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.count += ' HTTP/1.1" ' in record.getMessage()


@dataclass(frozen=True)
class Cost:
    seconds: float
    requests: int


def measure(work: Callable[[], None], requests: Requests) -> Cost:
    before, begin = requests.count, time.perf_counter()
    work()
    return Cost(time.perf_counter() - begin, requests.count - before)


def by_batch(settings: InfluxDB3Settings, tenants: list[str]) -> None:
    """Read, make what is missing in one batch, read again: as the engine does."""
    target, run = InfluxDB3Target("bench", settings), Run()
    held = target.influxops_inventory(run).databases
    missing = [name for name in tenants if f"telemetry_{name}" not in held]
    changes = [
        Change(
            Action.CREATE,
            name,
            "bench",
            f"telemetry_{name}",
            after=Database(f"telemetry_{name}", None, marker=True),
        )
        for name in missing
    ]
    if changes:
        outcomes = list(target.influxops_ensure(changes, run))
        if {outcome.status for outcome in outcomes} != {Status.DONE}:
            sys.exit("the batch was not done")
        target.influxops_inventory(run)
    target.influxops_close()


def one_by_one(settings: InfluxDB3Settings, tenants: list[str]) -> None:
    """Write each marker the ordinary way, at every run."""
    client, run = Client(settings), Run()
    for name in tenants:
        client.write(run, f"telemetry_{name}", marker(name, run.started))
    client.close()


def marked(settings: InfluxDB3Settings) -> int:
    target = InfluxDB3Target("bench", settings)
    held = target.influxops_inventory(Run()).databases
    target.influxops_close()
    return sum(database.marker is True for database in held.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--only-batch", action="store_true", help="leave the naive way out")
    parser.add_argument("--wal-flush-interval", default="1s")
    arguments = parser.parse_args()
    tenants = [f"tenant{number}" for number in range(arguments.tenants)]
    ways = {"batch": by_batch} | ({} if arguments.only_batch else {"one by one": one_by_one})
    requests, costs = Requests(), {}
    for way, work in ways.items():
        with running_stand_in(
            max_databases=None,
            max_tables=None,
            wal_flush_interval=arguments.wal_flush_interval,
        ) as stand_in:
            settings = InfluxDB3Settings(url=stand_in.url)
            for when in ("all missing", "none missing"):
                cost = measure(partial(work, settings, tenants), requests)
                costs[way, when] = cost
                print(f"{way:<11} {when:<13} {cost.seconds:8.3f} s  {cost.requests:6} requests")
            if marked(settings) != len(tenants):
                print(f"{way}: not every tenant has its marker", file=sys.stderr)
                return 1
    if arguments.only_batch:
        return 0
    slower = False
    for when in ("all missing", "none missing"):
        batch, naive = costs["batch", when], costs["one by one", when]
        ratio = naive.seconds / batch.seconds
        slower = slower or ratio < 1
        print(f"{when}: one by one takes {ratio:.1f} times as long as the batch")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
