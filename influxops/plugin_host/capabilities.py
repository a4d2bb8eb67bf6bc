"""What a target's class declares of its kind, checked before planning believes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import fields, replace

from influxops.domain.database import TargetCapabilities
from influxops.errors import PluginError, PluginLoadError


def checked_capabilities(plugin: type[Any], owner: str) -> TargetCapabilities:
    """Return what a target's class declares; its rules raise nothing but a PluginError.

    Raises:
        PluginLoadError: When it is no `TargetCapabilities`, or one with a field of a wrong type.
    """
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
