"""The JSON document: as documented, and whole."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from influxops.plugin import (
    UNKNOWN,
    ChangeResult,
    DeadlineExceeded,
    Report,
    ReporterError,
    RunContext,
    report_document,
)
from influxops_reports.json import JsonReporter
from tests.reports.samples import EU1, database, full_report, outcome, report, tenant

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA: dict[str, Any] = json.loads((DOCS / "report.schema.json").read_text("utf-8"))


def closed(schema: Any) -> Any:
    """The schema, but with nothing allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        result.setdefault("additionalProperties", False)
    return result


def write(told: Report, **settings: Any) -> None:
    JsonReporter("reporter:json", JsonReporter.Settings(**settings)).influxops_report(
        told, RunContext()
    )


@pytest.mark.parametrize(
    "told",
    [
        report(),
        full_report(),
        report(
            [
                tenant(
                    "x",
                    "pending",
                    "create",
                    before=database(retention=UNKNOWN, complete=UNKNOWN),
                )
            ],
            dry_run=True,
        ),
        report(outcomes=[outcome("x", status=s) for s in list(ChangeResult) if s != "done"]),
    ],
    ids=["empty", "full", "dry-run", "outcomes"],
)
def test_every_document_is_as_the_schema_says(
    told: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    write(told)
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(closed(SCHEMA)).validate(document)


def test_the_document_says_where_each_tenant_is(capsys: pytest.CaptureFixture[str]) -> None:
    write(full_report(), indent=0)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    acme = next(t for t in document["tenants"] if t["tenant"] == "acme")
    assert (acme["target"], acme["url"], acme["database"], acme["status"]) == (
        "eu1",
        "http://eu1.example:8181",
        "telemetry_acme",
        "changed",
    )
    assert document["targets"][0]["cluster_uuid"] == "6f1c-a"
    assert document["targets"][0]["free_slots"] == 2
    assert document["sources"][0]["location"] == "iot@db.example:5432/iotcloud"
    assert document["run"]["config"] == "/etc/influxops.toml"


def test_a_finding_is_a_sentence_and_its_remedy_data(capsys: pytest.CaptureFixture[str]) -> None:
    write(full_report())
    document = json.loads(capsys.readouterr().out)
    by_tenant = {finding["tenant"]: finding for finding in document["findings"]}
    assert by_tenant["a b"]["message"] == "tenant 'a b': its database name holds a space"
    refused = by_tenant["globex"]
    assert refused["hint"] == "only if that is what you want: --allow shorter-retention"
    assert refused["remedy"]["kind"] == "allow"
    assert refused["remedy"]["value"] == "shorter-retention"
    tenants = {each["tenant"]: each for each in document["tenants"]}
    assert tenants["a b"]["message"] == "its database name holds a space"
    assert tenants["globex"]["actions"] == ["set-retention"]


def test_a_server_that_died_in_the_middle_is_not_reachable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    dead = replace(EU1, reachable=False, error="connection reset")
    write(report([tenant("x", "unknown", message="no answer")], targets=(dead,), exit_code=1))
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert (target["reachable"], target["free_slots"]) == (False, None)
    assert target["error"] == "connection reset"


def test_a_named_pipe_that_nobody_reads_ends_with_the_budget(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reporter = JsonReporter("json", JsonReporter.Settings(path=str(pipe)))
    with pytest.raises(DeadlineExceeded):
        reporter.influxops_report(report(), RunContext(timeout=0.2))
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("an old report, which somebody is reading")
    with path.open() as reader:
        write(full_report(), path=str(path))
        assert reader.read() == "an old report, which somebody is reading"
    assert json.loads(path.read_text())["version"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "report.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    write(full_report(), path=str(link))
    assert link.is_symlink()
    assert json.loads((tmp_path / "there" / "real.json").read_text())["version"] == 2


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(report(), path=str(pipe))
        assert json.loads(os.read(reading, 65536))["version"] == 2
    finally:
        os.close(reading)
    assert pipe.is_fifo()


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ReporterError) as caught:
        write(report(), path=str(tmp_path / "no" / "report.json"))
    assert f"there is no folder {tmp_path / 'no'}" in caught.value.message
    assert "mkdir -p" in caught.value.hint


def test_a_disk_that_is_full_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReporterError, match="No space left on device"):
        write(report(), path=str(path))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_any_id_survives_the_way_through_json(capsys: pytest.CaptureFixture[str]) -> None:
    ids = ["ü", "\x1b[31m", "x\ny", "\udc80", "\u202e"]
    write(report([tenant(id_, "blocked", database="") for id_ in ids]))
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert [t["tenant"] for t in json.loads(out)["tenants"]] == ids


@pytest.mark.parametrize("indent", [0, 2, 5])
def test_what_is_written_piece_by_piece_is_the_whole_document(
    capsys: pytest.CaptureFixture[str], indent: int
) -> None:
    many = [tenant(f"t{number}", "ok") for number in range(1_200)]
    for told in (report(), full_report(), report([*many, tenant("\x7f", "blocked")])):
        write(told, indent=indent)
        whole = json.dumps(report_document(told), indent=indent or None)
        assert capsys.readouterr().out == f"{whole}\n"


def test_doctor_hears_whether_the_file_can_be_written(tmp_path: Path) -> None:
    def check(path: Path) -> bool | None:
        reporter = JsonReporter("reporter:json", JsonReporter.Settings(path=str(path)))
        (result,) = reporter.influxops_check(RunContext())
        return result.ok

    assert check(tmp_path / "report.json")
    assert check(tmp_path / "no" / "report.json") is False
