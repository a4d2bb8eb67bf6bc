"""Reads CSV, JSON and YAML into entries, and says in which line something is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from influxops import SourceError
from influxops_files.entries import Entry, Value, id_name

_SHAPE = (
    "write a list of ids, or of objects with `id`, or an object whose key `tenants` holds such a "
    "list"
)
_YAML_KINDS = {
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:timestamp": "date",
}


def decode(data: bytes, source: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        SourceError: When it is something else; the message names the line.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{source}, line {line}: this is not UTF-8", hint="save the file as UTF-8"
        ) from None


def read_csv(text: str, source: str) -> Iterator[Entry]:
    """Read CSV: names in its first line, commas in between; an empty cell says nothing.

    Raises:
        SourceError: When there is no column for the id, or a line does not fit the first one.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        key = _csv_key(names, source)
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(names):
                raise SourceError(
                    f"{source}, line {line}: {len(cells)} cells, but the first line names "
                    f"{len(names)}",
                    hint="put a cell that has a comma in it into double quotes",
                )
            if cells:  # else an empty line
                values = {name: Value(cell) for name, cell in zip(names, cells, strict=False)}
                yield Entry(f"line {line}", values.pop(key, Value("")), values)
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{source}, line {reader.line_num}: {error}", hint="is this CSV, with commas?"
        ) from None


def _csv_key(names: list[str], source: str) -> str:
    key = id_name(names)
    if key is None:
        there = ", ".join(names) if any(names) else "nothing"
        raise SourceError(
            f"{source}: its first line names no column tenant_id or id, but {there}",
            hint="write the names of the columns into the first line, with commas in between",
        )
    if len(set(names)) < len(names):
        raise SourceError(f"{source}: its first line names a column twice", hint="rename one")
    return key


class _Number(str):
    """A JSON number as it is written, whatever its size."""


def read_json(text: str, source: str) -> Iterator[Entry]:
    """Read JSON: a list of ids or of objects, or an object whose key `tenants` holds one.

    Raises:
        SourceError: When it is no JSON, or of another shape.
    """
    try:
        data = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise SourceError(f"{source}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise SourceError(f"{source}: {error}") from None
    items = data.get("tenants") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise SourceError(f"{source} holds no list of tenants", hint=_SHAPE)
    for number, item in enumerate(items, 1):
        yield entry(item, f"item {number}", source)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"an object has the key {twice!r} twice")
    return dict(pairs)


def entry(item: object, place: str, source: str) -> Entry:
    """Make an entry of an id, or of an object with one.

    Args:
        item: The id, or a mapping.
        place: Where it is, for messages.
        source: What the source is called in messages.

    Raises:
        SourceError: When it is neither, or an attribute is more than a scalar.
    """
    if not isinstance(item, Mapping):
        value = _scalar(item)
        if value is None:
            raise SourceError(f"{source}, {place}: neither an id nor an object", hint=_SHAPE)
        return Entry(place, value, {})
    values: dict[str, Value] = {}
    for name, content in item.items():
        scalar = _scalar(content)
        if scalar is None:
            raise _nested(name, place, source)
        values[str(name)] = scalar
    return _object(values, place)


def _object(values: dict[str, Value], place: str) -> Entry:
    key = id_name(values)
    return Entry(place, Value("") if key is None else values.pop(key), values)


def _scalar(content: object) -> Value | None:
    if content is None:
        return Value("", "null")
    if isinstance(content, bool):
        return Value(str(content).lower(), "boolean")
    if isinstance(content, _Number | int | float):
        return Value(str(content), "number")
    return Value(content) if isinstance(content, str) else None


def _nested(name: object, place: str, source: str) -> SourceError:
    return SourceError(
        f"{source}, {place}: the attribute {name!r} is a list or an object",
        hint="an attribute is text",
    )


def read_yaml(text: str, source: str) -> Iterator[Entry]:
    """Read YAML, of the same shapes as JSON.

    Not the values that YAML makes of it are read, but what is written: an attribute `no` is the
    text `no`, and an id that YAML takes for something else is told as such.

    Raises:
        SourceError: When it is no YAML, or of another shape; the message names the line.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            root = _yaml_mapping(root, source, loader).get("tenants", root)
        if root is None:
            return
        if not isinstance(root, yaml.SequenceNode):
            raise SourceError(f"{source} holds no list of tenants", hint=_SHAPE)
        for node in root.value:
            yield _yaml_entry(node, source, loader)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SourceError(f"{source}{where}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise SourceError(f"{source}: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()


def _yaml_entry(node: Any, source: str, loader: Any) -> Entry:
    import yaml

    place = f"line {node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode):
        return Entry(place, _yaml_scalar(node), {})
    if not isinstance(node, yaml.MappingNode):
        raise SourceError(f"{source}, {place}: neither an id nor an object", hint=_SHAPE)
    values: dict[str, Value] = {}
    for name, content in _yaml_mapping(node, source, loader).items():
        if not isinstance(content, yaml.ScalarNode):
            raise _nested(name, f"line {content.start_mark.line + 1}", source)
        values[name] = _yaml_scalar(content)
    return _object(values, place)


def _yaml_mapping(node: Any, source: str, loader: Any) -> dict[str, Any]:
    names: set[str] = set()
    for key, _ in node.value:
        if key.value in names:
            line = key.start_mark.line + 1
            raise SourceError(f"{source}, line {line}: the key {key.value!r} is there twice")
        names.add(key.value)
    loader.flatten_mapping(node)  # `<<: *defaults`, whose keys come first, so that others win
    return {str(key.value): content for key, content in node.value}


def _yaml_scalar(node: Any) -> Value:
    kind: Any = _YAML_KINDS.get(node.tag, "text")
    return Value(node.value, kind)
