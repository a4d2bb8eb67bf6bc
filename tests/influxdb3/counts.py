"""Counts what a copy asks of two servers."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.integration.proxy import Proxy, Seen


@dataclass(frozen=True)
class Counted:
    """What was asked; a barrier is a write that waits until all before it is durable."""

    requests: int
    barriers: int
    rows_read: int
    bytes_read: int
    rows_written: int
    bytes_written: int
    rows_read_back: int
    bytes_read_back: int


@dataclass(frozen=True)
class Counts:
    """Proxies before the server that is copied from, and the one that is copied to."""

    source: Proxy
    copy: Proxy

    def now(self) -> Counted:
        """Return what was asked so far."""
        writes = [seen for seen in self.copy.seen if "/write_lp" in seen.path]
        read, back = self._rows(self.source), self._rows(self.copy)
        return Counted(
            requests=len(self.source.seen) + len(self.copy.seen),
            barriers=sum("no_sync=true" not in seen.path for seen in writes),
            rows_read=sum(lines for _, lines in read),
            bytes_read=sum(size for size, _ in read),
            rows_written=sum(seen.body.count(b"\n") + 1 for seen in writes),
            bytes_written=sum(len(seen.body) for seen in writes),
            rows_read_back=sum(lines for _, lines in back),
            bytes_read_back=sum(size for size, _ in back),
        )

    @staticmethod
    def _rows(proxy: Proxy) -> list[tuple[int, int]]:
        return [(size, lines) for seen, size, lines in proxy.answers if reads_rows(seen)]


def reads_rows(seen: Seen) -> bool:
    """Return whether a request asks for the rows of a table."""
    if not seen.path.endswith("/query_sql"):
        return False
    sql = json.loads(seen.body)["q"]
    return "COUNT(" not in sql and 'FROM "' in sql
