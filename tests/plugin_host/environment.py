"""An environment of its own, in which pip installs plugins as anybody would."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path


def run(command: list[str], folder: Path) -> str:
    """Run a program in a folder to its end; return what it printed."""
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment; pip and all that influxops needs come from the one that runs this."""

    folder: Path

    def __call__(self, module: str, *arguments: str, cwd: Path | None = None) -> str:
        """Run a module with its Python; return what it printed."""
        python = self.folder / "bin" / "python"
        return run([str(python), "-m", module, *arguments], cwd or self.folder)

    @classmethod
    def make(cls, folder: Path, *distributions: Path) -> Environment:
        """Make one, and install distributions in it; nothing is downloaded."""
        venv.create(folder)
        (site,) = folder.glob("lib/python*/site-packages")
        outside = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (site / "outside.pth").write_text(outside)
        made = cls(folder)
        for name in ("influxops", "pip", "pytest"):
            script = folder / "bin" / name
            script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {name} "$@"\n')
            script.chmod(0o755)
        if not distributions:
            return made
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
        made("pip", "install", *options, "--disable-pip-version-check", *map(str, distributions))
        return made


#: The Python that runs this.
PYTHON = sys.executable
