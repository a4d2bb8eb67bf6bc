"""Plugins in files that the configuration names: for a first try, before there is a package."""

from __future__ import annotations

import importlib.util
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from influxops.config.load import ROLE_NAMES, Config
from influxops.config.settings import PluginSettings
from influxops.domain.text import one_line
from influxops.errors import PluginLoadError
from influxops.plugin_host.discovery import PluginType


def all_kinds(config: Config, kinds: Mapping[str, PluginType]) -> Mapping[str, PluginType]:
    """Return the kinds, and those of the files that a configuration names.

    A file's name is the kind: `./crm.py` has the source, the target, the reporter `crm`.
    """
    if not config.plugin_files:
        return kinds
    found = dict(kinds)
    for path in config.plugin_files:
        for role, offered in _of_file(path):
            name = f"{role}.{offered.name}"
            taken = found.get(name) or found.get(offered.name)
            if taken is not None:
                raise _refused(
                    path,
                    f"{taken.distribution} has a {ROLE_NAMES[role]} of this kind, too",
                    "rename the file: its name is the kind",
                )
            found[name] = offered
    return found


def _of_file(path: Path) -> Iterator[tuple[Any, PluginType]]:
    """Yield the plugins of a file, each with a role that it serves in."""
    module = _module(path)
    classes = [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and isinstance(settings := getattr(each, "Settings", None), type)
        and issubclass(settings, PluginSettings)
    ]
    by_role: dict[str, type[Any]] = {}
    for each in classes:
        offered = PluginType(path.stem, plugin=each, origin=one_line(str(path)))
        for role in offered.roles(each):
            if role in by_role:
                both = f"{by_role[role].__name__} and {each.__name__}"
                raise _refused(path, f"it has two of a kind, {both}", "give each a file of its own")
            by_role[role] = each
            yield role, offered
    if not by_role:
        raise _refused(path, "it has no plugin", "`influxops docs plugins` shows what one is")


def _module(path: Path) -> Any:
    """Import a file, once in a process: its classes stay the same for all engines."""
    try:
        for each in (path, path.parent):
            if each.stat().st_mode & stat.S_IWOTH:
                raise _refused(path, f"everybody may write to {each}", f"chmod o-w {each}")
    except OSError as error:
        raise _refused(path, str(error.strerror), "check the path") from None
    name = f"influxops_file:{path.resolve()}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise _refused(path, "it is no Python file", "its name ends with .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # what its classes name is looked up there
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception | SystemExit):
                raise
            why = f"it cannot be imported: {type(error).__name__}: {error}"
            raise _refused(path, why, "-vv shows where") from error
    return sys.modules[name]


def _refused(path: Path, why: str, hint: str) -> PluginLoadError:
    return PluginLoadError(f"the plugin {one_line(str(path))}: {one_line(why)}", hint=hint)
