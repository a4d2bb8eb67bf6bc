"""Manifests and files of an export: read as they were written, or refused by an ExportError."""

from __future__ import annotations

import contextlib
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influxops.domain.export import Manifest, Part, TableFiles, file_name
from influxops.plugin import ExportError
from influxops_influxdb3.copy import part_files
from influxops_influxdb3.copy.line_protocol import Digest
from influxops_influxdb3.copy.part_files import PartWriter, check_part, lines_of, parts_of, times_of
from tests.fuzz.inputs import broken, documents, utf8

_NUMBERS = st.integers(-(2**63), 2**63 - 1)
parts = st.builds(
    Part,
    file=st.uuids().map(lambda each: f"t-{each}.lp.zst"),
    rows=_NUMBERS,
    first=_NUMBERS,
    last=_NUMBERS,
    digest=utf8,
    size=_NUMBERS,
    checksum=utf8,
    line_breaks=_NUMBERS,
)
tables = st.builds(
    TableFiles,
    name=utf8,
    tags=st.lists(utf8, max_size=3).map(tuple),
    fields=st.dictionaries(utf8, utf8, max_size=3),
    parts=st.lists(parts, max_size=3).map(tuple),
    order_is_known=st.booleans(),
)
manifests = st.builds(
    Manifest,
    tenant=utf8,
    database=utf8,
    kind=utf8,
    id=utf8,
    server=st.none() | utf8,
    retention=st.none() | _NUMBERS,
    started=st.none() | st.datetimes(timezones=st.just(UTC)),
    ended=st.none() | st.datetimes(timezones=st.just(UTC)),
    tables=st.lists(tables, max_size=3).map(tuple),
    late=_NUMBERS,
    unread=st.dictionaries(utf8, utf8, max_size=3),
    progress=utf8,
    version=st.just(1),
    digest=st.just(""),
)
_EXAMPLE = Manifest(
    "acme",
    "telemetry_acme",
    "influxdb3",
    "0123",
    started=datetime(2026, 11, 24, tzinfo=UTC),
    tables=(
        TableFiles("t", ("a", "b"), {"f": "float64"}, (Part("t-1.lp.zst", 1, 2, 3, "0", 4, "0"),)),
    ),
)


@given(manifests)
def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    found = Manifest.decode(manifest.encode(), "manifest.json")
    for name in Manifest.__struct_fields__:
        assert name == "digest" or getattr(found, name) == getattr(manifest, name), name


@given(broken([_EXAMPLE.encode()]))
def test_a_manifest_that_was_changed_is_refused(data: bytes) -> None:
    try:
        found = Manifest.decode(data, "manifest.json")
    except ExportError as error:
        assert str(error).startswith("manifest.json")
    else:  # white space
        assert found.encode() == _EXAMPLE.encode()


@given(documents)
def test_json_of_any_shape_is_no_manifest(document: Any) -> None:
    with pytest.raises(ExportError):
        Manifest.decode(
            json.dumps(
                {**document, "version": 1} if isinstance(document, dict) else document
            ).encode(),
            "m",
        )


@given(utf8, utf8)
def test_a_name_of_a_file_stays_in_its_folder_and_is_one_of_its_own(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    name = file_name(one)
    assert "/" not in name and "\0" not in name and not name.startswith(".") and 0 < len(name) < 200


lines = st.lists(
    st.tuples(
        st.sampled_from([b"t", b"t,a=\\ \\,\\=", b"m\\\n,k=\\\n", b"m,\xc3\xa9=\\\\x"]),
        st.sampled_from(
            [b"f=1.5", b'f="a\nb \\"\\\\"', b'f\\ g=1i,s=""', b"b=t,u=18446744073709551615u"]
        ),
        _NUMBERS,
    ).map(lambda each: b"%b %b %d" % each),
    min_size=1,
    max_size=20,
)


@given(rows=lines)
def test_rows_of_a_file_are_read_as_they_were_written(rows: list[bytes], tmp_path: Path) -> None:
    writer, digest = PartWriter(tmp_path, "t-1"), Digest()
    writer.add(rows)
    digest.add(rows)
    part = writer.close(digest)
    check_part(tmp_path, part)
    found = [line for some in lines_of(tmp_path, part) for line in some]
    assert sorted(found) == sorted(rows)


@given(data=st.data())
def test_a_file_that_was_changed_is_refused(data: st.DataObject, tmp_path: Path) -> None:
    rows = data.draw(lines)
    writer, digest = PartWriter(tmp_path, "t-1"), Digest()
    writer.add(rows)
    digest.add(rows)
    part = writer.close(digest)
    file = tmp_path / part.file
    before = file.read_bytes()
    file.write_bytes(data.draw(broken([before])))
    if file.read_bytes() == before:
        return
    with pytest.raises(ExportError):
        check_part(tmp_path, part)
    try:
        found = [line for some in lines_of(tmp_path, part) for line in some]
    except ExportError:
        return
    assert len(found) == part.rows


@given(broken([b'm,a=b f=1.5,s="x y" 12', b"m\\ n f=1i -9", b'm s="\\"" 0']))
def test_a_row_of_a_file_has_its_parts_or_is_refused(line: bytes) -> None:
    with contextlib.suppress(ExportError):
        parts_of(line)


@given(st.binary(max_size=200))
def test_bytes_that_are_not_compressed_are_refused(tmp_path_factory: Any, data: bytes) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    for kind, content in (("zst", data), ("gz", data), ("gz", gzip.compress(data)[:-4])):
        if kind == "zst" and part_files.zstd is None:
            continue
        (folder / f"x.lp.{kind}").write_bytes(content)
        with pytest.raises(ExportError):
            part = Part(f"x.lp.{kind}", -1, 0, 0, "", 0, "")
            [*lines_of(folder, part)]


def test_a_space_of_a_text_where_the_time_of_another_row_begins_is_no_bound() -> None:
    times = [1_200_000_000_000_000_000, 15, 1_300_000_000_000_000_000]
    odd = b'm f="x 125000000000000" 15'
    assert odd[-20:-19] == b" "
    assert times_of([b"m f=1 %d" % times[0], odd, b"m f=1 %d" % times[2]]) == (15, times[2])
