"""Whether a plugin's hooks have the names and arguments that the engine calls."""

from __future__ import annotations

from inspect import signature
from typing import Any

from influxops.constants import PROJECT
from influxops.domain.text import did_you_mean
from influxops.plugin_host import hookspecs


def validate_hooks(plugin: type[Any]) -> str:
    """Return what is wrong with the names and arguments of a class's hooks; empty for nothing.

    Args:
        plugin: The class.
    """
    known = {
        name: [*signature(spec).parameters]
        for name, spec in vars(hookspecs).items()
        if name.startswith(f"{PROJECT}_")
    }
    wrong = []
    for name in dir(plugin):
        method = getattr(plugin, name, None)
        is_marked = hasattr(method, f"{PROJECT}_impl")
        if is_marked and name not in known:
            wrong.append(
                f"no hook is called {name} ({did_you_mean(name, known) or 'see docs/plugins.md'})"
            )
        elif name in known and not is_marked:
            wrong.append(f"{name} lacks @hookimpl")
        elif is_marked and callable(method):
            for argument in [*signature(method).parameters][1:]:
                if argument not in known[name]:
                    takes = ", ".join(known[name]) or "nothing"
                    wrong.append(f"{name} has no argument {argument}; it may take {takes}")
    return "; ".join(wrong)
