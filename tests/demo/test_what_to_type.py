"""What the demonstration tells to type works in the terminal that it is read in."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.command import PROGRAM

SAY = "from influxops_demo.walkthrough import path, program; print(program()); print(path())"


def said(cwd: Path, *folders: Path) -> list[str]:
    """What is said to type in a folder, with these folders first in PATH."""
    return subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=cwd,
        env={**os.environ, "PATH": ":".join([*map(str, folders), "/usr/bin", "/bin"])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()


def version(cwd: Path, command: str) -> str:
    """What a shell without this installation in PATH makes of it."""
    return subprocess.run(
        ["/bin/sh", "-c", f"{command} --version"],
        cwd=cwd,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_where_path_leads_to_it_the_name_is_enough(tmp_path: Path) -> None:
    assert said(tmp_path, PROGRAM.parent) == ["influxops", "None"]


@pytest.mark.parametrize("other", [False, True])
def test_where_path_leads_nowhere_or_elsewhere_the_path_is_said(
    tmp_path: Path, other: bool
) -> None:
    if other:
        (tmp_path / "influxops").write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / "influxops").chmod(0o755)
    program, folder = said(tmp_path, tmp_path)
    assert version(tmp_path, program).startswith("influxops ")
    assert version(tmp_path, f"PATH={shlex.quote(folder)}:$PATH; influxops").startswith("influxops")


def test_in_a_clone_the_path_is_short() -> None:
    clone = PROGRAM.parents[2]
    program, _ = said(clone)
    assert program == str(PROGRAM.relative_to(clone))
    assert version(clone, program).startswith("influxops ")


def test_the_program_that_was_started_is_the_one_that_is_said(tmp_path: Path) -> None:
    started = tmp_path / "my programs" / "influxops"
    started.parent.mkdir()
    started.write_text(SAY)
    said = subprocess.run(
        [sys.executable, str(started)], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert said == ["'my programs/influxops'", str(started.parent)]
