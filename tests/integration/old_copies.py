"""Moved tenants whose old copies are due, and what still writes to these."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.integration.command import Cli, Result
from tests.integration.proxy import Answer, Proxy, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: Seconds after which something is called stuck; none of these tests takes a tenth of it.
PATIENCE = 120


class Writer(threading.Thread):
    """A client that writes about 100 rows a second to a place that its tenant has left.

    Args:
        server: Where to.
        tenant: The tenant, whose database is meant.
    """

    def __init__(self, server: Influx, tenant: str) -> None:
        super().__init__(daemon=True)
        self.server, self.database = server, f"telemetry_{tenant}"
        self.over = threading.Event()
        #: When each row was answered.
        self.answered: dict[int, float] = {}
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        number = 0
        try:
            while not self.over.is_set():
                began = time.monotonic()
                rows = range(number, number + 5)
                lines = (f"m,device=d{n % 3} n={n}i {time.time_ns() + n}" for n in rows)
                self.server.write(self.database, "\n".join(lines))
                number = rows.stop
                self.answered |= dict.fromkeys(rows, time.monotonic())
                self.over.wait(max(0.05 - (time.monotonic() - began), 0))
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        self.over.set()
        self.join()
        assert self.error is None, self.error

    def __enter__(self) -> Writer:
        until(lambda: len(self.answered) > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Stage:
    """Tenants on eu2 whose old copies on eu1 are due; influxops reaches eu1 through a proxy."""

    cli: Cli
    db: TestDatabase
    eu1: Influx
    eu2: Influx
    proxy: Proxy
    #: When the drop of each database began, and when it was answered.
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def drops(self, seen: Seen) -> str:
        """Tell which database a request drops; empty where it drops none."""
        return parse_qs(urlsplit(seen.path).query)["db"][0] if seen.method == "DELETE" else ""

    def see(self, seen: Seen) -> Answer:
        if database := self.drops(seen):
            self.began.setdefault(database, time.monotonic())
        return None

    def see_answer(self, seen: Seen) -> None:
        if database := self.drops(seen):
            self.ended.setdefault(database, time.monotonic())

    def due(self, *options: str) -> Result:
        return self.cli("retire", "--due", *options)

    def old_copies(self, *tenants: str) -> None:
        """Let these tenants have an old copy that is due, with one row that both places have."""
        for tenant in tenants:
            for server in (self.eu1, self.eu2):
                server.write(
                    f"telemetry_{tenant}", "telemetry,device=d0 temp=1 1700000000000000000"
                )
        with psycopg.connect(self.db.conninfo) as connection:
            connection.execute(
                "UPDATE influxops.tenants t SET secondary_target = 'eu1', secondary_identity = "
                "s.identity, "
                "drop_after = now() FROM influxops.servers s WHERE s.target = 'eu1' "
                "AND t.tenant = ANY (%s)",
                [[*tenants]],
            )

    def left(self, *tenants: str) -> list[str]:
        """Tell whose old copies the ledger still has; each is there just as long."""
        with psycopg.connect(self.db.conninfo) as connection:
            found = connection.execute(
                "SELECT tenant FROM influxops.tenants WHERE secondary_target = 'eu1' AND tenant "
                "= ANY (%s)",
                [[*tenants]],
            ).fetchall()
        return sorted(tenant for (tenant,) in found)

    def lost(self, writer: Writer) -> list[int]:
        """Tell which rows were answered before the drop began and are not on the new place."""
        began = self.began.get(writer.database, float("inf"))
        answered = {n for n, at in writer.answered.items() if at < began}
        there = set()
        for server in (self.eu2, *([] if writer.database in self.began else [self.eu1])):
            if "m" in tables(server, writer.database):
                there |= {row["n"] for row in server.rows(writer.database, "SELECT n FROM m")}
        return sorted(answered - there)

    def under_way(self, writer: Writer) -> list[int]:
        """Tell which rows may have been written while the drop was carried out."""
        began, ended = self.began[writer.database], self.ended[writer.database]
        # An answer comes after a flush of the log, and waits for its turn on a busy machine.
        return [n for n, at in writer.answered.items() if began <= at <= ended + 1.0]

    def rows(self, tenant: str) -> int:
        """Tell how many rows of writers are on the new place."""
        sql = "SELECT count(*) AS n FROM m"
        return int(self.eu2.rows(f"telemetry_{tenant}", sql)[0]["n"])

    def story(self, tenant: str) -> list[str]:
        return [line.split(None, 2)[2] for line in self.cli("history", tenant).lines]


def tables(server: Influx, database: str) -> set[str]:
    sql = f"SELECT table_name FROM system.tables WHERE database_name = '{database}'"
    return {row["table_name"] for row in server.rows("_internal", sql)}


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
