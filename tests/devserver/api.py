"""The few requests that the tests of the stand-in send."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import urlencode

import urllib3

Answer = urllib3.BaseHTTPResponse


class Api:
    """A stand-in as its clients see it; a refused request is an answer, not an exception."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._token = token
        # A test waits for what it asked for, but not for ever; and never asks twice.
        timeout = urllib3.Timeout(connect=5, read=30)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=4, block=True)

    def with_token(self, token: str) -> Api:
        return Api(self.url, token)

    def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        headers = dict(headers or {})
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        query = more.pop("query", None)
        target = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        return self._pool.request(method, target, headers=headers, **more)

    def create(self, database: str, retention: str | None = None) -> Answer:
        body = {"db": database}
        if retention is not None:
            body["retention_period"] = retention
        return self.send("POST", "/api/v3/configure/database", json=body)

    def delete(self, database: str, **query: str) -> Answer:
        return self.send("DELETE", "/api/v3/configure/database", query={"db": database, **query})

    def databases(self, *, show_deleted: bool = False) -> list[dict[str, Any]]:
        query = {"format": "json", "show_deleted": str(show_deleted).lower()}
        answer = self.send("GET", "/api/v3/configure/database", query=query)
        assert answer.status == 200, answer.data
        found: list[dict[str, Any]] = answer.json()
        return found

    def names(self) -> list[str]:
        names = [str(row["iox::database"]) for row in self.databases()]
        return [name for name in names if name != "_internal"]

    def write(self, database: str, lines: str, *, gzipped: bool = False, **query: str) -> Answer:
        body = lines.encode()
        headers = {}
        if gzipped:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        query = {"db": database, **query}
        return self.send("POST", "/api/v3/write_lp", query=query, body=body, headers=headers)

    def query(self, database: str, sql: str, **more: Any) -> Answer:
        return self.send("POST", "/api/v3/query_sql", json={"db": database, "q": sql, **more})

    def sql(self, database: str, sql: str, **more: Any) -> list[dict[str, Any]]:
        answer = self.query(database, sql, **more)
        assert answer.status == 200, answer.data
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def count(self, database: str, table: str) -> int:
        rows = self.sql(database, f'SELECT COUNT(*) AS count FROM "{table}"')
        return int(rows[0]["count"])


def error_of(answer: Answer) -> str:
    """The message in a JSON body."""
    return str(answer.json()["error"])


def refused_line(answer: Answer) -> str:
    """Why the first line of a partial write was refused."""
    return str(answer.json()["data"][0]["error_message"])
