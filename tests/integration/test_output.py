"""Standard output that cannot be written, or that nobody reads; JSON for whom asks for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.command import PROGRAM, STUCK, Cli, Result
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
