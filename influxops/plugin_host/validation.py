"""What a plugin's class declares, checked before the engine believes it: hooks and capabilities."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from influxops.constants import PROJECT
from influxops.domain.database import TargetCapabilities
from influxops.domain.text import did_you_mean
from influxops.errors import PluginError, PluginLoadError
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


def checked_capabilities(plugin: type[Any], owner: str) -> TargetCapabilities:
    """Return what a target's class declares; its rules raise nothing but a PluginError."""
    declared = getattr(plugin, "capabilities", TargetCapabilities())
    if not isinstance(declared, TargetCapabilities):
        raise _unfit(owner, f"`capabilities` is {type(declared).__name__}, not TargetCapabilities")
    rules = {}
    for each in fields(TargetCapabilities):
        value = getattr(declared, each.name)
        if each.name.startswith("validate_"):
            if not callable(value):
                raise _unfit(owner, f"`{each.name}` is {type(value).__name__}, not a function")
            rules[each.name] = _guarded(value, each.name, owner)
            continue
        try:
            msgspec.convert(value, each.type)
        except msgspec.ValidationError as error:
            raise _unfit(owner, f"`{each.name}` of its capabilities: {error}") from None
    return replace(declared, **rules)


def _guarded(rule: Callable[[str], str], name: str, owner: str) -> Callable[[str], str]:
    def guarded(text: str) -> str:
        try:
            broken = rule(text)
            if not isinstance(broken, str):
                raise TypeError(f"it gave {type(broken).__name__}, not text")
        except Exception as error:
            raise PluginError(
                f"{owner}: `{name}` of its capabilities broke: {type(error).__name__}: {error}",
                hint="-vv shows where; tell its author",
            ) from error
        return broken

    return guarded


def _unfit(owner: str, why: str) -> PluginLoadError:
    return PluginLoadError(f"{owner} cannot be used: {why}", hint="tell its author")
