"""What a proxy led where, second by second, and what happened in that second."""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import psycopg

from influxops_demo.environment import DemoEnvironment

_LOG = """\
log_format seen escape=json '{{"at": $msec, "status": $status, "to": "$upstream_addr",'
        ' "database": "$influxops_database", "agent": "$http_user_agent",'
        ' "body": "$request_body"}}';
    access_log {file} seen;"""
_HISTORY = (
    "SELECT id, extract(epoch FROM at)::float8, event, tenant, target, before, after, outcome "
    "FROM influxops.history WHERE id > %s ORDER BY id"
)
#: A row of Telegraf's, which does not say itself what was acknowledged.
_ROW = re.compile(r"^live,writer=telegraf n=(\d+)i ", re.M)


class Timeline:
    """Reads the log of a proxy, and the ledger's history; `show` is called for each second."""

    def __init__(self, log: Path, demo: DemoEnvironment) -> None:
        self.log_lines = _LOG.format(file=log)
        self._log, self._demo = log, demo
        self._read, self._seen = 0, 0  # how far the log, and the history, were read
        self._acknowledged: dict[str, set[tuple[str, int]]] = {}  # those of Telegraf
        self._writes: dict[int, Counter[str]] = {}  # by second, and target; "" for none
        self._events: list[tuple[float, str]] = []
        self._lock = threading.RLock()
        self._began, self._ended = time.time(), math.inf

    def note(self, event: str) -> None:
        """Note that something happens now."""
        with self._lock:
            self._events.append((time.time(), event))

    def acknowledged(self) -> dict[str, set[tuple[str, int]]]:
        """Return the rows of Telegraf that were acknowledged, by database."""
        with self._lock:
            self._follow_log()
            return {database: set(rows) for database, rows in self._acknowledged.items()}

    # The table -------------------------------------------------------------------------------

    def show(self, put: Callable[[str], object]) -> threading.Thread:
        """Put out a table, a line a second, until `end`."""
        self._began = time.time()
        names = [*self._demo.stand_ins]
        put(
            click.style(
                _line("time", names, "none", "writes a second, and what happens"), bold=True
            )
        )

        def run() -> None:
            second = int(self._began)
            while second <= self._ended:
                time.sleep(0.2)
                # What ended in a second is in the log and in the history a moment later.
                while second < time.time() - 1.5:
                    for line in self._lines(second, names):
                        put(line)
                    second += 1

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """End the table once all is in it."""
        self._ended = time.time()

    def _lines(self, second: int, names: list[str]) -> Iterator[str]:
        with self._lock:
            self._follow_log()
            self._follow_history()
            events = [text for at, text in sorted(self._events) if int(at) == second]
            writes = self._writes.get(second, Counter())
        minutes, seconds = divmod(second - int(self._began), 60)
        first, *rest = events or [""]
        counts = [f"{writes[name]:,}" for name in names]
        yield _line(f"{minutes}:{seconds:02}", counts, f"{writes['']:,}", first)
        for text in rest:
            yield _line("", [""] * len(names), "", text)

    # What it reads ---------------------------------------------------------------------------

    def _follow_log(self) -> None:
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        whole = lines.rfind(b"\n") + 1
        self._read += whole
        targets = {f"127.0.0.1:{each.port}": name for name, each in self._demo.stand_ins.items()}
        for line in lines[:whole].splitlines():
            # Bytes that are no text are as they came.
            seen = json.loads(line.decode("latin-1"))
            is_written = seen["status"] == 204
            if not seen["database"]:
                continue
            to = targets.get(seen["to"].rpartition(", ")[2], "") if is_written else ""
            self._writes.setdefault(int(seen["at"]), Counter())[to] += 1
            if is_written and seen["agent"].startswith("Telegraf/"):
                body = seen["body"].encode("latin-1")
                text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
                rows = self._acknowledged.setdefault(seen["database"], set())
                rows.update(("telegraf", int(n)) for n in _ROW.findall(text.decode()))

    def _follow_history(self) -> None:
        with psycopg.connect(self._demo.postgres.conninfo()) as connection:
            for number, at, *entry in connection.execute(_HISTORY, [self._seen]).fetchall():
                self._seen = number
                if text := _told(*entry):
                    self._events.append((at, text))


def _told(event: str, tenant: str, target: str, before: str, after: str, outcome: str) -> str:
    if outcome != "done":
        return f"{tenant}: {event} {outcome}"
    texts: dict[str, Any] = {
        "moved": f"cut-over of {tenant}: {before} to {after}",
        "dropped": f"{tenant} is dropped on {target}",
        "created": f"{tenant} is made on {target}",
    }
    return str(texts.get(event, ""))


def _line(at: str, counts: list[str], none: str, text: str) -> str:
    return f"{at:>5}{''.join(f'{each:>6}' for each in counts)}{none:>6}  {text}".rstrip()
