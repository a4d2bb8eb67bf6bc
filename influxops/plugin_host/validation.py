"""The hooks of a plugin's class, checked before the engine believes that it has them."""

from __future__ import annotations

from inspect import signature
from typing import Any

from influxops.constants import PROJECT
from influxops.domain.text import did_you_mean
from influxops.plugin_host.hookspecs import OPTIONAL, REQUIRED, hooks_of


def implements(plugin: type[Any], hook: str) -> bool:
    """Return whether a plugin's class implements a hook; one that only wraps it does not."""
    marked = getattr(getattr(plugin, hook, None), f"{PROJECT}_impl", None)
    return marked is not None and not (marked["wrapper"] or marked["hookwrapper"])


def unimplemented(plugin: type[Any]) -> list[str]:
    """Return the mixins of a plugin's class whose hook it does not implement."""
    return [
        f"{name} of its base class {spec.__name__} is not implemented"
        for spec in OPTIONAL
        for name, hook in hooks_of(spec).items()
        if getattr(plugin, name, None) is hook
    ]


def validate_hooks(plugin: type[Any]) -> str:
    """Return what is wrong with the names and arguments of a class's hooks; empty for nothing."""
    known = {
        name: [*signature(hook).parameters][1:]
        for spec in (*REQUIRED.values(), *OPTIONAL)
        for name, hook in hooks_of(spec).items()
    }
    wrong = unimplemented(plugin)
    for name in dir(plugin):
        method = getattr(plugin, name, None)
        is_marked = hasattr(method, f"{PROJECT}_impl")
        if is_marked and name not in known:
            hint = did_you_mean(name, known) or "see `influxops docs plugins`"
            wrong.append(f"no hook is called {name} ({hint})")
        elif name in known and not is_marked and not hasattr(method, f"{PROJECT}_spec"):
            wrong.append(f"{name} lacks @hookimpl")
        elif is_marked and callable(method):
            for argument in [*signature(method).parameters][1:]:
                if argument not in known[name]:
                    takes = ", ".join(known[name]) or "nothing"
                    wrong.append(f"{name} has no argument {argument}; it may take {takes}")
    return "; ".join(wrong)
