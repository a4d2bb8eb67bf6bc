"""The command line in a process of its own for each command, without importing it each time.

A server process imports all of influxops once, has no threads, and forks for each command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.command import STUCK, Cli, Result

_SERVER = """
import importlib, io, json, os, pkgutil, sys

for package in json.loads(sys.argv[1]):
    folder = os.path.dirname(importlib.import_module(package).__file__)
    for module in pkgutil.walk_packages([folder], package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

def run(order):
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    for number, path in enumerate((os.devnull, order["out"], order["err"])):
        flags = os.O_NOCTTY | (os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(os.open(path, flags), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    out = open(1, "wb", buffering=0, closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(out), "utf-8", line_buffering=out.isatty())
    err = open(2, "wb", buffering=0, closefd=False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(err), "utf-8", line_buffering=True)
    sys.argv = ["influxops", *order["arguments"]]
    from influxops.cli.main import main
    code = 0
    try:
        code = main() or 0
    except SystemExit as error:
        code = error.code or 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)

answers = os.fdopen(os.dup(1), "w", buffering=1)
answers.write("ready\\n")
for line in sys.stdin:
    child = os.fork()
    if not child:
        run(json.loads(line))
    _, status = os.waitpid(child, 0)
    answers.write(f"{os.waitstatus_to_exitcode(status)}\\n")
"""
_ROOT = Path(__file__).parents[2]


class ForkServer:
    """Runs commands, one at a time."""

    def __init__(self) -> None:
        packages = ["influxops", *sorted(p.name for p in (_ROOT / "plugins").glob("influxops_*"))]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, json.dumps(packages)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._answer() == "ready"

    def run(
        self, arguments: list[str], cwd: Path, env: Mapping[str, str], out: str, err: str
    ) -> int:
        """Run a command to its end.

        Args:
            arguments: What follows `influxops`.
            cwd: Where it runs.
            env: All of its variables.
            out: The file or terminal that is its standard output.
            err: The file that is its standard error.
        """
        order = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "out": out, "err": err}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        return int(self._answer())

    def close(self) -> None:
        """End the server."""
        with self._process:  # closes both pipes
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(STUCK)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(frozen=True)
class ForkedCli(Cli):
    """The command line, by a fork server."""

    server: ForkServer | None = None

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = STUCK
    ) -> Result:
        """Run `influxops` to its end."""
        assert self.server is not None
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            environment = self.environment(env)
            code = self.server.run([*arguments], self.folder, environment, out.name, err.name)
            done = Result(code, out.read(), err.read())
        assert "Traceback" not in done.err, done.err
        return done

    def on_terminal(self, arguments: list[str], env: Mapping[str, str], out: int, err: str) -> int:
        """Run `influxops` to its end at a terminal."""
        assert self.server is not None
        environment = self.environment(env)
        return self.server.run(arguments, self.folder, environment, os.ttyname(out), err)
