"""`influxops demo --web`: the service, its console and all that they need, in one command."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.integration.command import PROGRAM, Cli

pytestmark = pytest.mark.stand_in


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cli]:
    """The command line of somebody who has servers elsewhere; no temporary file is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    folder.chmod(0o755)  # PostgreSQL runs as another user than root
    variables = {"PG_HOST": "registry.invalid", "INFLUXDB_URL": "http://influxdb.invalid:8181"}
    yield Cli(tmp_path, {"TMPDIR": str(folder), **variables})
    folder.rmdir()


def test_one_command_runs_the_console_and_ctrl_c_ends_all_of_it(alone: Cli) -> None:
    process = subprocess.Popen(
        [str(PROGRAM), "demo", "--web"],
        cwd=alone.folder,
        env=alone.environment(None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        shown = []
        try:
            for line in process.stdout:
                shown.append(line.strip())
                if line.startswith("Ctrl-C"):
                    break
            url = next((line for line in shown if line.startswith("http://127.0.0.1:")), "")
            token = next((line for line in shown if line.startswith("iop_")), "")
            assert url and token, shown
            logged_in = urllib3.request(
                "POST",
                f"{url}login",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=f"token={token}",
                redirect=False,
                timeout=60,
            )
            assert logged_in.status == 303, logged_in.data
            cookie = {"Cookie": logged_in.headers["set-cookie"].partition(";")[0]}
            tenants = urllib3.request("GET", url, headers=cookie, timeout=60).data.decode()
            assert "12 tenants" in tenants and "telemetry_acme" in tenants
            acme = urllib3.request("GET", f"{url}tenant?id=acme", headers=cookie, timeout=60)
            assert b"rows in the last 24 hours; most" in acme.data
            assert b"1,240 devices" in acme.data
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
            rest = process.stdout.read()
            code = process.wait(60)
    assert code == 0, rest
    assert "stopped and removed" in rest and "Traceback" not in rest
    assert "invalid" not in "".join(shown), "a configured server was contacted"


def test_all_of_it_ends_when_the_demo_is_killed(alone: Cli) -> None:
    process = subprocess.Popen(
        [str(PROGRAM), "demo", "--web"],
        cwd=alone.folder,
        env=alone.environment(None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Ctrl-C"):
                    break
            children = processes_below(process.pid)
            assert len(children) >= 5, "PostgreSQL's watchdog, three stand-ins, the service"
        finally:
            process.kill()
    for child in children:
        wait_for_end(child)
    for left in Path(alone.variables["TMPDIR"]).iterdir():
        shutil.rmtree(left)  # a killed process removes nothing


def test_what_goes_not_together_is_refused(alone: Cli) -> None:
    done = alone("demo", "--web", "--keep")
    assert done.code == 2
    assert "leave --keep out" in done.err


def processes_below(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def wait_for_end(pid: int) -> None:
    """Wait until a process is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], 60)
    finally:
        os.close(handle)
    assert ended, f"{pid} goes on"
