"""What others wrote is shown on one line and steers no terminal, wherever it comes out."""

from __future__ import annotations

import pytest

from influxops.domain.text import one_line, truncate
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

TITLE = "new\x1b]0;pwned\x07co"


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", TITLE),
        ("where", TITLE),
        ("where", "new\x1b]0;pwned\x07cow"),
        ("plan",),
        ("plan", "-vv"),
        ("ensure", "--tenant", "new]0;pwnedco"),
        ("doctor",),
        ("status", "--format", "json"),
        ("where", TITLE, "--format", "json"),
        ("plan", "--format", "json"),
        ("where", "one", TITLE),
    ],
    ids=" ".join,
)
def test_no_id_steers_the_terminal(ops: Cli, db: TestDatabase, command: tuple[str, ...]) -> None:
    db.registry("acme", TITLE, "\u202eevil\u2028")
    done = ops(*command)
    assert done.code in (0, 1, 2)
    for line in done.all.split("\n"):
        assert line.isprintable(), line


@pytest.mark.parametrize("output", ["text", "json"])
def test_no_configuration_steers_the_terminal(ops: Cli, influx: Influx, output: str) -> None:
    ops.config('[tenants]\nignore = ["\\u001b]0;pwned\\u0007", "\\u202e"]\n')
    done = ops("config", "--format", output)
    assert done.code == 0
    assert "pwned" in done.out
    assert done.all.isascii() or output == "text"
    assert all(line.isprintable() for line in done.all.split("\n"))


def test_a_mistake_in_the_configuration_steers_no_terminal(ops: Cli, db: TestDatabase) -> None:
    ops.config('[targets.eu1]\nkind = "influxdb3"\nurl = "http://\\u001b]0;pwned\\u0007/"\n')
    done = ops("ensure")
    assert done.code == 2
    assert all(line.isprintable() for line in done.all.split("\n"))


@pytest.mark.parametrize(
    "text", ["\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\n", "\t"]
)
def test_what_does_not_print_is_written_out(text: str) -> None:
    shown = one_line(f"a{text}b")
    assert shown == f"a{ascii(text)[1:-1]}b"
    assert one_line(shown) == shown
    assert one_line("  müller 東京 ") == "  müller 東京 "


def test_a_name_is_cut_only_where_that_makes_it_shorter() -> None:
    for length in range(70, 100):
        assert len(truncate("x" * length)) <= min(length, 80)
    assert truncate("x" * 80) == "x" * 80
    assert truncate("x" * 600) == "x" * 60 + "… (600 characters)"
