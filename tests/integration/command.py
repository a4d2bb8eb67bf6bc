"""The real command line, run as a user runs it: a process of its own with an environment."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("influxops")
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
    """Runs commands in a folder with nothing but the given variables of ours."""

    folder: Path
    variables: Mapping[str, str]

    def environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
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
        done = subprocess.run(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if not {"-v", "-vv"} & set(arguments):
            assert "Traceback" not in done.stderr, done.stderr
        assert "this is a fault in influxops" not in done.stderr, done.stderr
        return Result(done.returncode, done.stdout, done.stderr)

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
        process = subprocess.Popen(
            [*(program or [str(PROGRAM)]), *arguments],
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def at_terminal(
        self, *arguments: str, env: Mapping[str, str] | None = None, columns: int = 120
    ) -> Result:
        """Run `influxops` to its end at a terminal; all that it shows is `out`.

        Args:
            *arguments: Its arguments.
            env: Further variables; `TERM` is `xterm-256color` without it.
            columns: How wide the terminal is.
        """
        terminal, inside = pty.openpty()
        environment = self.environment({"TERM": "xterm-256color", **(env or {})})
        environment.pop("COLUMNS", None)
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        with subprocess.Popen(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=inside,
            stderr=inside,
        ) as process:
            os.close(inside)
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
