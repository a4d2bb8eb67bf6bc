"""A database as files and back: every kind of value, writers, kills, full disks, broken files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from influxops.plugin import (
    CopyProgress,
    CopyRequest,
    ExportError,
    Manifest,
    RunContext,
    TargetError,
    file_name,
    read_manifest,
)
from influxops_influxdb3.copy import job, part_files, slices
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, contents, target, write
from tests.integration.proxy import Answer, Seen, running_proxy

pytestmark = pytest.mark.stand_in

START = 1_700_000_000_000_000_000
EVERY_TYPE = (
    'a,t=1 f=1.5,i=-9223372036854775808i,u=18446744073709551615u,b=t,s="x" 1',
    "a,t=2 f=1e999,i=9223372036854775807i,u=0u,b=f 2",
    'a,t=3 f=-1e999,s="a \\"quoted\\" \\\\ text, with = and 5\nlines 7\n" 3',
    "a f=-0.1 4",
    r"a,t=a\ b\,c\=d\\x i=5i -5",
    "no_tags f=1e-300 9223372036854775806",
    r'odd\ name\,,with\ space=1 fie\ ld\,=1,qu"ote=2,s="" -9223372036854775806',
    'last f=0.30000000000000004,text="ünïcode ☃" 1700000000123456789',
)


class Files:
    """One database that is exported, and another one that is imported into."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.pair, self.folder = pair, folder
        folder.mkdir(exist_ok=True)

    def steps(self, context: RunContext | None = None, **more: Any) -> Generator[CopyProgress]:
        ours = target("eu1", self.pair.source.url)
        order = CopyRequest(self.pair.database, folder=str(self.folder), tenant="acme", **more)
        try:
            yield from ours.influxops_export(order, context or RunContext())
        finally:
            ours.influxops_close()

    def export(self, **more: Any) -> CopyProgress:
        *_, last = self.steps(**more)
        assert last.done
        return last

    def load(self, **more: Any) -> CopyProgress:
        theirs = target("eu2", self.pair.copy.url)
        order = CopyRequest(self.pair.database, folder=str(self.folder), tenant="acme", **more)
        try:
            *_, last = theirs.influxops_import(order, RunContext())
        finally:
            theirs.influxops_close()
        return last

    @property
    def manifest(self) -> Manifest:
        found = read_manifest(self.folder)
        assert found is not None
        return found

    def rewrite(self, change: Callable[[Any], None]) -> None:
        """Change the manifest by hand, its digest as it was."""
        path = self.folder / "manifest.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.lp.*"))


@pytest.fixture
def files(pair: Pair, tmp_path: Path) -> Files:
    pair.make()
    return Files(pair, tmp_path / "acme")


def rows(first: int, last: int, table: str = "telemetry") -> list[str]:
    return [f"{table},device=d{n % 7} v={n}i {START + n}" for n in range(first, last)]


@pytest.mark.parametrize("has_zstd", [True, False])
def test_every_type_and_name_comes_back_as_it_was(
    files: Files, monkeypatch: pytest.MonkeyPatch, has_zstd: bool
) -> None:
    if not has_zstd:
        monkeypatch.setattr(part_files, "zstd", None)
    files.pair.write(*EVERY_TYPE)
    files.export()
    assert {path.suffix for path in files.parts()} == {".zst" if has_zstd else ".gz"}
    assert files.load().done
    files.pair.assert_equal()
    table = next(table for table in files.manifest.tables if table.name == "a")
    assert table.tags == ("t",)
    assert table.fields == {"b": "bool", "f": "float64", "i": "int64", "s": "utf8", "u": "uint64"}
    assert files.manifest.rows == len(EVERY_TYPE)


def test_tags_keep_their_order_and_a_table_without_rows_is_made_again(files: Files) -> None:
    files.pair.write("t,z=1,a=2,m=3 v=1 1")
    path = "/api/v3/configure/table"
    body = {"db": files.pair.database, "table": "empty", "tags": ["y", "b"], "fields": []}
    assert files.pair.source.send("POST", path, json=body).status == 200
    files.export()
    assert files.load().done
    found = contents(files.pair.copy, files.pair.database)
    assert (found["t"][0], found["empty"]) == ("z, a, m", ("y, b", []))


def test_files_are_line_protocol_that_a_server_takes_as_it_is(files: Files) -> None:
    files.pair.write(*EVERY_TYPE)
    files.export()
    for path in files.parts():
        with part_files._opened(path) as file:
            answer = files.pair.copy.write(
                files.pair.database, file.read().decode(), precision="nanosecond"
            )
        assert answer.status == 204, answer.data
    found, wanted = (
        contents(api, files.pair.database) for api in (files.pair.copy, files.pair.source)
    )
    assert {name: rows for name, (_, rows) in found.items()} == {
        name: rows for name, (_, rows) in wanted.items()
    }


# While it is in use --------------------------------------------------------------------------


def test_what_is_written_in_the_meantime_is_in_it_and_is_counted(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MAX_ROWS", 100)
    files.pair.write(*rows(0, 1000))
    steps = files.steps()
    late = iter((rows(2000, 2050), [f"telemetry,device=old v=1i {START - 5}"], rows(0, 10, "new")))
    for step in steps:
        if step.stage != "copying" and (more := next(late, None)):
            files.pair.write(*more)
    assert (step.done, step.late) == (True, 61)
    assert files.load().done
    files.pair.assert_equal()


def test_values_that_were_overwritten_are_found_by_comparing(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.pair.write(*rows(0, 100))
    files.export()
    files.pair.write(f"telemetry,device=d0 v=77i {START}", f"telemetry,device=d1 w=5 {START + 1}")
    assert files.export(compare=True).done
    assert files.load().done
    files.pair.assert_equal()


def test_an_export_that_was_whole_is_brought_up_to_date(files: Files) -> None:
    files.pair.write(*rows(0, 100), *rows(0, 10, "second"))
    files.export()
    before = {path.name for path in files.parts()}
    files.pair.write(*rows(100, 150))
    assert files.export().late == 50
    assert before & {path.name for path in files.parts()} == {
        name for name in before if name.startswith("second")
    }
    assert files.load().done
    files.pair.assert_equal()


def test_rows_that_are_only_in_the_export_are_never_lost_from_it(files: Files) -> None:
    files.pair.write(*rows(0, 100), *rows(0, 10, "second"))
    files.export()
    source, database = files.pair.source, files.pair.database
    source.delete(database)
    assert source.create(database, None).status == 200
    write(source, database, *rows(0, 50), *rows(0, 10, "second"))
    with pytest.raises(ExportError, match="50 rows of the table telemetry that the database lacks"):
        files.export()
    source.delete(database)
    assert source.create(database, None).status == 200
    write(source, database, *rows(0, 100))
    with pytest.raises(ExportError, match="10 rows of the table second that the database lacks"):
        files.export()
    assert files.manifest.rows == 110
    assert files.load().done


@pytest.mark.parametrize("how", ["left", "lost"])
def test_an_export_that_was_whole_stays_so_when_it_is_not_brought_up_to_date(
    files: Files, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(slices, "MAX_ROWS", 50)
    monkeypatch.setattr(job, "_STEP", 0.0)
    source, database = files.pair.source, files.pair.database
    files.pair.write(*rows(0, 300))
    files.export()
    before = files.manifest
    if how == "lost":
        source.delete(database)
        assert source.create(database, None).status == 200
        write(source, database, *rows(0, 200))
        with pytest.raises(ExportError, match="that the database lacks"):
            files.export()
    else:
        files.pair.write(*rows(300, 400))
        with contextlib.closing(files.steps()) as steps:
            for _ in steps:
                if files.manifest.progress != before.progress:
                    break
    assert files.manifest.progress != before.progress
    assert files.manifest.ended == before.ended
    assert files.load(dry_run=True).done
    if how == "left":
        # What came before the place where it was left is found, too.
        files.pair.write(f"telemetry,device=d0 v=1i {START - 1}")
        files.export()
        assert files.manifest.rows == 401
        assert files.load().done
        files.pair.assert_equal()
    else:
        assert files.load().done
        assert files.manifest.rows == 300


# Ends ----------------------------------------------------------------------------------------

EXPORT = """
import sys
from influxops.plugin import CopyRequest, RunContext
from influxops_influxdb3.copy import job, slices
from tests.influxdb3.copies import target
url, database, folder = sys.argv[1:]
slices.MAX_ROWS, job._STEP = 50, 0.0
order = CopyRequest(database, folder=folder, tenant="acme")
for told in target("eu1", url).influxops_export(order, RunContext()):
    print(told.stage, flush=True)
"""


def exporting(files: Files) -> subprocess.Popen[str]:
    pair = files.pair
    return subprocess.Popen(
        [sys.executable, "-c", EXPORT, pair.source.url, pair.database, str(files.folder)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.faults
def test_one_that_is_killed_goes_on_and_ends_the_same(files: Files, tmp_path: Path) -> None:
    files.pair.write(*rows(0, 1500))
    number, ended = 0, False
    while not ended:
        number += 1
        with exporting(files) as child:
            assert child.stdout is not None
            for _ in zip(range(4 * number), child.stdout, strict=False):
                pass
            child.send_signal(signal.SIGKILL)
        ended = bool(read_manifest(files.folder) and files.manifest.ended)
    assert number > 2
    named = {part.file for table in files.manifest.tables for part in table.parts}
    files.export()
    assert {path.name for path in files.folder.iterdir()} == {
        *(part.file for table in files.manifest.tables for part in table.parts),
        "manifest.json",
    }
    assert named
    other = Files(files.pair, tmp_path / "second")
    other.export()
    assert _digest(files) == _digest(other)
    assert files.load().done
    files.pair.assert_equal()


def _digest(files: Files) -> tuple[int, int]:
    parts = [part for table in files.manifest.tables for part in table.parts]
    total = sum(int(part.digest, 16) for part in parts) % (1 << 128)
    return sum(part.rows for part in parts), total


@pytest.mark.tracebacks
def test_a_full_disk_is_said_and_it_goes_on_with_room(files: Files) -> None:
    files.pair.write(*(f'big,d={n} s="{os.urandom(300).hex()}" {n}' for n in range(3000)))
    pair = files.pair
    code = EXPORT.replace("slices.MAX_ROWS, job._STEP = 50, 0.0", "pass").replace(
        "import sys", "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (60000,)*2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pair.source.url, pair.database, str(files.folder)],
        capture_output=True,
        text=True,
    )
    assert f"cannot be written: {os.strerror(errno.EFBIG)}" in done.stderr
    assert "Traceback" in done.stderr  # the script's own
    assert not [*files.folder.glob(".*.new")]
    files.export()
    assert files.load().done
    files.pair.assert_equal()


def test_two_at_once_do_not_write_to_one_folder(files: Files) -> None:
    files.pair.write(*rows(0, 10))
    steps = files.steps()
    next(steps)
    with pytest.raises(ExportError, match="another process exports"):
        files.export()
    steps.close()
    files.export()


def test_a_folder_of_another_tenant_is_refused(files: Files) -> None:
    files.pair.write(*rows(0, 10))
    files.export()
    ours = target("eu1", files.pair.source.url)
    order = CopyRequest(files.pair.database, folder=str(files.folder), tenant="beta")
    with pytest.raises(ExportError, match="of another tenant: acme"):
        [*ours.influxops_export(order, RunContext())]


# Broken files --------------------------------------------------------------------------------


def cut(files: Files) -> None:
    path = files.parts()[0]
    path.write_bytes(path.read_bytes()[:-10])


def change(files: Files) -> None:
    path = files.parts()[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose(files: Files) -> None:
    files.parts()[0].unlink()


def double(files: Files) -> None:
    path = files.parts()[0]
    shutil.copy(path, path.with_name(f"telemetry-99.lp{path.suffix}"))


def forge(files: Files) -> None:
    files.rewrite(lambda data: data.update(retention=60))


def fewer(files: Files) -> None:
    files.rewrite(lambda data: data["tables"][0].update(parts=[]))


def twice(files: Files) -> None:
    files.rewrite(lambda data: data["tables"][0]["parts"].append(data["tables"][0]["parts"][0]))


def no_json(files: Files) -> None:
    path = files.folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, r"telemetry-1.lp.zst has \d+ of \d+ bytes"),
        (change, "telemetry-1.lp.zst was changed"),
        (lose, "telemetry-1.lp.zst cannot be read: No such file"),
        (double, "telemetry-99.lp.zst is in no manifest"),
        (forge, "manifest.json was changed since it was written"),
        (fewer, "manifest.json was changed since it was written"),
        (twice, "manifest.json was changed since it was written"),
        (no_json, "manifest.json cannot be read"),
    ],
)
def test_files_that_are_not_as_they_were_are_refused_before_anything_is_written(
    files: Files, damage: Callable[[Files], None], said: str
) -> None:
    files.pair.write(*rows(0, 100))
    files.export()
    damage(files)
    with pytest.raises(ExportError, match=said):
        files.load(dry_run=True)
    with pytest.raises(ExportError, match=said):
        files.load()
    assert contents(files.pair.copy, files.pair.database) == {}


@pytest.mark.parametrize("name", ["../../x.lp.zst", "/etc/passwd", "", ".hidden", "a/b.lp.zst"])
def test_no_manifest_leads_out_of_its_folder(files: Files, name: str) -> None:
    files.pair.write(*rows(0, 100))
    files.export()
    manifest = files.manifest
    (table,) = manifest.tables
    bad = msgspec.structs.replace(table.parts[0], file=name)
    forged = msgspec.structs.replace(
        manifest, tables=(msgspec.structs.replace(table, parts=(bad,)),)
    )
    with pytest.raises(ExportError, match="in no export"):
        Manifest.decode(forged.encode(), "manifest.json")


def test_names_in_file_names_stay_in_the_folder_and_apart() -> None:
    names = ["../../etc", "..", ".", "", "a/b", "a%2Fb", "ä" * 200, "ä" * 201, "x" * 511, "A", "a"]
    found = [file_name(name) for name in names]
    assert len({*found}) == len(names)
    assert not [name for name in found if "/" in name or name.startswith(".") or len(name) > 130]


def test_a_release_that_wrote_another_version_is_named(files: Files) -> None:
    files.pair.write(*rows(0, 10))
    files.export()
    files.rewrite(lambda data: data.update(version=2))
    with pytest.raises(ExportError, match="has version 2, and this release reads 1"):
        files.load()


# Importing -----------------------------------------------------------------------------------


def test_an_import_that_is_repeated_writes_only_what_is_missing(files: Files) -> None:
    files.pair.write(*rows(0, 1000))
    files.export()
    files.pair.write_to_copy(*rows(0, 400))
    last = files.load(dry_run=True, ahead=True)
    assert (last.ahead, last.conflicts) == (0, 0)
    assert files.load().rows == 600
    assert files.load().rows == 0
    files.pair.assert_equal()


def test_rows_that_only_the_database_has_are_counted_and_stay(files: Files) -> None:
    files.pair.write(*rows(0, 100), f"telemetry,device=x v=1i {START}")
    files.export()
    files.pair.write_to_copy(
        f"telemetry,device=x v=2i,w=3 {START}", f"telemetry,device=y v=3i {START}", "own f=1 1"
    )
    last = files.load(dry_run=True, ahead=True)
    assert (last.ahead, last.conflicts) == (3, 1)
    last = files.load()
    assert (last.done, last.ahead, last.conflicts) == (True, 3, 1)
    found = contents(files.pair.copy, files.pair.database)
    assert len(found["telemetry"][1]) == 102
    assert '"device":"x","time":"2023-11-14T22:13:20","v":1,"w":3.0' in "".join(
        found["telemetry"][1]
    )


def test_rows_that_are_lost_while_others_come_are_written_again(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of rows is the same: only reading them tells."""
    monkeypatch.setattr("influxops_influxdb3.copy.line_writer._BODY", 1_000)
    files.pair.write(*rows(0, 300))
    files.export()
    copy, lost = files.pair.copy, list[Seen]()

    def lose(seen: Seen) -> Answer:
        if "no_sync=true" not in seen.path or lost:
            return None
        lost.append(seen)
        number = seen.body.count(b"\n") + 1
        own = (f"telemetry,device=own v={n}i {START + n}" for n in range(number))
        write(copy, files.pair.database, *own)
        return 204, "text/plain", b""

    with running_proxy(copy.url) as proxy:
        proxy.before = lose
        files.pair.copy = Api(proxy.url)
        assert files.load().done
    assert lost
    wanted, found = (
        {*contents(api, files.pair.database)["telemetry"][1]} for api in (files.pair.source, copy)
    )
    assert wanted <= found


def test_a_shorter_retention_period_would_lose_rows(files: Files) -> None:
    files.pair.write(*rows(0, 10))
    files.export()
    database = "telemetry_short"
    files.pair.copy.create(database, "1h")
    theirs = target("eu2", files.pair.copy.url)
    order = CopyRequest(database, folder=str(files.folder), tenant="acme")
    with pytest.raises(TargetError, match="shorter retention period"):
        [*theirs.influxops_import(order, RunContext())]


def test_a_table_that_cannot_be_read_is_named_and_the_export_is_not_whole(files: Files) -> None:
    files.pair.write(*rows(0, 10), *rows(0, 10, "bad"))

    def unreadable(seen: Seen) -> Answer:
        if b'FROM \\"bad\\"' in seen.body:
            return 500, "text/plain", b"External error: cannot make a record batch of it"
        return None

    with running_proxy(files.pair.source.url) as proxy:
        proxy.before = unreadable
        ours = target("eu1", proxy.url)
        order = CopyRequest(files.pair.database, folder=str(files.folder), tenant="acme")
        *_, last = ours.influxops_export(order, RunContext())
        ours.influxops_close()
    assert (last.done, [*last.unread]) == (False, ["bad"])
    assert (files.manifest.ended, [*files.manifest.unread]) == (None, ["bad"])
    assert files.manifest.rows == 10
    assert not files.load(dry_run=True).done
    files.export()  # it can be read again
    assert (files.manifest.rows, files.manifest.unread) == (20, {})


def test_rows_of_a_table_that_breaks_off_are_in_no_other_tables_file(files: Files) -> None:
    files.pair.write("bad,d=a v=1i 1", *rows(0, 50))
    line = '{"d":"a","time":"2023-11-14T22:13:20","v":1}\n'

    def break_off(seen: Seen) -> Answer:
        if b'FROM \\"bad\\"' in seen.body and b"COUNT" not in seen.body:
            text = line * 5_000 + line.replace('"a"', '"a\\\\"')
            return 200, "application/jsonl", text.encode()
        return None

    with running_proxy(files.pair.source.url) as proxy:
        proxy.before = break_off
        source, files.pair.source = files.pair.source, Api(proxy.url)
        *_, told = files.steps(without_tables=("bad",))
        files.pair.source = source
    assert list(told.unread) == ["bad"]
    assert files.manifest.rows == 50
    assert len(files.parts()) == 1
    found = {table.name: [part.rows for part in table.parts] for table in files.manifest.tables}
    assert found == {"bad": [], "telemetry": [50]}


def test_the_next_slice_is_asked_for_while_one_is_read_and_rows_are_counted_again_at_once(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MAX_ROWS", 100)
    files.pair.write(*rows(0, 350))
    next_one, asked, overlapped = threading.Event(), list[str](), list[bool]()
    first = list[str]()

    def see(seen: Seen) -> Answer:
        text = seen.body.decode()
        if 'FROM \\"telemetry\\"' in text:
            asked.append("count" if "COUNT" in text else "rows")
            if asked[-1] == "rows" and first in ([], [text]):  # or it is asked again
                first[:] = [text]
                overlapped.append(next_one.wait(20))
            elif asked[-1] == "rows":
                next_one.set()
        return None

    with running_proxy(files.pair.source.url) as proxy:
        proxy.before = see
        files.pair.source = Api(proxy.url)
        assert files.export().total == 350
    assert overlapped == [True]
    assert len(files.parts()) == 4
    fourth = [n for n, each in enumerate(asked) if each == "rows"][3]
    assert asked[fourth + 1 :] in (["count", "count", "rows"], ["count", "count", "count", "rows"])
