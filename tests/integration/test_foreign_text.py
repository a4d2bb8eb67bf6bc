"""What others wrote is shown on one line and steers no terminal, wherever it comes out."""

from __future__ import annotations

import pytest

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
    ops.config('[naming]\nacknowledged = ["\\u001b]0;pwned\\u0007", "\\u202e"]\n')
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
