"""Ctrl-C, however early it comes, ends a command with one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from influxops.cli.session import ended_by_signals
from influxops.runtime.context import RunContext
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import PROGRAM, Cli, ended
from tests.integration.proxy import Seen
from tests.pg import TestDatabase

#: Runs `influxops plan`, and is interrupted when the module that its argument names is looked for.
INTERRUPTED = """
import os, signal, sys

module = sys.argv.pop()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from influxops.cli.main import main
sys.argv.append("plan")
main()
"""


@pytest.mark.parametrize(
    "module",
    [
        "click",
        "influxops.cli.failures",
        "influxops.cli.app",
        "influxops.cli.commands.plan",
        "influxops.cli.session",
        "influxops.engine",
    ],
)
def test_an_interrupt_while_starting_is_one_line(cli: Cli, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, module],
        env=cli.environment({"INFLUXDB_URL": "http://127.0.0.1:1"}),
        cwd=cli.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "influxops: interrupted"
    assert done.stdout == ""


@pytest.mark.stand_in
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_report_and_its_journal(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy, number: signal.Signals
) -> None:
    db.registry("acme", "beta", "gamma")
    proxy = proxied(stand_in())
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.writes:
            reached.set()
            let_go.wait(60)

    proxy.before = hold
    cli.config('[reporters.log]\nkind = "journal"\npath = "changes.jsonl"\n')
    with cli.running("ensure", env={"INFLUXDB_URL": proxy.url}) as process:
        assert reached.wait(30)
        process.send_signal(number)
        if number is signal.SIGHUP:
            process.send_signal(number)  # its shell and the system send one each
        assert process.stderr is not None
        for line in process.stderr:
            if "stopping" in line:
                break
        let_go.set()
        done = ended(process)
    assert done.code == 130
    assert "; interrupted" in done.out
    (line, *_) = (cli.folder / "changes.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)


@pytest.mark.stand_in
def test_a_hang_up_that_is_ignored_from_the_beginning_ends_nothing(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    proxy = proxied(stand_in())
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.writes:
            reached.set()
            let_go.wait(60)

    proxy.before = hold
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' HUP; exec {PROGRAM} ensure"],
        cwd=cli.folder,
        env=cli.environment({"INFLUXDB_URL": proxy.url}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reached.wait(30)
    process.send_signal(signal.SIGHUP)
    let_go.set()
    assert ended(process).code == 0


def test_a_signal_writes_past_pythons_own_buffers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Busy:
        def write(self, text: str) -> int:
            raise RuntimeError("reentrant call inside a writer")

    run = RunContext()
    monkeypatch.setattr(sys, "stderr", Busy())
    with ended_by_signals(run):
        os.kill(os.getpid(), signal.SIGTERM)
        assert threading.Event().wait(0) is False  # a place where Python runs the handler
    assert run.cancelled
    assert "stopping gracefully; press Ctrl-C again to abort" in capfd.readouterr().err


def test_a_signal_needs_nobody_who_reads_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int, data: bytes) -> int:
        raise BrokenPipeError

    run = RunContext()
    monkeypatch.setattr(os, "write", broken)
    with ended_by_signals(run):
        signal.raise_signal(signal.SIGINT)
    assert run.cancelled


def test_a_signal_that_does_not_wake_the_main_thread_ends_the_run() -> None:
    # It is as one that comes just before the main thread begins to wait.
    code = """
import signal, threading, time
from influxops.cli.session import ended_by_signals
from influxops.runtime.context import RunContext

context, done = RunContext(), threading.Event()

def send():
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

with ended_by_signals(context), context.on_end(done.set):
    threading.Thread(target=send).start()
    done.wait(30)
    assert context.cancelled
    assert done.is_set()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (
        0,
        ["influxops: stopping gracefully; press Ctrl-C again to abort"],
    ), done.stderr
