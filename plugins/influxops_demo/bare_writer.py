"""A client that writes by bare requests: `python -m influxops_demo.bare_writer NAME URL FOLDER`.

In turns it writes one numbered row to each database that the file `databases` of the folder names,
and again what was not acknowledged; `NAME.acked` has a line for each row that was.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
from pathlib import Path

import urllib3

#: Seconds between two rounds over all databases.
PAUSE = 0.05


def write(name: str, url: str, folder: Path) -> None:
    """Write until this process is ended."""
    trusted = ssl.create_default_context()
    pool = urllib3.PoolManager(ssl_context=trusted, retries=False, timeout=30)
    rows: dict[str, tuple[int, str]] = {}  # the one that each database gets next
    with (folder / f"{name}.acked").open("a", buffering=1) as acked:
        while True:
            for database in (folder / "databases").read_text().split():
                if database not in rows:
                    rows[database] = (0, "")
                number, row = rows[database]
                row = row or f"live,writer={name} n={number}i {time.time_ns()}"
                rows[database] = (number, row)
                path = f"{url}/api/v3/write_lp?db={database}&precision=nanosecond"
                try:
                    answer = pool.request("POST", path, body=row)
                except urllib3.exceptions.HTTPError:
                    continue
                if answer.status == 204:
                    acked.write(f"{database} {number}\n")
                    rows[database] = (number + 1, "")
            time.sleep(PAUSE)


def _end_with_input() -> None:
    """End this process once its standard input ends: with the process that started it."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    write(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
