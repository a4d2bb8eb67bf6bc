"""The InfluxDB servers of these tests: a real one where there is one, else stand-ins."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from influxops_devserver.testing import StandIn, running_stand_in
from tests import outputs

REAL_URL = os.environ.get("INFLUXOPS_TEST_INFLUXDB_URL", "")
REAL_TOKEN = os.environ.get("INFLUXOPS_TEST_INFLUXDB_TOKEN", "")


#: Who has it may use the real server: workers of one session share five places.
LOCK = Path(tempfile.gettempdir()) / "influxops-tests.lock"
#: What tests/influxdb3/test_server.py calls its databases on a real server.
OWN = re.compile("telemetry_test-[0-9a-f]{8}-")


@dataclass(frozen=True)
class Influx:
    """A server, asked past influxops.

    Args:
        url: Where it is.
        token: Its admin token; empty where it asks for none.
        stand_in: Its process, where it is a stand-in.
    """

    url: str
    token: str = ""
    stand_in: StandIn | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make influxops write to it."""
        return {
            "INFLUXDB_URL": self.url,
            **({"INFLUXDB_TOKEN": self.token} if self.token else {}),
        }

    def request(self, method: str, path: str, **arguments: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return urllib3.request(
            method, self.url + path, headers=headers, retries=False, timeout=30, **arguments
        )

    def databases(self) -> list[str]:
        """The tenant databases that it holds, sorted."""
        answer = self.request("GET", "/api/v3/configure/database?format=json")
        assert answer.status == 200, answer.data
        names = [row["iox::database"] for row in answer.json()]
        return sorted(name for name in names if name != "_internal")

    def rows(self, database: str, sql: str) -> list[dict[str, Any]]:
        """What a query finds."""
        answer = self.request(
            "GET", "/api/v3/query_sql", fields={"db": database, "q": sql, "format": "json"}
        )
        assert answer.status == 200, answer.data
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def markers(self, database: str) -> int:
        """How many markers a database holds."""
        (row,) = self.rows(database, "SELECT count(*) AS n FROM _init")
        return int(row["n"])

    def retention(self, database: str) -> int | None:
        """A database's retention period in seconds."""
        (row,) = self.rows(
            "_internal",
            "SELECT retention_period_ns FROM system.databases "
            f"WHERE database_name = '{database}' AND deleted = false",
        )
        nanoseconds = row.get("retention_period_ns")
        return None if nanoseconds is None else int(nanoseconds) // 10**9

    def create(self, database: str, **settings: str) -> None:
        answer = self.request(
            "POST", "/api/v3/configure/database", json={"db": database, **settings}
        )
        assert answer.status == 200, answer.data

    def write(self, database: str, line: str) -> None:
        answer = self.request(
            "POST", f"/api/v3/write_lp?db={database}&precision=auto", body=line.encode()
        )
        assert answer.status == 204, answer.data

    def drop(self, database: str) -> None:
        answer = self.request(
            "DELETE",
            "/api/v3/configure/database",
            fields={"db": database, "hard_delete_at": "now"},
        )
        assert answer.status == 200, answer.data

    def clean(self) -> None:
        """Drop all databases, with nothing left in the buffer of the write-ahead log.

        What is buffered for a database takes the rows of its next namesake with it.
        """
        databases = self.databases()
        if databases:
            self.write(databases[0], "cleaning value=1i")
        for database in databases:
            self.drop(database)


class NotOurs(Exception):
    """A real server that holds what these tests did not make."""


@contextlib.contextmanager
def for_one_test(server: Influx, lock: Path, session: str) -> Iterator[Influx]:
    """Lend a real server to one test at a time, and drop what it made there.

    What a killed command had asked for may arrive after that, and a test that is killed drops
    nothing: what a server holds is dropped first, where it was empty before this session's last
    test, or before one that did not end. The lock's file says which server that was.

    Raises:
        NotOurs: When it holds what nothing says is of these tests.
    """
    with lock.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def say(state: str) -> None:
            file.truncate(0)
            file.write(f"{server.url} {state}")
            file.flush()

        file.seek(0)
        said = file.read()
        is_ours = said in (f"{server.url} {state}" for state in ("in use", session))
        names = server.databases()
        if not is_ours and not all(OWN.match(name) for name in names):
            raise NotOurs(f"{server.url} holds {names}; these tests want a server of their own")
        say("in use")
        server.clean()
        yield server
        server.clean()
        say(session)


@contextlib.contextmanager
def new_stand_in(**options: Any) -> Iterator[Influx]:
    """Run a stand-in of a test's own; with `with_auth`, with its first token issued."""
    with running_stand_in(**{"wal_flush_interval": "50ms", **options}) as stand_in:
        token = ""
        if options.get("with_auth"):
            answer = urllib3.request("POST", f"{stand_in.url}/api/v3/configure/token/admin")
            token = answer.json()["token"]
            outputs.SECRETS.add(token)
        yield Influx(stand_in.url, token, stand_in)
