"""What was to be reached, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.values import Run


@dataclass(frozen=True)
class Reached:
    """What a run says of a target; None where it has not measured it."""

    met: bool | None
    measured: str = ""
    why: str = ""


@dataclass(frozen=True)
class Target:
    """What is to be reached."""

    work: str
    #: What it was when it was set.
    today: str
    reach: str
    check: Callable[[Run], Reached]


TARGETS: tuple[Target, ...] = ()
