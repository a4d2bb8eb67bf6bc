"""Clients of a worker's health endpoint that say nothing: bounded in number, threads and time."""

from __future__ import annotations

from pathlib import Path

from tests.integration.silent import (
    all_ended,
    has_ended,
    is_healthy,
    processor_time,
    script,
    silent_clients,
)
from tests.provisioner.conftest import until

SERVES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
from influxops_queue.worker import health
health.TIME = {time}
{more}
server = health.serve(health.Health(), "127.0.0.1", 0)
print("http://127.0.0.1:%d" % server.server_address[1], flush=True)
sys.stdin.read()
"""


def threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def test_silent_clients_are_bounded_and_end(tmp_path: Path) -> None:
    text = SERVES.format(files=1024, time=1.0, more="")
    with script(text, tmp_path / "log") as (process, url):
        with silent_clients(url, 300) as clients:
            assert threads(process.pid) <= 64 + 5
            assert is_healthy(url)
            assert all_ended(clients)
        until(lambda: threads(process.pid) <= 5)
        assert is_healthy(url)
    assert (tmp_path / "log").read_text() == ""


def test_a_client_that_asks_is_answered_while_as_many_as_there_may_be_say_nothing(
    tmp_path: Path,
) -> None:
    text = SERVES.format(files=100, time=60.0, more="")
    with script(text, tmp_path / "log") as (process, url), silent_clients(url, 200) as clients:
        assert is_healthy(url)
        assert threads(process.pid) <= 25 + 5
        assert sum(has_ended(each) for each in clients) >= 175


def test_that_no_connection_can_be_accepted_is_a_line_of_the_log_and_passes(
    tmp_path: Path,
) -> None:
    text = SERVES.format(files=40, time=2.0, more="health.most_connections = lambda: 10_000")
    log = tmp_path / "log"
    with script(text, log) as (process, url):
        with silent_clients(url, 100) as clients:
            until(lambda: "no health check can be accepted" in log.read_text())
            began = processor_time(process.pid)
            assert all_ended(clients)
            assert is_healthy(url)
            assert processor_time(process.pid) - began < 2
        assert process.poll() is None
        assert log.read_text().count("\n") <= 2
