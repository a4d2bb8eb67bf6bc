"""`influxops demo`: what a newcomer sees first."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.command import PROGRAM, Cli

pytestmark = pytest.mark.stand_in


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Cli]:
    """The command line of somebody who has servers elsewhere and wants a look.

    Nothing may be left in the folder for temporary files afterwards.
    """
    # Short, for a socket's path is; and open, for PostgreSQL runs as another user than root.
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    folder.chmod(0o755)
    variables = {"PG_HOST": "registry.invalid", "INFLUXDB_URL": "http://influxdb.invalid:8181"}
    yield Cli(tmp_path, {"TMPDIR": str(folder), **variables})
    folder.rmdir()


def test_the_demo_ends_well_and_shows_what_it_did(alone: Cli) -> None:
    done = alone("demo")
    assert done.code == 0, done.all
    commands = [line for line in done.lines if line.startswith("$ ")]
    assert commands == [f"$ influxops {name}" for name in ("plan", "ensure", "ensure", "status")]
    assert "12 tenants: 0 ok, 12 to create" in done.out
    assert "12 tenants: 0 ok, 12 created" in done.out
    assert "12 tenants: 12 ok, 0 failed" in done.out and "nothing to do" in done.out
    assert "12 databases, one a tenant:\n5 on eu1, 5 on eu2, 2 on us1" in done.out
    (row,) = (line.split() for line in done.lines if re.match(r"acme +telemetry_acme +eu1 ", line))
    assert row[3] == "ok" and int(row[4]) > 0  # how much is in it
    assert "stand-in" in done.out
    assert "influxops demo --keep" in done.out
    assert "invalid" not in done.all  # no configured server was contacted


def test_what_is_kept_can_be_used_from_another_terminal(alone: Cli) -> None:
    with alone.running("demo", "--keep") as demo:
        try:
            assert demo.stdout is not None
            variables, shown = {}, []
            for line in demo.stdout:
                shown.append(line)
                if line.startswith("  export "):
                    name, _, value = line.removeprefix("  export ").strip().partition("=")
                    variables[name] = value
                if line.startswith("Ctrl-C"):
                    break
            assert {"PG_HOST", "PG_PORT", "INFLUXOPS_CONFIG"} <= variables.keys(), shown
            other = Cli(alone.folder, {**variables, "TMPDIR": alone.variables["TMPDIR"]})
            assert other("plan", "--detailed-exitcode").code == 0
            assert other("where", "acme").out.startswith("eu1  http://127.0.0.1:")
        finally:
            demo.send_signal(signal.SIGINT)
            out, _ = demo.communicate(timeout=60)
        assert demo.returncode == 0
        assert "stopped and removed" in out


def test_ctrl_c_leaves_nothing_behind(alone: Cli) -> None:
    process = subprocess.Popen(
        [str(PROGRAM), "demo"],
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
        for line in process.stdout:
            if line.startswith("$ influxops ensure"):
                os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all of them
                break
        rest = process.stdout.read()
        assert process.wait(60) == 130
    assert "stopped and removed" in rest


@pytest.mark.parametrize(
    ("hide", "options", "says"),
    [
        (
            "import importlib.util as u; real = u.find_spec;"
            "u.find_spec = lambda n, p=None: None if n == 'datafusion' else real(n, p);",
            [],
            r"pip install .*\[demo\]",
        ),
        (
            "import shutil; shutil.which = lambda *_, **__: None;",
            ["--routing"],
            "apt-get install nginx",
        ),
    ],
)
def test_without_what_it_needs_the_demo_says_what_to_install(
    alone: Cli, hide: str, options: list[str], says: str
) -> None:
    start = f"{hide}from influxops.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "demo", *options],
        cwd=alone.folder,
        env=alone.environment(None),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(says, done.stderr)


def test_its_routing_is_shown_alone(alone: Cli) -> None:
    for other in ("--keep", "--web"):
        done = alone("demo", "--routing", other)
        assert done.code == 2
        assert "--routing is shown alone" in done.err
