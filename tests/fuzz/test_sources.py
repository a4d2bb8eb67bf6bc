"""Files with tenants: whatever is in them, tenants are read or an error says where it is wrong."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from influxops.plugin import Finding, SourceError, Tenant
from influxops_files import formats
from influxops_files.entries import tenants
from tests.fuzz.inputs import broken, documents, utf8

READERS = {"csv": formats.read_csv, "json": formats.read_json, "yaml": formats.read_yaml}
EXAMPLES = {
    "csv": [b"tenant_id,retention\nacme,30d\n", b'id,database\r\n"a, b","x ""y"""\r\n', b"id\n"],
    "json": [
        b'["acme", "beta"]',
        b'{"tenants": [{"id": "acme", "retention": "30d"}, {"tenant_id": "b", "target": null}]}',
        b'[{"id": "7", "x": 1.5e3}, {"id": "\\u00e9\\ud83d\\ude00"}]',
    ],
    "yaml": [
        b"- acme\n- 'no'\n",
        b'tenants:\n  - id: acme\n    retention: 30d\n  - {id: "b", database: ~}\n',
        b"- &a {id: x, target: eu1}\n- *a\n- id: |\n    text\n- id: !!str 7\n",
        b"? [a, b]\n: c\n",
        b"- {<<: {id: a}, retention: 2026-11-24}\n",
    ],
}
ids = utf8.filter(str.strip)
attributes = st.dictionaries(
    st.sampled_from(["database", "retention", "target"]), utf8.map(str.strip).filter(bool)
)


def read(kind: str, data: bytes) -> list[Tenant | Finding]:
    return [*tenants(READERS[kind](formats.decode(data, "f"), "f"), "f", "key")]


@given(
    st.sampled_from(sorted(EXAMPLES)).flatmap(
        lambda kind: st.tuples(st.just(kind), broken(EXAMPLES[kind]))
    )
)
def test_a_broken_file_is_read_or_refused(given: tuple[str, bytes]) -> None:
    kind, data = given
    try:
        read(kind, data)
    except SourceError as error:
        assert str(error).startswith("f")
        assert error.hint
        assert str(error).isprintable()


@given(documents)
def test_json_of_any_shape_is_read_or_refused(document: Any) -> None:
    for kind, text in (
        ("json", json.dumps(document)),
        ("json", json.dumps({"tenants": [document]})),
    ):
        try:
            read(kind, text.encode())
        except SourceError as error:
            assert error.hint and str(error).isprintable()


def found(kind: str, text: str) -> list[tuple[str, dict[str, str]]]:
    return [
        (each.id, dict(each.attributes))
        for each in read(kind, text.encode())
        if isinstance(each, Tenant)
    ]


@given(st.dictionaries(ids, attributes, max_size=4))
def test_tenants_of_any_name_come_back_from_each_format(wanted: dict[str, dict[str, str]]) -> None:
    entries = [{"id": name, **each} for name, each in wanted.items()]
    expected = [*wanted.items()]
    assert found("json", json.dumps(entries)) == expected
    assert found("json", json.dumps({"tenants": entries}, ensure_ascii=False)) == expected
    assert found("yaml", yaml.safe_dump(entries, allow_unicode=False)) == expected
    names = ("id", "database", "retention", "target")
    file = io.StringIO()
    writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(entries)
    assert found("csv", file.getvalue()) == expected
