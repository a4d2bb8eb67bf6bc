"""Reads CSV, JSON and YAML into entries; an error has the position of the mistake."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Hashable, Iterable, Iterator
from functools import cache, partial
from typing import Any

from influxops.plugin import SourceError, summarize, truncate
from influxops_files.entries import SHAPE, Entry, Value, entry, id_name

#: The types that YAML gives scalars other than text.
_YAML_KINDS = {"int": "number", "float": "number", "bool": "boolean", "timestamp": "date"}


_ONE_LIST = "write one list, with all tenants in it"
_QUOTE = "close each quote, and put text with special characters into quotes"
_INDENT = "indent with spaces, the same for all that belongs together"
#: What parsers say is wrong, by a part of it: the same in plain words, and what to do.
_PLAIN = {
    # CSV
    "unexpected end of data": ("a double quote is not closed", _QUOTE),
    "',' expected after": ("text follows a closing double quote", "write a quote in a cell twice"),
    "field larger than": ("a cell is too long; is a double quote not closed?", _QUOTE),
    # JSON
    "Expecting value": ("a value is missing here, or is not written as JSON has it", SHAPE),
    "Expecting ',' delimiter": ("a comma or a closing bracket is missing", SHAPE),
    "Expecting ':' delimiter": ("a colon is missing after a key", SHAPE),
    "Expecting property name": ("a key in double quotes is missing", SHAPE),
    "Illegal trailing comma": ("there is a comma too many", SHAPE),
    "Extra data": ("a second document begins here, as in JSON Lines", _ONE_LIST),
    "Unterminated string": ("a double quote is not closed", _QUOTE),
    "Invalid control character": ("a text holds a line break or the like", "write it as \\n"),
    "Invalid \\": ("a text holds a backslash with nothing to mean", "write a backslash twice"),
    # YAML
    "but found another document": ("a second document begins here", _ONE_LIST),
    "did not find expected <document start>": ("a second document begins here", _ONE_LIST),
    "found unknown escape": ("a text holds a backslash with nothing to mean", _QUOTE),
    "found unexpected end of stream": ("a quote is not closed", _QUOTE),
    "found unexpected document indicator": ("a quote is not closed", _QUOTE),
    "found character that cannot start": ("a tab or a special character begins a text", _QUOTE),
    "found a tab character": ("a tab is where only spaces may be", _INDENT),
    "mapping values are not allowed": ("a colon is where none can be", _QUOTE),
    "did not find expected key": ("the line does not go with those above it", _INDENT),
    "did not find expected '-'": ("the line does not go with those above it", _INDENT),
    "did not find expected ','": ("a comma or a closing bracket is missing", SHAPE),
    "did not find expected node": ("a value is missing", SHAPE),
    "found undefined alias": ("a text that begins with * names nothing", _QUOTE),
    "could not determine a constructor": ("a text that begins with ! means nothing", _QUOTE),
    "control characters are not allowed": ("it holds a control character", "take it out"),
}


def _wrong(file: str, problem: str, line: int | None = None) -> SourceError:
    """Return the error for what a parser refuses, in plain words where there are some."""
    where = f"{file}, line {line}" if line else file
    for beginning, (words, hint) in _PLAIN.items():
        if beginning in problem:
            return SourceError(f"{where}: {words}", hint=hint)
    own = problem.startswith("the key ")
    return SourceError(f"{where}: {'' if own else 'it cannot be read: '}{problem}", hint=SHAPE)


def decode(data: bytes, file: str) -> str:
    """Return UTF-8 as text, with or without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{file}, line {line}: this is not UTF-8", hint="save the file as UTF-8"
        ) from None


def read_csv(text: str, file: str) -> Iterator[Entry]:
    """Read CSV: names in its first line, commas in between; an empty cell has no value."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        key = _csv_key(names, file)
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(names):
                raise SourceError(
                    f"{file}, line {line}: {len(cells)} cells, but the first line names "
                    f"{len(names)}",
                    hint="put a cell that has a comma in it into double quotes",
                )
            if cells:  # else an empty line
                values = {name: Value(cell) for name, cell in zip(names, cells, strict=False)}
                yield Entry(f"line {line}", values.pop(key, Value("")), values)
            line = reader.line_num + 1
    except csv.Error as error:
        raise _wrong(file, str(error), reader.line_num) from None


def _csv_key(names: list[str], file: str) -> str:
    key = id_name(names)
    if key is None:
        present = summarize([truncate(name) for name in names]) if any(names) else "nothing"
        raise SourceError(
            f"{file}: its first line names no column tenant_id or id, but {present}",
            hint="write the names of the columns into the first line, with commas in between",
        )
    if len(set(names)) < len(names):
        raise SourceError(f"{file}: its first line names a column twice", hint="rename one")
    return key


def read_json(text: str, file: str) -> Iterator[Entry]:
    """Read JSON: a list of ids or of objects, or an object whose key `tenants` holds one."""
    number: Any = partial(Value, kind="number")  # as it is written, whatever its size
    try:
        data = json.loads(
            text,
            parse_int=number,
            parse_float=number,
            parse_constant=number,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        if not text.strip():
            raise SourceError(f"{file} is empty", hint=SHAPE) from None
        raise _wrong(file, error.msg, error.lineno) from None
    except ValueError as error:
        raise SourceError(f"{file}: {error}", hint="write each key once") from None
    except RecursionError:
        raise SourceError(f"{file} is nested too deeply", hint=SHAPE) from None
    return _entries(data, file)


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    unique: dict[Any, Any] = {}
    for name, content in pairs:
        if name in unique:
            raise ValueError(f"an object has the key {truncate(str(name))} twice")
        unique[name] = content
    return unique


def read_yaml(text: str, file: str) -> Iterator[Entry]:
    """Read YAML, of the same shapes as JSON.

    Scalars keep the text that is written, not the value that YAML makes of it: an attribute `no`
    is the text `no`, and an id that YAML reads as another type is an error.
    """
    import yaml

    try:
        data = yaml.load(text, _yaml_loader())  # a safe loader  # noqa: S506
    except yaml.MarkedYAMLError as error:
        problem, mark = error.problem or error.context or "", error.problem_mark
        if "end of stream" in problem:  # where the quote is, not where the file ends
            mark = error.context_mark or mark
        raise _wrong(file, problem, mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise _wrong(file, str(error).splitlines()[0]) from None
    except RecursionError:
        raise SourceError(f"{file} is nested too deeply", hint=SHAPE) from None
    return _entries([] if data is None else data, file)


@cache
def _yaml_loader() -> type[Any]:
    """Return a loader that keeps the text of scalars, and refuses a duplicate key."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def scalar(kind: str, loader: Any, node: Any) -> Value:
        return Value(node.value, kind)

    def mapping(loader: Any, node: Any) -> Iterator[dict[Hashable, Any]]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {truncate(key.value)} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        result: dict[Hashable, Any] = {}
        yield result  # before its content, which may refer to it
        result.update(loader.construct_mapping(node))

    for tag, kind in _YAML_KINDS.items():
        Loader.add_constructor(f"tag:yaml.org,2002:{tag}", partial(scalar, kind))
    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader


def _entries(data: Any, file: str) -> Iterator[Entry]:
    items = data.get("tenants") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise SourceError(f"{file} holds no list of tenants", hint=SHAPE)
    for number, item in enumerate(items, 1):
        yield entry(item, f"item {number}", file)
