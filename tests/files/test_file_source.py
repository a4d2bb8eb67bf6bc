"""What the source `file` reads, and in which line it finds fault."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from influxops.config.settings import InvalidSettings
from influxops.plugin import (
    DeadlineExceeded,
    Finding,
    FindingKind,
    Interrupted,
    RunContext,
    Severity,
    SourceError,
    Tenant,
)
from influxops_files import FileSettings, FileSource


def source(path: Path | str, **values: Any) -> FileSource:
    return FileSource("file", FileSettings.parse({"path": str(path), **values}))


def read(path: Path | str, **values: Any) -> list[Tenant | Finding]:
    return list(source(path, **values).influxops_tenants(RunContext()))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def failure(path: Path | str, **values: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **values)
    assert "\n" not in str(caught.value)
    return caught.value


SAME = {
    "tenants.csv": "tenant_id,retention,target\nacme,30d,\n007,,eu1\n",
    "tenants.json": '[{"id": "acme", "retention": "30d", "target": null},'
    ' {"tenant_id": "007", "target": "eu1"}]',
    "tenants.yaml": "- {id: acme, retention: 30d, target: }\n- id: '007'\n  target: eu1\n",
    "tenants.yml": "tenants:\n- id: acme\n  retention: 30d\n- {tenant_id: '007', target: eu1}\n",
}


@pytest.mark.parametrize("name", SAME)
def test_every_format_gives_the_same_tenants(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path, name, SAME[name])) == [
        Tenant("acme", {"retention": "30d"}),
        Tenant("007", {"target": "eu1"}),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id\nacme\nzoë\n"),
        ("a.json", '["acme", "zo\\u00eb"]'),
        ("a.json", '{"tenants": ["acme", "zoë"]}'),
        ("a.yaml", "- acme\n- zoë\n"),
    ],
)
def test_a_plain_list_of_ids_will_do(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path, name, content)) == [Tenant("acme"), Tenant("zoë")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "tenant_id\n"), ("a.json", "[]"), ("a.yaml", ""), ("a.yaml", "tenants: []")],
)
def test_a_file_without_tenants_gives_none(tmp_path: Path, name: str, content: str) -> None:
    assert read(write(tmp_path, name, content)) == []


def test_ids_in_csv_are_text_as_they_are(tmp_path: Path) -> None:
    content = 'tenant_id\n42\ntrue\nnull\n2024-01-01\n0123\n"a,b"\n"a""b"\n"a\nb"\n spaced\n'
    ids = [item.id for item in read(write(tmp_path, "a.csv", content)) if isinstance(item, Tenant)]
    assert ids == [
        *("42", "true", "null", "2024-01-01", "0123", "a,b", 'a"b', "a\nb", " spaced"),
    ]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("42", "number"),
        ("0123", "number"),
        ("1_000", "number"),
        ("1.5", "number"),
        ("1e3", "text"),
        ("no", "boolean"),
        ("On", "boolean"),
        ("true", "boolean"),
        ("2024-01-01", "date"),
    ],
)
def test_an_id_that_yaml_takes_for_something_else_is_an_error_that_says_to_quote_it(
    tmp_path: Path, written: str, kind: str
) -> None:
    path = write(tmp_path, "a.yaml", f"- acme\n- id: {written}\n")
    if kind == "text":
        assert read(path)[1] == Tenant(written)
        return
    error = failure(path)
    assert f"{path}, item 2: the id {written} is read as" in error.message
    assert kind in error.message
    assert error.hint == f'put it into quotes: "{written}"'
    assert read(write(tmp_path, "b.yaml", f'- "{written}"\n')) == [Tenant(written)]


def test_an_id_that_is_no_string_in_json_is_an_error_too(tmp_path: Path) -> None:
    for written in ("42", "true", "9" * 50):
        error = failure(write(tmp_path, "a.json", f'["acme", {written}, 7]'))
        assert f"item 2: the id {written} is read as a " in error.message
    assert "(and 1 more like it)" in error.message


def test_attributes_are_text_as_it_is_written(tmp_path: Path) -> None:
    yaml = "- {id: a, target: no, database: 0100, retention: ~}\n"
    assert read(write(tmp_path, "a.yaml", yaml)) == [
        Tenant("a", {"target": "no", "database": "0100"})
    ]
    json = '[{"id": "a", "database": 100, "target": false, "retention": ""}]'
    assert read(write(tmp_path, "a.json", json)) == [
        Tenant("a", {"database": "100", "target": "false"})
    ]


def test_yaml_s_merge_keys_are_followed(tmp_path: Path) -> None:
    content = "- &base {id: a, retention: 30d, target: eu1}\n- {<<: *base, id: b, target: eu2}\n"
    assert read(write(tmp_path, "a.yaml", content))[1] == Tenant(
        "b", {"retention": "30d", "target": "eu2"}
    )


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.csv", "tenant_id,target\nacme,\n,eu1\n\n  ,\n", "(line 3, line 5)"),
        ("a.json", '["acme", null, {"target": "eu1"}]', "(item 2, item 3)"),
        ("a.yaml", "- acme\n-\n- id: ''\n", "(item 2, item 3)"),
    ],
)
def test_entries_without_an_id_are_one_finding_that_says_where(
    tmp_path: Path, name: str, content: str, places: str
) -> None:
    path = write(tmp_path, name, content)
    tenant, finding = read(path)
    assert tenant == Tenant("acme")
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.severity) == (FindingKind.EMPTY_ID, Severity.ERROR)
    assert finding.message == f"2 entries of {path} have no tenant id {places}"


def test_equal_entries_are_given_once_and_entries_that_disagree_each(tmp_path: Path) -> None:
    content = "id,target\na,eu1\nb,\na,eu1\nb,eu2\n"
    assert read(write(tmp_path, "a.csv", content)) == [
        Tenant("a", {"target": "eu1"}),
        Tenant("b"),
        Tenant("b", {"target": "eu2"}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "its first line names no column tenant_id or id, but nothing"),
        ("a.csv", "tenant_id;target\na;b\n", "but tenant_id;target"),
        ("a.csv", "id,target,target\n", "names a column twice"),
        ("a.csv", 'id,x\n"a\nb",1\nc,2,3\n', "line 4: 3 cells, but the first line names 2"),
        ("a.csv", 'id\na\n"b\n', "line 3: a double quote is not closed"),
        ("a.csv", b"id\na\nzo\xeb\n", "line 3: this is not UTF-8"),
        ("a.json", '["a",\n"b"', "line 2: a comma or a closing bracket is missing"),
        ("a.json", '{"id": "a"}\n{"id": "b"}\n', "line 2: a second document begins here"),
        ("a.json", "\n", " is empty"),
        ("a.json", "[a]", "line 1: a value is missing here, or is not written as JSON has it"),
        ("a.json", '{"tenants" []}', "line 1: a colon is missing after a key"),
        ("a.json", "{'tenants': []}", "line 1: a key in double quotes is missing"),
        ("a.json", '["a\n"]', "line 1: a text holds a line break or the like"),
        ("a.json", '["a\\q"]', "line 1: a text holds a backslash with nothing to mean"),
        ("a.csv", 'id\n"a" b\n', "line 2: text follows a closing double quote"),
        ("a.yaml", "- a: b: c\n", "line 1: a colon is where none can be"),
        ("a.yaml", "- 'a' b\n", "line 1: the line does not go with those above it"),
        ("a.yaml", "- *x\n", "line 1: a text that begins with * names nothing"),
        ("a.yaml", "- a\n...\n- b\n", "line 3: a second document begins here"),
        ("a.json", '{"ids": []}', "holds no list of tenants"),
        ("a.json", '"acme"', "holds no list of tenants"),
        ("a.json", '["a", ["b"]]', "item 2: neither an id nor an object"),
        ("a.json", '[{"id": "a", "target": ["b"]}]', "item 1: target is a list"),
        ("a.json", '[{"id": "a", "id": "b"}]', "an object has the key id twice"),
        ("a.yaml", "- a\n- [b]\n", "item 2: neither an id nor an object"),
        ("a.yaml", "- a\n- 'b\n- c\n", "line 2: a quote is not closed"),
        ("a.yaml", "- a\n-\tb: {\n", "line 2: a tab or a special character"),
        ("a.yaml", "- id: a\n  target:\n    x: y\n", "item 1: target is a list"),
        ("a.yaml", "- id: a\n  id: b\n", "line 2: the key id is there twice"),
        ("a.yaml", "- a\n---\n- b\n", "line 2: a second document begins here"),
        ("a.yaml", "- a\x07\n", "it holds a control character"),
        ("a.yaml", "acme\n", "holds no list of tenants"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path, name, content)
    error = failure(path)
    assert message in error.message
    assert error.message.startswith(str(path))
    assert error.remedy
    assert not re.search("[Ee]xpect|delimiter|document start|found ", error.message)  # a parser's


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name in SAME:
        path = write(tmp_path, name, b"\xef\xbb\xbf" + SAME[name].encode())
        assert read(path)[0] == Tenant("acme", {"retention": "30d"})


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.csv", "id,target\r\na,x\r\n")) == [Tenant("a", {"target": "x"})]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = failure(tmp_path / "none.csv")
    assert error.message == f"{tmp_path}/none.csv cannot be read: No such file or directory"
    assert "directory" in failure(tmp_path, format="csv").message


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard input a pipe; gives the end to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
        with contextlib.suppress(OSError):
            os.close(writing)


def test_standard_input_is_read_once_and_kept(pipe: int) -> None:
    os.write(pipe, b"id\nacme\n")
    os.close(pipe)
    reader = source("-", format="csv")
    assert [check.ok for check in reader.influxops_check(RunContext())] == [None]
    assert list(reader.influxops_tenants(RunContext())) == [Tenant("acme")]
    assert list(reader.influxops_tenants(RunContext())) == [Tenant("acme")]
    assert reader.settings.location().text == "standard input"


def test_a_pipe_that_nobody_closes_ends_with_the_run(pipe: int) -> None:
    os.write(pipe, b"id\nacme\n")
    with pytest.raises(DeadlineExceeded):
        source("-", format="csv").influxops_tenants(RunContext(timeout=0.1))


def test_a_named_pipe_that_nobody_writes_to_ends_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    os.mkfifo(path)
    context = RunContext()
    timer = threading.Timer(0.1, context.cancel)
    timer.start()
    with pytest.raises(Interrupted):
        source(path).influxops_tenants(context)
    timer.join()
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # ends the thread that was left behind


def test_what_has_no_end_is_not_read(pipe: int) -> None:
    error = failure("/dev/zero", format="csv")
    assert error.message == "/dev/zero has more than 256 MiB"
    writer = threading.Thread(target=_fill, args=(pipe,))
    writer.start()
    error = failure("-", format="json")
    assert error.message == "standard input has more than 256 MiB"
    sys.stdin.close()
    writer.join()


def _fill(pipe: int) -> None:
    with contextlib.suppress(OSError):  # the reader has gone
        while True:
            os.write(pipe, b" " * 65536)


def test_a_cell_of_csv_has_a_limit(tmp_path: Path) -> None:
    error = failure(write(tmp_path, "a.csv", "id\n" + "x" * 200_000))
    assert "line 2: a cell is too long" in error.message


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "id,target,retenion\na,eu1,\n", "line 2"),
        ("a.json", '["x", {"id": "a", "Retention": "30d"}]', "item 2"),
        ("a.yaml", "- x\n- {id: a, retentions: 30d}\n", "item 2"),
    ],
)
def test_a_misspelt_attribute_is_refused_with_the_one_that_is_meant(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    path = write(tmp_path, name, content)
    error = failure(path)
    assert error.message.startswith(f"{path}, {place}: there is ")
    assert error.message.endswith("; is retention meant?")


def test_what_is_ignored_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,note,plan,target\na,x,y,eu1\nb,x,y,\na,z,,eu1\n")
    first, second, finding = read(path)
    assert [first, second] == [Tenant("a", {"target": "eu1"}), Tenant("b")]
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.severity) == (FindingKind.UNKNOWN_ATTRIBUTE, Severity.INFO)
    assert finding.message == "2 columns are ignored: note and plan"


def test_an_object_with_very_many_keys_is_read_in_linear_time(tmp_path: Path) -> None:
    keys = ", ".join(f'"n{number}": 1' for number in range(100_000))
    path = write(tmp_path, "a.json", f'[{{"id": "a", {keys}}}]')
    started = time.process_time()
    assert read(path)[0] == Tenant("a")
    assert time.process_time() - started < 10  # a quadratic look takes minutes


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"")))
    assert failure("-", format="json").message == "standard input is a terminal"


@pytest.mark.parametrize("path", ["-", "tenants", "tenants.txt", ""])
def test_a_format_that_nothing_tells_must_be_given(path: str) -> None:
    with pytest.raises(InvalidSettings):
        FileSettings.parse({"path": path})


def test_the_given_format_wins_over_the_name(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a.csv", '["acme"]'), format="json") == [Tenant("acme")]


def test_doctor_counts_the_tenants_and_tells_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id\na\n \n")
    good, ids = source(path).influxops_check(RunContext())
    assert (good.ok, good.message) == (True, f"{path} has 1 tenant")
    assert ids.ok is False
    (bad,) = source(tmp_path / "none.csv").influxops_check(RunContext())
    assert bad.ok is False
