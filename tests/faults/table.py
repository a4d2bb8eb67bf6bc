"""The table: fault, times injected, what happened, lost, doubled, wrong."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/faults.md"
_BLOCK = re.compile(r"(?<=<!-- the last long run -->\n\n```text\n).*?(?=^```$)", re.S | re.M)
_HEAD = (
    f"{'':44}{'':>9}{'calls of doors in between':>28}\n"
    f"{'fault':44}{'injected':>9}{'all well':>10}{'not':>8}{'killed':>10}"
    f"{'lost':>6}{'doubled':>9}{'wrong':>7}"
)


@dataclass
class Row:
    """What is known of one kind of fault."""

    group: str
    fault: str
    injected: int = 0
    calls: int = 0  # of doors that were under way at the time
    good: int = 0  # those that said that all is well
    refused: int = 0  # those that said what is not
    killed: int = 0  # by us
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    note: str = ""


@dataclass
class Result:
    """How all rounds went."""

    seed: int
    rows: dict[str, Row] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    tenants: int = 0
    moves: int = 0
    rows_written: int = 0
    calls: Counter[str] = field(default_factory=Counter)  # by door
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    astray: int = 0  # writes that were under way to another server behind its address
    broken: list[str] = field(default_factory=list)  # of the harness itself

    @property
    def injected(self) -> int:
        return sum(row.injected for row in self.rows.values())

    @property
    def is_good(self) -> bool:
        found = (self.lost, self.doubled, self.wrong, self.tracebacks, self.secrets)
        return not any(found)

    def document(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows": [asdict(row) for row in self.rows.values()],
            "injected": self.injected,
        }


def table(result: Result, most: int = 40) -> str:
    """Return all of it as text, with so many lines at most of what is not right of each sort."""
    lines = [*summary(result), "", _HEAD]
    rows = [*result.rows.values()]
    for group in dict.fromkeys(row.group for row in rows):
        lines += [f"{group}:", *(_line(row) for row in rows if row.group == group)]
    for name in ("lost", "doubled", "wrong", "tracebacks", "secrets", "broken"):
        lines += [f"{name}: {each}" for each in getattr(result, name)[:most]]
    return "\n".join(lines)


def summary(result: Result) -> list[str]:
    """Return a few lines about all rounds."""
    calls = ", ".join(f"{door} {number:,}" for door, number in sorted(result.calls.items()))
    return [
        f"seed {result.seed}: {result.injected:,} faults in {result.rounds} rounds, "
        f"{result.seconds / 60:.1f} minutes",
        f"{result.tenants:,} tenants, {result.moves} moves finished, "
        f"{result.rows_written:,} rows acknowledged",
        f"calls: {calls}",
        f"{result.astray} writes under way reached another server behind their address, "
        "and none was called good",
        f"lost {len(result.lost)}, doubled {len(result.doubled)}, wrong {len(result.wrong)}, "
        f"tracebacks {len(result.tracebacks)}, secrets {len(result.secrets)}",
    ]


def write_page(result: Result) -> None:
    """Put the table into the page about faults."""
    text = PAGE.read_text(encoding="utf-8")
    written, number = _BLOCK.subn(lambda _: f"{table(result, most=10)}\n", text)
    assert number == 1, "the page has one place for the table"
    PAGE.write_text(written, encoding="utf-8")


def _line(row: Row) -> str:
    if row.note and not row.injected:
        return f"  {row.fault:42}{row.injected:9}  not here: {row.note}"
    return (
        f"  {row.fault:42}{row.injected:9}{row.good:10}{row.refused:8}{row.killed:10}"
        f"{row.lost:6}{row.doubled:9}{row.wrong:7}"
    )
