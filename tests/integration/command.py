"""The real command line, run as a user runs it: a process of its own with an environment."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.fork_server import PROGRAM, Forked, can_fork

__all__ = ["PROGRAM", "STUCK", "Cli", "Result", "ended"]

#: Seconds after which a command is called stuck; none of these tests takes a quarter of it.
STUCK = 60


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def fine(self) -> set[str]:
        """The databases that it calls as they should be, in its lines for a pipe."""
        return {line.split()[1].rstrip(":") for line in self.lines if line.startswith("OK ")}

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def all(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Cli:
    """Runs commands in a folder with nothing but the given variables of ours.

    Args:
        folder: The folder.
        variables: The variables.
        forks: Whether a process that has imported influxops is forked, where that is the same.
        columns: The width of what is no terminal; None leaves it to influxops.
    """

    folder: Path
    variables: Mapping[str, str]
    forks: bool = True
    columns: str | None = "120"

    def environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **({"COLUMNS": self.columns} if self.columns else {}),
            **self.variables,
            **(env or {}),
        }

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = STUCK
    ) -> Result:
        """Run `influxops` to its end.

        Args:
            *arguments: Its arguments.
            env: Further variables; an empty one is as good as none.
            timeout: Seconds after which it counts as stuck.
        """
        with self.running(*arguments, env=env) as process:
            done = ended(process, timeout)
        assert "this is a fault in influxops" not in done.err, done.err
        return done

    @contextlib.contextmanager
    def running(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = (),
    ) -> Iterator[subprocess.Popen[str]]:
        """Start `influxops`, to be signalled or waited for; killed if it is still there after.

        Args:
            *arguments: Its arguments.
            env: Further variables.
            program: What to start instead of it, with the same arguments.
        """
        pipe = subprocess.PIPE
        with self.start([*arguments], env, pipe, pipe, program=program) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str] | None,
        stdout: int,
        stderr: int,
        program: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start `influxops`, by a fork where that is the same.

        Args:
            arguments: Its arguments.
            env: Further variables.
            stdout: The file that is its standard output, or `subprocess.PIPE`.
            stderr: The file that is its standard error, or `subprocess.PIPE`.
            program: What to start instead of it, with the same arguments.
            stdin: The file that is its standard input.
        """
        environment = self.environment(env)
        forks = self.forks and not program and can_fork(environment)
        return (Forked if forks else subprocess.Popen)(
            [*(program or [str(PROGRAM)]), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def at_terminal(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        columns: int = 120,
        typed: str | None = None,
        err: bool = True,
    ) -> Result:
        """Run `influxops` to its end at a terminal; all that it shows is `out`.

        Args:
            *arguments: Its arguments.
            env: Further variables; `TERM` is `xterm-256color` without it.
            columns: How wide the terminal is.
            typed: What a person types there; None where standard input is no terminal.
            err: Whether standard error is the terminal, too; else it goes nowhere.
        """
        terminal, inside = pty.openpty()
        without = replace(self, columns=None)
        variables = {"TERM": "xterm-256color", **(env or {})}
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        stdin = subprocess.DEVNULL if typed is None else inside
        stderr = inside if err else subprocess.DEVNULL
        with without.start(arguments, variables, inside, stderr, stdin=stdin) as process:
            os.close(inside)
            os.write(terminal, (typed or "").encode())
            shown = b""
            # Linux answers EIO when the last one that had it open has gone.
            with contextlib.suppress(OSError):
                while part := os.read(terminal, 1 << 16):
                    shown += part
            os.close(terminal)
            code = process.wait(STUCK)
        return Result(code, shown.decode().replace("\r\n", "\n"), "")

    def config(self, text: str, name: str = "influxops.toml") -> Path:
        """Write a configuration file into the folder, where it is found without being named."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


def ended(process: subprocess.Popen[str], timeout: float = STUCK) -> Result:
    """Wait for a started command."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)
