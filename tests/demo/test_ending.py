"""What the demonstration and the tests start ends with them, however they end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import sys
from influxops_devserver.postgres import embedded_postgres
with embedded_postgres() as server:
    print((server.data_dir / "postmaster.pid").read_text().split()[0], server.work_dir, flush=True)
    sys.stdin.read()
"""


def test_a_postgres_ends_with_the_process_that_runs_it_however_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        pid, work_dir = runner.stdout.readline().split()
        assert _runs(pid)
        runner.kill()
    deadline = time.monotonic() + 30
    while _runs(pid) or Path(work_dir).exists():
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    status = Path("/proc", pid, "status")
    try:
        return "\nState:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
