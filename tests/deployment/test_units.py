"""The units for systemd: what systemd says of them, and that their commands are such."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from influxops.cli.app import cli as program
from tests.deployment.prometheus import FILES
from tests.integration.command import Cli
from tests.project.test_blocks import command

UNITS = sorted(file for file in FILES.iterdir() if file.suffix in (".service", ".timer"))
ANALYZE = shutil.which("systemd-analyze") or ""


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed: apt-get install systemd")
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    own = Path(sys.executable).with_name("influxops")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/influxops/bin/influxops", str(own))
        (tmp_path / unit.name).write_text(text.replace("User=influxops", "User=root"))
    files = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run([ANALYZE, "verify", *files], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if any(u.name in line for u in UNITS)]
    assert not said
    assert done.returncode == 0, done.stderr


def test_their_commands_are_such_that_there_are() -> None:
    started = {}
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.*)$", unit.read_text(), flags=re.MULTILINE):
            path, *arguments = shlex.split(line)
            assert path == "/opt/influxops/bin/influxops"
            command(shlex.join(["influxops", *arguments]))
            started[unit.name] = next(
                each
                for each in arguments
                if each in program.commands or (not each.startswith(("-", "/")))
            )
    assert started == {
        "influxops-ensure.service": "ensure",
        "influxops-retire.service": "retire",
        "influxops-serve.service": "serve",
        "influxops-worker.service": "worker",
    }
    timers = {unit.stem for unit in UNITS if unit.suffix == ".timer"}
    assert timers < {unit.stem for unit in UNITS if unit.suffix == ".service"}


def test_a_command_prints_each_file_as_it_is(cli: Cli) -> None:
    listed = {each["page"] for each in cli("docs", "--format", "json").json}
    assert {file.name for file in FILES.iterdir()} <= listed
    for unit in UNITS:
        assert cli("docs", unit.name).out.rstrip() == unit.read_text().rstrip()
