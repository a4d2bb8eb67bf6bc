"""How large the product is, and how many modules a tenant's id passes on its way to the server.

python bench/shape.py

The size counts the lines of every `.py` and packaged `.toml` file that git tracks below influxops/
and plugins/ (the Ansible modules are told apart). The way is that of one tenant in one real
`influxops ensure` which makes its database: each call and each return of a function of the product
in which the id is a local value or what is returned, itself, inside a text, or in a dataclass or
collection down to three levels. It is told up to the HTTP request that carries the id, and to the
end of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
ID = "tracer-tenant"
_DEPTH = 3
#: The folders of the product, each with what precedes a module's name in it.
_PRODUCT = (f"{ROOT}/influxops/", f"{ROOT}/plugins/")


def lines(*folders: str, suffixes: Sequence[str] = (".py", ".toml")) -> int:
    """Count the lines of tracked files below folders."""
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in listed if name.endswith(tuple(suffixes))]
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths if path.exists())


def holds(value: Any, depth: int = _DEPTH) -> bool:
    """Tell whether a value carries the id."""
    if isinstance(value, str):
        return ID in value
    if isinstance(value, bytes):
        return ID.encode() in value
    if depth == 0:
        return False
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    else:
        return False
    return any(holds(part, depth - 1) for part in parts)


class Tracer:
    """Notes the module of each call and return that has the id."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.sent: int | None = None
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "return"):
            return
        path = frame.f_code.co_filename
        if path.startswith(_PRODUCT):
            values = [*frame.f_locals.values(), arg if event == "return" else None]
            if any(holds(value) for value in values):
                with self._lock:
                    self.passed.append(path.removeprefix(f"{ROOT}/").removeprefix("plugins/"))
        elif (
            self.sent is None
            and frame.f_code.co_name == "putrequest"
            and path.endswith("http/client.py")
            and ID in str(frame.f_locals.get("url"))
        ):
            self.sent = len(self.passed)


def trace() -> Tracer:
    """Run `influxops ensure` for one tenant."""
    from influxops_devserver.testing import running_stand_in
    from tests.pg import new_database, postgres_server

    tracer = Tracer()
    (entry,) = entry_points(group="console_scripts", name="influxops")
    with (
        postgres_server() as server,
        new_database(server) as db,
        running_stand_in(wal_flush_interval="50ms") as stand_in,
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()) as said,
        contextlib.redirect_stderr(said),
    ):
        db.registry(ID)
        os.environ.update(db.environment, INFLUXDB_URL=stand_in.url)
        main, sys.argv = entry.load(), ["influxops", "ensure"]
        threading.setprofile(tracer)
        sys.setprofile(tracer)
        try:
            code = main()
        except SystemExit as error:
            code = error.code
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if code or tracer.sent is None:
        sys.exit(f"influxops ended with {code}:\n{said.getvalue()}")
    return tracer


def told(title: str, passed: Sequence[str]) -> None:
    """Print the modules on the way and how often it changes between them."""
    distinct = list(dict.fromkeys(passed))
    switches = len(list(groupby(passed))) - 1
    print(f"{title}: {len(distinct)} modules, {switches} switches between modules")
    for name in distinct:
        print(f"  {name}")


def main() -> None:
    core, plugins = lines("influxops"), lines("plugins")
    print(f"lines of product: {core + plugins:,} (influxops/ {core:,}, plugins/ {plugins:,})")
    demo = lines("plugins/influxops_demo") + lines("plugins/influxops_devserver")
    print(f"  of these the demo and its stand-in: {demo:,}")
    print(f"  besides: Ansible's modules {lines('ansible'):,}, tests {lines('tests'):,}")
    tracer = trace()
    told("from the SQL row to the HTTP request", tracer.passed[: tracer.sent])
    told("to the end of the run", tracer.passed)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
