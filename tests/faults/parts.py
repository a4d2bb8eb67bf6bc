"""What the doors work on: servers and a PostgreSQL that can be killed, paused and filled."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import urllib3

from influxops_devserver.postgres import ended_with_this_process, make_work_dir, start_cluster
from influxops_devserver.testing import StandIn, start_stand_in
from tests.faults.toxiproxy import free_port
from tests.pg import in_memory, postgres_server


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path | None]:
    """Mount a file system that can be filled; None where this user may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="influxops-disk-", dir="/tmp"))
    folder.chmod(0o755)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "none", str(folder)]
    try:
        done = os.geteuid() == 0 and not subprocess.run(command, capture_output=True).returncode
    except OSError:
        done = False
    try:
        yield folder if done else None
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            folder.rmdir()


class Disk:
    """A disk that can be filled."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Take all room that is left."""
        assert self.folder is not None
        with contextlib.suppress(OSError), (self.folder / "full").open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def free(self) -> None:
        if self.folder is not None:
            (self.folder / "full").unlink(missing_ok=True)


class Server:
    """A stand-in that keeps its data and its port through all that happens to it."""

    def __init__(self, stack: contextlib.ExitStack, most: int | None) -> None:
        self.disk = Disk(stack.enter_context(small_disk(64)))
        kept = tempfile.mkdtemp(prefix="influxops-faults-", dir=self.disk.folder)
        self._data, self._most = Path(kept), most
        self.port, self._lock = free_port(), threading.Lock()
        self._stand_in: StandIn | None = None
        stack.callback(self.kill)
        self.start()
        url = f"http://127.0.0.1:{self.port}/api/v3/configure/token/admin"
        self.token: str = urllib3.request("POST", url).json()["token"]

    def start(self) -> None:
        """Start it, where it does not run."""
        with self._lock:
            if self._stand_in is not None and self._stand_in.process.poll() is None:
                return
            self._stand_in = start_stand_in(
                outlives=False,
                port=self.port,
                data_dir=self._data,
                with_auth=True,
                max_databases=self._most,
                wal_flush_interval="20ms",
            )

    def kill(self) -> None:
        with self._lock:
            if self._stand_in is not None and self._stand_in.process.poll() is None:
                self._stand_in.kill()

    def signal(self, number: int) -> None:
        if self._stand_in is not None and self._stand_in.process.poll() is None:
            os.kill(self._stand_in.process.pid, number)

    def heal(self) -> None:
        """Let it run, with room."""
        self.disk.free()
        self.signal(signal.SIGCONT)
        self.start()

    def ask(self, method: str, path: str, body: str = "", timeout: float = 30.0) -> int:
        """Send a request past all proxies, and return the status."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = urllib3.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            body=body.encode() or None,
            headers=headers,
            retries=False,
            timeout=timeout,
        )
        return answer.status


class Primary:
    """A PostgreSQL with one database, which can be restarted, filled, and replaced by a standby."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.disk = Disk(stack.enter_context(small_disk(700)))
        options = {
            "max_wal_size": "64MB",
            "min_wal_size": "32MB",
            "max_connections": "100",
            "wal_level": "replica",
        }
        self._folder = str(self.disk.folder) if self.disk.folder else in_memory()
        self.server = stack.enter_context(postgres_server(options, folder=self._folder))
        self._ends = contextlib.ExitStack()
        stack.callback(self._end_standby)
        self.password = f"canary-{secrets.token_hex(8)}"
        self.server = replace(self.server, password=self.password)
        self.owner("CREATE DATABASE faults OWNER iot")
        self.owner(f"ALTER ROLE iot PASSWORD '{self.password}'")

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def conninfo(self) -> str:
        """Past all proxies, for the one who may do everything."""
        return self.server.superuser_conninfo("faults")

    def owner(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the superuser."""
        conninfo = self.server.superuser_conninfo(database)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error):
            self.owner("SELECT 1")
            return True
        return False

    def restart(self, mode: str) -> None:
        server = self.server
        log = str(server.work_dir / "log.again")
        server.run("pg_ctl", "restart", "-D", str(server.data_dir), "-l", log, "-m", mode, "-w")

    def heal(self) -> None:
        """Let it run, with room and its ordinary limits."""
        self.disk.free()
        if not self.answers():
            self.restart("immediate")
        self.owner("ALTER ROLE iot CONNECTION LIMIT -1")
        self.owner("ALTER SYSTEM RESET ALL")
        self.owner("SELECT pg_reload_conf()")

    def fail_over(self) -> None:
        """Make a synchronous standby, kill the primary, and promote the standby."""
        primary, work_dir = self.server, make_work_dir(self._folder)
        data_dir = work_dir / "data"
        conninfo = primary.superuser_conninfo()
        backup = ("-D", str(data_dir), "-d", conninfo, "--write-recovery-conf")
        primary.run("pg_basebackup", *backup, "--checkpoint=fast", "--no-sync")
        with (data_dir / "postgresql.auto.conf").open("a") as settings:
            settings.write("\nsynchronous_standby_names = ''\n")
        options = {"fsync": "off", "scram_iterations": "1", "autovacuum": "off"}
        # Before it starts: the process that lets commits wait reads this at a time of its own.
        self.owner("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.owner("SELECT pg_reload_conf()")
        port = start_cluster(primary.programs, work_dir, data_dir, options)
        standby = replace(primary, port=port, data_dir=data_dir, work_dir=work_dir)
        self.owner(
            "DO $$ BEGIN FOR i IN 1..200 LOOP EXIT WHEN EXISTS (SELECT FROM pg_stat_replication"
            " WHERE sync_state = 'sync'); PERFORM pg_sleep(0.05); PERFORM pg_stat_clear_snapshot();"
            " END LOOP; END $$"
        )
        # What was committed before it became synchronous is there, too, once this is.
        self.owner("CREATE TABLE IF NOT EXISTS barrier (n int)")
        self.owner("INSERT INTO barrier VALUES (1)")
        pid = int((primary.data_dir / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        standby.run("pg_ctl", "promote", "-D", str(data_dir), "-w")
        self._end_standby()
        self.server = standby
        self._ends = contextlib.ExitStack()
        self._ends.callback(standby.stop)
        self._ends.enter_context(ended_with_this_process(standby))

    def _end_standby(self) -> None:
        """End the standby that was promoted last, where there is one."""
        self._ends.close()
