"""How a command of this installation is typed in a terminal, where PATH may not lead to it."""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from pathlib import Path


def program() -> str:
    """Give what to type for `influxops`: its name, or its path where that name finds no or another.

    The path is relative where the program is below the current folder, as in a clone.
    """
    own = _own()
    found = shutil.which("influxops")
    if found is not None and own.exists() and own.samefile(found):
        return "influxops"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def path() -> str | None:
    """Give the folder that another terminal needs in PATH; None where PATH has it."""
    return None if program() == "influxops" else str(_own().parent)


def _own() -> Path:
    started = Path(sys.argv[0])
    if started.name == "influxops" and started.is_file():
        return started.absolute()
    return Path(sysconfig.get_path("scripts")) / "influxops"  # started as `python -m influxops`
