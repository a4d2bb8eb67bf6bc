"""Starts the servers of a molecule scenario, which outlive this process, and ends them.

`start` writes down what runs, so that scenarios can reach it and `stop` can end it by its ids.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres, start_postgres
from influxops_devserver.testing import start_stand_in

_PATIENCE = 15.0


def start(state: Path, stand_ins: Sequence[str], tenants: Sequence[str], *, auth: bool) -> None:
    """Start everything; on failure, end what was started."""
    os.setsid()  # Ctrl-C in the terminal of molecule is for molecule.
    running: dict[str, Any] = {"stand_ins": {}, "postgres": None, "environment": {}}
    try:
        server = start_postgres()
        running["postgres"] = asdict(server)
        running["environment"] = server.environment
        for name in stand_ins:
            stand_in = start_stand_in(with_auth=auth)
            running["stand_ins"][name] = {"url": stand_in.url, "pid": stand_in.process.pid}
            if auth:
                running["stand_ins"][name]["token"] = _admin_token(stand_in.url)
        _fill(server, tenants)
        state.write_text(json.dumps(running, default=str), encoding="utf-8")
    except BaseException:
        _end(running)
        raise


def stop(state: Path) -> None:
    """End everything; nothing is running where nothing was written down."""
    if state.exists():
        _end(json.loads(state.read_text(encoding="utf-8")))
        state.unlink()


def _end(running: dict[str, Any]) -> None:
    for stand_in in running["stand_ins"].values():
        _end_process(stand_in["pid"])
    if running["postgres"] is not None:
        paths = {name: Path(running["postgres"][name]) for name in _PATHS}
        EmbeddedPostgres(**{**running["postgres"], **paths}).stop()


_PATHS = ("data_dir", "work_dir", "programs")


def _end_process(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    number = signal.SIGTERM
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while _is_stand_in(pid):
            os.kill(pid, number)
            time.sleep(0.05)
            if time.monotonic() > deadline:
                number = signal.SIGKILL


def _is_stand_in(pid: int) -> bool:
    """Tell whether the id is still that of a stand-in, not of who came after it."""
    try:
        return b"influxops_devserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _admin_token(url: str) -> str:
    answer = urllib3.request("POST", f"{url}/api/v3/configure/token/admin")
    return str(answer.json()["token"])


def _fill(server: EmbeddedPostgres, tenants: Sequence[str]) -> None:
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute(
            "CREATE TABLE device_registry (device_id bigserial PRIMARY KEY, tenant_id text)"
        )
        connection.execute(
            "INSERT INTO device_registry (tenant_id) "
            "SELECT tenant FROM unnest(%s::text[]) AS tenant, generate_series(1, 20)",
            [list(tenants)],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["start", "stop"])
    parser.add_argument("state", type=Path, help="where what runs is written down")
    parser.add_argument("--stand-in", action="append", default=[], metavar="NAME")
    parser.add_argument("--tenant", action="append", default=[], metavar="ID")
    parser.add_argument("--auth", action="store_true", help="let the stand-ins ask for tokens")
    options = parser.parse_args()
    if options.command == "start":
        stop(options.state)  # what was left of an earlier run
        start(options.state, options.stand_in, options.tenant, auth=options.auth)
    else:
        stop(options.state)


if __name__ == "__main__":
    main()
