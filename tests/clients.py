"""Programs of others that write to InfluxDB, of fixed versions, built or installed once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: What is kept of them, beside what `make` installs.
KEPT = Path(__file__).parents[1] / ".venv" / "clients"
_PYTHON = ("influxdb3-python==0.21.0", "reactivex==6.1.0")
_NODE = "@influxdata/influxdb3-client@2.1.0"
_TELEGRAF = "github.com/influxdata/telegraf/cmd/telegraf@v1.37.2"
#: The plugins that it is built with; without a choice it has all, and takes an hour.
_TAGS = "custom,inputs.file,parsers.influx,outputs.influxdb_v2"


def _install(command: list[str], **options: Any) -> None:
    """Run what brings a client, from the registries of its language; skip the test without them."""
    try:
        subprocess.run(command, check=True, timeout=1200, **options)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{command[0]} brings no client here: {error}")


def telegraf() -> Path:
    """Return Telegraf's program."""
    program = KEPT / "telegraf"
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not program.exists():
        env = {**os.environ, "GOBIN": str(KEPT)}
        _install([go, "install", "-tags", _TAGS, _TELEGRAF], env=env)
    return program


def python_client() -> Path:
    """Return the folder that has `influxdb_client_3`, for a process of its own."""
    folder = KEPT / "python"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
        _install([*pip, "--target", f"{folder}.new", *_PYTHON])
        Path(f"{folder}.new").rename(folder)
    return folder


def node_client() -> Path:
    """Return the folder whose scripts can require `@influxdata/influxdb3-client`."""
    folder = KEPT / "node"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
        _install([*npm, str(folder), _NODE], stdout=subprocess.DEVNULL)
        (folder / "done").touch()
    return folder
