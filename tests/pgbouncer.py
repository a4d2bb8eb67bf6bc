"""A real PgBouncer in front of a test's PostgreSQL, where it is installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.pg import TestDatabase

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
#: Seconds that it may take to start.
_START = 20.0

_CONFIG = """
[databases]
* = host=127.0.0.1 port={behind}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
query_wait_timeout = {patience}
server_round_robin = {in_turn}
"""


@dataclass(frozen=True)
class PgBouncer:
    """A pooler that lends connections to one database."""

    db: TestDatabase
    port: int
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make influxops go through it."""
        return {**self.db.environment, "PG_PORT": str(self.port)}

    @property
    def conninfo(self) -> str:
        return psycopg.conninfo.make_conninfo(self.db.conninfo, port=self.port)


@contextlib.contextmanager
def pgbouncer(
    db: TestDatabase, mode: str, *, size: int = 4, patience: int = 120, in_turn: bool = False
) -> Iterator[PgBouncer]:
    """Run a PgBouncer as a user without rights.

    Args:
        db: Where it leads.
        mode: Its `pool_mode`.
        size: How many connections to the server it has.
        patience: Seconds after which it gives up a client that waits for one of them.
        in_turn: Whether it lends the one that was idle for longest.
    """
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="influxops-bouncer-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = db.server
        (folder / "users").write_text(f'"{server.user}" "{server.password}"\n')
        while True:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            text = _CONFIG.format(
                behind=server.port, port=port, folder=folder, mode=mode, size=size,
                patience=patience, in_turn=int(in_turn),
            )  # fmt: skip
            (folder / "ini").write_text(text)
            identity: dict[str, Any] = {}
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                identity = {"user": nobody.pw_uid, "group": nobody.pw_gid}
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    [PROGRAM, str(folder / "ini")],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    **identity,
                )
            if _listens(process, port):
                break
            said = (folder / "log").read_text()
            assert "in use" in said, said  # somebody took the port
        with process:
            try:
                yield PgBouncer(db, port, process)
            finally:
                process.kill()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + _START
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        assert time.monotonic() < end, "PgBouncer does not start"
        time.sleep(0.01)
    return False
