"""docs/writers.md, which a stand-in gave, and what a real server gave to the same clients."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: What the page calls each situation, in the order of the recording.
SITUATIONS = (
    "database missing, slots free",
    "server full",
    "one line of three cannot be parsed",
    "one line of three has another type",
    "database dropped after a write",
    "11 MiB in one write",
    "server away for long",
    "wrong token",
)
#: The recording has both ways of running Telegraf in one column.
TELEGRAF = 3
#: What can be compared: states, exit codes, numbers of rows, and names of errors.
FACT = re.compile(r"\d+|\w+Error|ApiException|ECONN\w+|`invalid`|request too large|will be dropped")


def table(text: str) -> list[list[str]]:
    """Read the one table of a text, without its head."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("number", range(len(SITUATIONS)), ids=SITUATIONS)
def test_a_real_server_gave_the_clients_the_same(number: int) -> None:
    page = (HERE.parents[1] / "docs" / "writers.md").read_text()
    direct = page.split("## Directly to a server\n")[1].split("\n## ")[0]
    (cells,) = (row for row in table(direct) if row[0] == SITUATIONS[number])
    cells[TELEGRAF : TELEGRAF + 2] = ["; ".join(cells[TELEGRAF : TELEGRAF + 2])]
    recorded = table((HERE / "recordings" / "writers.md").read_text())[number]
    assert len(recorded) == len(cells)
    for real, seen in zip(recorded[1:], cells[1:], strict=True):
        assert set(FACT.findall(real)) <= set(FACT.findall(seen)), (real, seen)
