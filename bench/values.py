"""What is measured, as values: figures, what was left out, what failed, and the whole run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: The contender that the others are put beside.
BARE = "bare script"


@dataclass(frozen=True)
class Figure:
    """What one contender took, in all rounds."""

    #: The table that it is in.
    table: str
    contender: str
    #: The column, as it is shown.
    column: str
    values: list[float]
    #: s, MB, or what is counted.
    unit: str = "s"
    #: The contender of the same column that it is put beside.
    beside: str = ""
    #: MB, the peak of its process; not of its children.
    memory: float | None = None
    #: Processor seconds of its process.
    cpu: float | None = None

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class LeftOut:
    """What was not measured, and why."""

    table: str
    contender: str
    column: str
    why: str


@dataclass(frozen=True)
class Failure:
    """A case, or a contender of it, that failed."""

    case: str
    contender: str
    why: str


def reason(error: BaseException) -> str:
    """Say in one line what an error says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


@dataclass
class Run:
    """All that one run found."""

    about: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> Figure | LeftOut | Failure:
        """Add what a case told as JSON."""
        kinds: dict[str, tuple[Any, list[Any]]] = {
            "figure": (Figure, self.figures),
            "left_out": (LeftOut, self.left_out),
            "failure": (Failure, self.failures),
        }
        ((kind, values),) = told.items()
        make, held = kinds[kind]
        found: Figure | LeftOut | Failure = make(**values)
        held.append(found)
        return found

    def find(self, table: str, contender: str, column: str) -> Figure | None:
        """Return a figure."""
        keys = (table, contender, column)
        found = (f for f in self.figures if (f.table, f.contender, f.column) == keys)
        return next(found, None)

    def ratio(self, figure: Figure) -> float | None:
        """Return how many times what it is beside it takes."""
        beside = self.find(figure.table, figure.beside, figure.column)
        return figure.value / beside.value if beside and beside.value else None

    def tables(self) -> list[str]:
        """Return the titles, in the order in which they came."""
        told: list[Figure | LeftOut] = [*self.figures, *self.left_out]
        return distinct(each.table for each in told)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Run:
    """Read what `Run.write` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    run = Run(data["about"])
    for kind, key in (("figure", "figures"), ("left_out", "left_out"), ("failure", "failures")):
        for values in data[key]:
            run.add({kind: values})
    return run


def column(number: int) -> str:
    """Write a size as a column's head."""
    return f"{number:,}"


def distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
