"""The kinds of findings, from their enumeration."""

from __future__ import annotations

import inspect
import re

from docs.generate.pages import code, comments, head, table
from influxops.domain.finding import FindingKind, Severity


def page() -> str:
    """Return docs/reference/findings.md."""
    lines = head(
        "Findings",
        "What a run, `status` or the console noticed, as `kind` of each finding in "
        "[the report](../report.md). A program may rely on these names; new ones may come.",
        "Its `severity` is `error`, which makes the exit code 1, `warning` or `info`, which "
        "change nothing. Its `remedy` says what to do.",
    )
    assert {*Severity} == {Severity.ERROR, Severity.WARNING, Severity.INFO}
    said = comments(FindingKind)
    for about, kinds in _groups().items():
        rows = ((code(FindingKind[name].value), said[name]) for name in kinds)
        lines += [f"## {about[0].upper()}{about[1:]}", "", *table(("kind", "says"), rows)]
    return "\n".join(lines).rstrip() + "\n"


def _groups() -> dict[str, list[str]]:
    """Return the kinds by the comment that is above them."""
    found: dict[str, list[str]] = {}
    for line in inspect.getsource(FindingKind).splitlines():
        if hit := re.match(r"    # (about .*)", line):
            found[hit[1]] = []
        elif hit := re.match(r"    ([A-Z_]+) = ", line):
            found[[*found][-1]].append(hit[1])
    return found
