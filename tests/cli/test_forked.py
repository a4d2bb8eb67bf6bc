"""A command that the tests fork is as one that a user starts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fork_server import Forked
from tests.integration.command import Cli, ended


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    return Cli(tmp_path, {})


def _both(cli: Cli, see: Callable[[Cli], object]) -> None:
    forked, started = see(cli), see(replace(cli, forks=False))
    assert forked == started


@pytest.mark.parametrize("arguments", [("--version",), ("plan", "--no-such"), ("config", "-vv")])
def test_it_ends_alike(alone: Cli, arguments: tuple[str, ...]) -> None:
    _both(alone, lambda cli: cli(*arguments))
    _both(alone, lambda cli: cli.at_terminal(*arguments))


def test_it_has_the_files_and_the_signals_of_a_new_process(alone: Cli) -> None:
    def see(cli: Cli) -> object:
        with cli.running("dev-server", "--port", "0") as process:
            assert isinstance(process, Forked) == cli.forks
            assert process.stdout is not None
            assert process.stdout.readline()
            here = Path(f"/proc/{process.pid}")
            lines = (here / "status").read_text().splitlines()
            seen = (
                sorted(str(path.readlink()).partition(":")[0] for path in here.glob("fd/*")),
                [line for line in lines if line.startswith(("Sig", "Shd", "Umask"))],
                (here / "cwd").readlink(),
                os.getpgid(process.pid),
            )
            process.send_signal(signal.SIGINT)
            return seen, ended(process).code

    _both(alone, see)


def test_it_can_be_killed(alone: Cli) -> None:
    with alone.running("dev-server", "--port", "0") as process:
        assert process.poll() is None
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_variables_that_python_reads_when_it_starts_are_for_a_new_process(alone: Cli) -> None:
    with alone.running("--version", env={"PYTHONSAFEPATH": "1"}) as process:
        assert not isinstance(process, Forked)
        assert ended(process).code == 0
