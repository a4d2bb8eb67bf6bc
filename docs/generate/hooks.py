"""The hooks of plugins and the values that they give and take, from the code."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from msgspec import NODEFAULT
from msgspec.structs import FieldInfo, fields

from docs.generate.pages import code, comments, head, table, wrapped
from influxops.plugin import base, ledger, reporter, source, target
from influxops.plugin_host.hookspecs import API_VERSION, OPTIONAL, REQUIRED, hooks_of
from influxops.runtime.context import RunContext

#: Who implements the hooks of a mixin: the module from which it is imported.
_KINDS = {
    "a source": (source, REQUIRED["sources"]),
    "a target": (target, REQUIRED["targets"]),
    "a ledger": (ledger, REQUIRED["ledger"]),
    "a reporter": (reporter, REQUIRED["reporters"]),
    "any plugin": (base, None),
}
#: What hooks do not name themselves.
_OTHERS = ("Location", "TargetCapabilities")
#: What other pages have.
_ELSEWHERE = ("ExitCode", "FindingKind")


def page() -> str:
    """Return docs/reference/hooks.md."""
    lines = head(
        "Hooks of plugins",
        f"Version {API_VERSION} of the plugin API: each hook with its contract, and each value "
        "with its fields. All of it is imported from `influxops.plugin`; [writing a "
        "plugin](../plugins.md) says how.",
        "A plugin must implement the hooks of its base class. It may implement others: what is "
        "imported from the mixin is its signature alone. `context` is the last argument of every "
        "hook, and a hook may leave out arguments that it does not need. Where a field has a "
        "default it may be left out.",
    )
    for who, specs in hooks_by_kind().items():
        lines += [f"## Hooks of {who}", ""]
        for spec in specs:
            for name, hook in hooks_of(spec).items():
                lines += _hook(name, hook, spec)
    lines += ["## The run", "", *wrapped(_docstring(RunContext).split("\n\n")[0]), ""]
    lines += table(("`context.…`", "what it is"), _members(RunContext))
    lines += ["## Values", ""]
    lines += wrapped(
        "A `FindingKind` is one of the [kinds of findings](findings.md), an `ExitCode` one of the "
        "[exit codes](commands.md#exit-codes)."
    )
    lines.append("")
    for value in values():
        lines += _value(value)
    return "\n".join(lines).rstrip() + "\n"


def hooks_by_kind() -> dict[str, list[type]]:
    """Return the classes that specify hooks, by who implements them: what it must comes first."""
    found = {}
    for who, (module, required) in _KINDS.items():
        may: list[type] = [spec for spec in OPTIONAL if spec.__name__ in module.__all__]
        found[who] = [required, *may] if required is not None else may
    return found


def values() -> list[Any]:
    """Return the values that hooks give and take, and what these consist of, by their names."""
    found: dict[str, Any] = {}
    waiting = [
        name
        for specs in hooks_by_kind().values()
        for spec in specs
        for hook in hooks_of(spec).values()
        for each in inspect.signature(hook).parameters.values()
        for name in _names(f"{each.annotation} {inspect.signature(hook).return_annotation}")
    ] + [*_OTHERS]
    while waiting:
        name = waiting.pop()
        value: Any = _find(name)
        if value is None or name in found or name in _ELSEWHERE:
            continue
        found[name] = value
        if not issubclass(value, Enum):
            waiting += [each for field in fields(value) for each in _names(_type(value, field))]
    return [found[name] for name in sorted(found)]


def _names(annotation: str) -> list[str]:
    return re.findall(r"[A-Z]\w+", annotation)


def _find(name: str) -> type | None:
    """Return the value of this name that the core has; None where there is none."""
    for module in [*sys.modules.values()]:
        if module.__name__.startswith("influxops.") and isinstance(
            found := vars(module).get(name), type
        ):
            is_value = hasattr(found, "__struct_fields__") or issubclass(found, Enum)
            return found if is_value and found.__module__.startswith("influxops.") else None
    return None


def _hook(name: str, hook: Any, spec: type) -> Iterator[str]:
    signature = inspect.signature(hook)
    given = [str(each).replace("'", "") for each in [*signature.parameters.values()][1:]]
    gives = str(signature.return_annotation).replace("'", "")
    need = "must" if spec in REQUIRED.values() else f"may, mixin `{spec.__name__}`"
    yield from (f"### {name}", "", f"*{need}*", "", "```python")
    yield from (f"def {name}(self, {', '.join(given)}) -> {gives}", "```", "")
    yield from _paragraphs(_docstring(hook))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield a docstring as Markdown; its sections are lists."""
    for block in re.split(r"\n\n", text):
        title, _, rest = block.partition("\n")
        if title.endswith(":") and rest.startswith("    "):
            rest = textwrap.dedent(rest)
            items = re.split(r"\n(?=\S)", rest) if title in ("Args:", "Raises:") else [rest]
            yield from (f"{title}", "")
            for item in items:
                label, colon, says = item.partition(": ")
                is_named = colon and re.fullmatch(r"\w+", label)
                words = f"`{label}`: {says}" if is_named else item
                text = f"- {' '.join(words.split())}"
                yield from textwrap.wrap(text, 100, subsequent_indent="  ")
            yield ""
        else:
            yield from (*wrapped(" ".join(block.split())), "")


def _members(owner: type) -> Iterator[tuple[str, str]]:
    """Yield the public attributes and methods of a class, and what each is."""
    arguments = dict(re.findall(r"^    (\w+): ((?:.+\n?(?: {8}.+\n?)*))", _docstring(owner), re.M))
    own = re.findall(r"self\.([a-z]\w*) = .*?  # (.+)", inspect.getsource(owner))
    for name, says in (*arguments.items(), *own):
        yield code(name), says
    for name, member in vars(owner).items():
        if name.startswith("_") or name in arguments:
            continue
        if isinstance(member, property):
            yield code(name), _summary(member)
        elif inspect.isfunction(member):
            taken = [*inspect.signature(member).parameters][1:]
            yield code(f"{name}({', '.join(taken)})"), _summary(member)


def _summary(member: object) -> str:
    return _docstring(member).split("\n\n")[0]


def _docstring(member: object) -> str:
    return inspect.cleandoc(inspect.getdoc(member) or "")


def _value(value: Any) -> Iterator[str]:
    yield from (f"### {value.__name__}", "", *wrapped(_summary(value)), "")
    said = comments(value)
    if issubclass(value, Enum):
        # What a docstring says of the members it says of all of them.
        if more := _docstring(value).split("\n\n")[1:]:
            yield from (*wrapped(" ".join(" ".join(more).split())), "")
        columns = ("member", "value", "what it says")[: 3 if said else 2]
        rows = ((code(each.name), code(str(each.value)), said.get(each.name, "")) for each in value)
        yield from table(columns, (row[: len(columns)] for row in rows))
    else:
        yield from table(
            ("field", "type", "default", "what it is"),
            (
                (code(each.name), code(_type(value, each)), _default(each), said.get(each.name, ""))
                for each in fields(value)
            ),
        )


def _type(value: Any, field: FieldInfo) -> str:
    """Return a field's type as it is written."""
    for owner in value.__mro__:
        if written := vars(owner).get("__annotations__", {}).get(field.name):
            return str(written)
    raise LookupError(field.name)


def _default(field: FieldInfo) -> str:
    if field.required:
        return "must be given"
    if field.default_factory is not NODEFAULT:
        made = field.default_factory()
        made = dict(made) if isinstance(made, Mapping) else made
        return code(repr(made)) if made in ({}, [], ()) else ""
    if callable(field.default):
        return ""
    return code(str(field.default) if isinstance(field.default, Enum) else repr(field.default))
