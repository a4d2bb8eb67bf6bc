"""How large the product is, how its modules lie and import each other, and what passes an id.

python -m bench shape [--names]

Four figures, of the checkout that this file is in; nothing in here names a module of it.

* Lines: of all `.py` files below influxops/ and plugins/, the Ansible modules and tests apart.
* Folders: the modules of each beside `__init__`; a folder with more than 14, and a prefix that
  three modules of a folder share, is named.
* Imports: the circles (modules that import each other, straight or through others), by the imports
  that run when a module is imported, and with those inside functions and those for type checkers;
  and how many imports are inside functions.
* The way of a tenant's id in a real `influxops ensure TENANT` that makes its database, without a
  ledger and with one, from the first row of PostgreSQL that holds the id to the request to InfluxDB
  that writes it, and to the end of the run. It passes a module with each call or return of a
  function there that has the id among its local values or returns it; it is wrapped by each class
  of the product whose values (structs, dataclasses, named tuples) hold it there. A value is looked
  into, through values and collections, six levels deep.

`--names` lists what else is only counted.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import grimp
import msgspec
from psycopg.pq import PGresult

ROOT = Path(__file__).parents[1]
ID = "tracer-tenant"
_DEPTH = 6
_MOST_MODULES = 14
_MOST_ALIKE = 2
#: The folders of the product; below the second one, each folder is a package.
_CORE, _PLUGINS = ROOT / "influxops", ROOT / "plugins"
_PRODUCT = (f"{_CORE}/", f"{_PLUGINS}/")
_LEDGER = """
[sources.registry]
kind = "postgres"
[ledger]
kind = "postgres"
[targets.eu1]
kind = "influxdb3"
url = "{url}"
"""


def short(path: str | Path) -> str:
    return str(path).removeprefix(f"{ROOT}/").removeprefix("plugins/")


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def lines(*folders: Path) -> int:
    paths = (path for folder in folders for path in modules(folder))
    return sum(path.read_text(encoding="utf-8").count("\n") for path in paths)


def sizes() -> None:
    core, plugins = lines(_CORE), lines(_PLUGINS)
    print(f"lines: {core + plugins:,} (influxops/ {core:,}, plugins/ {plugins:,})")
    ordered = sorted(_PLUGINS.iterdir(), key=lines, reverse=True)
    print("  " + ", ".join(f"{each.name} {lines(each):,}" for each in ordered if each.is_dir()))
    print(f"  besides: Ansible's modules {lines(ROOT / 'ansible'):,}", end="")
    print(f", tests {lines(ROOT / 'tests'):,}, bench {lines(ROOT / 'bench'):,}")


def folders(*, names: bool) -> None:
    held = Counter[Path]()
    alike = Counter[tuple[Path, str]]()
    for path in [*modules(_CORE), *modules(_PLUGINS)]:
        if path.stem != "__init__":
            held[path.parent] += 1
            alike[path.parent, path.stem.partition("_")[0]] += 1
    large = [folder for folder, number in held.items() if number > _MOST_MODULES]
    print(
        f"folders: {len(held)}, of {sum(held.values())} modules; {len(large)} have more than"
        f" {_MOST_MODULES}, the largest {max(held.values())}"
    )
    for folder, number in sorted(held.items(), key=lambda each: -each[1]):
        if names or folder in large:
            print(f"  {number:3} {short(folder)}/")
    for (folder, prefix), number in sorted(alike.items(), key=lambda each: -each[1]):
        if number > _MOST_ALIKE:
            print(f"  {number:3} {short(folder)}/{prefix}*")


def inside_functions(tree: ast.AST, inside: bool = False) -> Iterator[int]:
    """Yield the line of each import statement inside a function."""
    for node in ast.iter_child_nodes(tree):
        if inside and isinstance(node, ast.Import | ast.ImportFrom):
            yield node.lineno
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from inside_functions(node, inside or is_function)


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Return the groups of modules that reach each other, the largest first."""
    found, left = list[list[str]](), sorted(graph.modules)
    while left:
        circle = graph.find_downstream_modules(left[0]) & graph.find_upstream_modules(left[0])
        if circle:
            found.append(sorted(circle | {left[0]}))
        left = [module for module in left[1:] if module not in circle]
    return sorted(found, key=len, reverse=True)


def imports(*, names: bool) -> None:
    packages = [_CORE.name, *(path.parent.name for path in _PLUGINS.glob("*/__init__.py"))]
    graph = grimp.build_graph(*packages, cache_dir=None)
    running = grimp.build_graph(*packages, cache_dir=None, exclude_type_checking_imports=True)
    late: dict[str, set[int]] = {}
    for path in [*modules(_CORE), *modules(_PLUGINS)]:
        name = short(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        late[name] = set(inside_functions(ast.parse(path.read_text(encoding="utf-8"))))
    for importer in running.modules:
        for imported in running.find_modules_directly_imported_by(importer):
            details = running.get_import_details(importer=importer, imported=imported)
            if all(each["line_number"] in late[importer] for each in details):
                running.remove_import(importer=importer, imported=imported)
    for what, each in (("that run when a module is imported", running), ("of any kind", graph)):
        found = circles(each)
        print(f"circles of imports {what}: {len(found)}, of {sum(map(len, found))} modules")
        for circle in found:
            print(f"  {len(circle):3} {' '.join(circle)}")
    print(f"imports inside functions: {sum(map(len, late.values()))}")
    for name, at in sorted(late.items(), key=lambda each: -len(each[1])):
        if names and at:
            print(f"  {len(at):3} {name}")


def wraps(value: Any, depth: int = _DEPTH) -> set[str] | None:
    """Return the classes of the product that hold the id in a value; None where none has it."""
    if isinstance(value, str | bytes):
        held = ID in value if isinstance(value, str) else ID.encode() in value
        return set() if held else None
    kind = type(value)
    parts: list[Any]
    if depth == 0 or isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        parts = [getattr(value, name, None) for name in value.__struct_fields__]
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    else:
        return None
    inner = [found for part in parts if (found := wraps(part, depth - 1)) is not None]
    if not inner:
        return None
    source = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    own = {f"{kind.__module__}.{kind.__qualname__}"} if source.startswith(_PRODUCT) else set()
    return own.union(*inner)


def has_row(values: Iterable[Any]) -> bool:
    """Tell whether results of PostgreSQL, or lists of them, have the id in a row."""
    flat = (each for value in values for each in (value if isinstance(value, list) else [value]))
    return any(
        ID.encode() in (result.get_value(row, column) or b"")
        for result in flat
        if isinstance(result, PGresult)
        for row in range(result.ntuples)
        for column in range(result.nfields)
    )


class Tracer:
    """Notes each call and return of the product that has the id, once a row brought it."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.wrapped: dict[str, int] = {}
        self.sent: int | None = None
        self._has_row = False
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        path = frame.f_code.co_filename
        if event not in ("call", "return"):
            return
        if not self._has_row:
            self._has_row = "/psycopg/" in path and has_row(frame.f_locals.values())
        elif path.startswith(_PRODUCT):
            values = [*frame.f_locals.values(), arg if event == "return" else None]
            found = [classes for value in values if (classes := wraps(value)) is not None]
            if found:
                with self._lock:
                    for name in set[str]().union(*found):
                        self.wrapped.setdefault(name, len(self.passed))
                    self.passed.append(short(path))
        elif self.sent is None and frame.f_code.co_name == "putrequest":
            # The id in the URL of a request that changes something: the write that creates.
            is_write = frame.f_locals.get("method") not in ("GET", "HEAD")
            if is_write and ID in str(frame.f_locals.get("url")):
                self.sent = len(self.passed)


def run(main: Callable[[], object], *arguments: str, tracer: Tracer | None = None) -> None:
    """Run the command line in this process."""
    sys.argv = ["influxops", *arguments]
    code: object = 0
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(output),
    ):
        threading.setprofile(tracer)
        sys.setprofile(tracer)
        try:
            code = main()
        except SystemExit as error:
            code = error.code
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if code or (tracer and tracer.sent is None):
        sys.exit(f"influxops {' '.join(arguments)} ended with {code}:\n{output.getvalue()}")


def trace(*, ledger: bool) -> Tracer:
    """Run `influxops ensure TENANT` for one of two tenants."""
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
    ):
        db.registry("another", ID)
        os.environ.update(db.environment, INFLUXDB_URL=stand_in.url)
        main = entry.load()
        if ledger:
            Path("influxops.toml").write_text(_LEDGER.format(url=stand_in.url), encoding="utf-8")
            run(main, "ledger", "install")
            run(main, "ensure", "another")
        run(main, "ensure", ID, tracer=tracer)
    return tracer


def way(title: str, tracer: Tracer, *, names: bool) -> None:
    """Print what the id passes, and what wraps it."""
    print(f"ensure TENANT, {title}:")
    for until, end in (("request", tracer.sent), ("end of the run", len(tracer.passed))):
        assert end is not None
        passed: Sequence[str] = tracer.passed[:end]
        distinct = list(dict.fromkeys(passed))
        classes = [name for name, at in tracer.wrapped.items() if at < end]
        switches = len(list(groupby(passed))) - 1
        print(
            f"  from the row to the {until}: {len(distinct)} modules,"
            f" {switches} switches between them, wrapped {len(classes)} times"
        )
        if names:
            print(f"    passes {' '.join(distinct)}\n    is in {' '.join(classes)}")


def main(*, names: bool) -> None:
    """Print all of it."""
    sizes()
    folders(names=names)
    imports(names=names)
    for title, ledger in (("no ledger", False), ("with a ledger", True)):
        way(title, trace(ledger=ledger), names=names)
