"""Standard output that cannot be written, or that nobody reads; JSON for whom asks for it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator

from influxops_postgres.source.run_lock import lock_key
from influxops_postgres.source.settings import PostgresSettings
from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import PROGRAM, STUCK, Cli, Result, ended
from tests.integration.servers import Influx
from tests.pg import TestDatabase

FULL = "/dev/full"


def into(cli: Cli, output: int, *arguments: str) -> Result:
    """Run a command whose standard output is this file descriptor."""
    done = subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=cli.folder,
        env=cli.environment(None),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=STUCK,
        check=False,
    )
    return Result(done.returncode, "", done.stderr)


@pytest.fixture
def full() -> Iterator[int]:
    handle = os.open(FULL, os.O_WRONLY)
    yield handle
    os.close(handle)


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_what_was_closed_from_the_beginning_is_written_into_nothing(
    ops: Cli, db: TestDatabase, influx: Influx, closed: str
) -> None:
    db.registry("acme")
    ops.config('[reporters.log]\nkind = "journal"\npath = "changes.jsonl"\n')
    done = subprocess.run(
        ["sh", "-c", f'exec "{PROGRAM}" ensure {closed}'],
        cwd=ops.folder,
        env=ops.environment(None),
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert influx.databases() == ["telemetry_acme"]
    assert ("OK telemetry_acme" in done.stdout) is ("1>" not in closed)
    assert ("config " in done.stderr) is ("2>" not in closed)
    assert "rror" not in done.stderr
    # Nothing that was meant for a person went where a file or a connection got its number.
    for line in (ops.folder / "changes.jsonl").read_text("utf-8").splitlines():
        json.loads(line)


def test_a_current_folder_that_was_deleted_is_not_needed(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    path = ops.config("# all defaults\n")
    gone = ops.folder / "gone"
    for arguments in (
        ("ensure",),
        ("ensure", "-c", str(path)),
        ("status", "-c", "../influxops.toml"),
        ("where", "acme"),
        ("doctor",),
        ("config",),
        ("plugins",),
    ):
        done = _in_deleted(ops, gone, *arguments)
        assert done.code == 0, (arguments, done.err)
    assert influx.databases() == ["telemetry_acme"]
    done = _in_deleted(ops, gone, "init")
    assert done.code == 2
    assert "cannot be written" in done.err and "fault" not in done.err


def _in_deleted(cli: Cli, folder: Path, *arguments: str) -> Result:
    """Run a command in a folder that is deleted before it starts."""
    folder.mkdir()
    words = shlex.join([str(PROGRAM), *arguments])
    done = subprocess.run(
        ["sh", "-c", f'rmdir "{folder}" && exec {words}'],
        cwd=folder,
        env=cli.environment(None),
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
@pytest.mark.parametrize("command", ["status", "plan", "doctor", "ensure"])
def test_a_terminal_that_wants_no_colours_gets_none(
    ops: Cli, db: TestDatabase, command: str, env: dict[str, str]
) -> None:
    db.registry("acme", "a b")
    coloured = ops.at_terminal(command)
    assert _COLOUR.search(coloured.out), coloured.out
    plain = ops.at_terminal(command, env=env)
    assert not _COLOUR.search(plain.out), plain.out
    assert "TERM" not in env or "\x1b" not in plain.out


#: A sequence that sets colours or weights, or resets them.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.stand_in
def test_a_log_holds_no_escape_sequence(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme", "a b")
    proxy, reached = proxied(stand_in()), threading.Event()
    proxy.before = lambda seen: reached.set() if seen.writes else None
    with cli.running("ensure", "-v", env={"INFLUXDB_URL": proxy.url}) as process:
        assert reached.wait(30)
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    assert "stopping gracefully; press Ctrl-C again to abort" in done.err or done.code == 1
    assert "\x1b" not in done.all


def test_at_a_narrow_terminal_a_status_keeps_the_amounts_and_the_names_of_its_columns(
    ops: Cli, db: TestDatabase
) -> None:
    db.registry("acme")
    assert ops("ensure").code == 0
    for columns in (60, 80, 130):
        shown = ops.at_terminal("status", columns=columns, env={"NO_COLOR": "1"})
        (head,) = (line for line in shown.lines if line.strip().startswith("tenant "))
        whole = (
            "tenant",
            "database",
            "target",
            "state",
            "rows",
            "retention",
            "last_write",
            "tables",
        )
        # A narrower one leaves out columns from the end, and calls none of them otherwise.
        assert tuple(head.split()) == whole[: len(head.split())], columns
        assert "rows" in head, columns
        assert all(word in shown.out for word in ("acme", "telemetry_acme", "default"))
        assert max(len(line) for line in shown.lines if "\x1b" not in line) <= columns


def test_at_a_narrow_terminal_what_names_a_line_stays_whole(ops: Cli) -> None:
    shown = ops.at_terminal("config", columns=80, env={"NO_COLOR": "1"})
    named = {line.split()[0] for line in shown.lines if line.strip()}
    assert {"sources.registry.statement_timeout", "targets.default.validate_certs"} <= named
    assert max(map(len, shown.lines)) <= 80


COMMANDS = [
    ("ensure",),
    ("ensure", "--format", "json"),
    ("plan", "--detailed-exitcode"),
    ("status",),
    ("status", "--format", "json"),
    ("where", "acme"),
    ("doctor",),
    ("config",),
    ("plugins",),
    ("--version",),
    ("--help",),
    ("completion", "bash"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_standard_output_that_cannot_be_written_is_an_error(
    ops: Cli, db: TestDatabase, full: int, arguments: tuple[str, ...]
) -> None:
    db.registry("acme")
    assert ops("ensure").code == 0
    done = into(ops, full, *arguments)
    assert done.code == 1
    assert "error: standard output cannot be written: No space left on device" in done.err
    assert "fault in influxops" not in done.err
    assert "Exception ignored" not in done.err


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_goes_away_changes_nothing(
    ops: Cli, db: TestDatabase, unread: int, arguments: tuple[str, ...]
) -> None:
    db.registry("acme")
    assert ops("ensure").code == 0
    done = into(ops, unread, *arguments)
    assert done.code == 0
    assert "error" not in done.err
    assert "Exception ignored" not in done.err


def test_a_command_that_nobody_reads_still_ends_with_what_it_found(
    ops: Cli, db: TestDatabase, unread: int
) -> None:
    db.registry("acme")
    assert into(ops, unread, "status").code == 1
    assert into(ops, unread, "plan", "--detailed-exitcode").code == 3


def error_document(result: Result) -> dict[str, Any]:
    """The document that there is instead of a report, which must be as the schema says."""
    schema = json.loads(
        (Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8")
    )
    Draft202012Validator({"$ref": "#/$defs/error_document", "$defs": schema["$defs"]}).validate(
        result.json
    )
    error: dict[str, Any] = result.json["error"]
    assert error["exit_code"] == result.code
    assert error["message"] in result.err
    return error


@pytest.mark.parametrize("command", ["ensure", "plan", "status"])
def test_json_says_why_there_is_no_report(ops: Cli, db: TestDatabase, command: str) -> None:
    db.registry("acme")
    who = ("acne",) if command == "status" else ("--tenant", "acne")
    mistaken = error_document(ops(command, *who, "--format", "json"))
    assert (mistaken["kind"], mistaken["exit_code"]) == ("configuration", 2)
    ops.config("[run]\ntimeuot = 1\n")
    assert error_document(ops(command, "--format", "json"))["kind"] == "configuration"


@pytest.mark.stand_in
def test_json_says_that_another_run_holds_the_lock(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    text = targets_toml({"one": stand_in(), "two": stand_in()})
    cli.config(text.replace('"postgres"\n', '"postgres"\nlock_timeout = 0.2\n'))
    with psycopg.connect(db.conninfo) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [lock_key(PostgresSettings().lock)])
        busy = error_document(cli("ensure", "--format", "json"))
    assert (busy["kind"], busy["exit_code"]) == ("lock-busy", 5)
    assert busy["hint"]


def records(text: str) -> list[dict[str, Any]]:
    """Standard error, which must be one JSON object a line."""
    found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    for record in found:
        assert {"time", "level", "logger", "message"} <= record.keys()
        assert record["time"].endswith("Z")
        assert datetime.fromisoformat(record["time"]).tzinfo is not None
    return found


def test_standard_error_holds_records_only(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme", "a b")
    done = ops("--log-format", "json", "ensure")
    assert done.code == 1
    told = records(done.err)
    assert {record["level"] for record in told} == {"INFO"}
    assert any("device_registry" in r["message"] or "target" in r["message"] for r in told)
    assert len({record["run"] for record in told}) == 1
    assert "config" in told[0]["message"]
    shown = records(ops("status", "--log-format", "json").err)
    assert [r for r in shown if r["level"] == "ERROR" and "a b" in r["message"]]
    assert records(ops("where", "acne", "--log-format", "json").err)[0]["level"] == "ERROR"
    assert records(ops("--log-format", "json", "ensure", "--no-such").err)[0]["level"] == "ERROR"
    assert records(ops("--log-format", "json", "config").err)
    ops.config("[run]\ntimeuot = 1\n")
    (error, *_) = records(ops("ensure", "--log-format", "json").err)
    assert error["level"] == "ERROR" and "timeuot" in error["message"]
