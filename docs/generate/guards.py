"""The guards, from the engine's table of them."""

from __future__ import annotations

from docs.generate.pages import code, head, table
from influxops.engine.operations import GUARDS


def page() -> str:
    """Return docs/reference/guards.md."""
    lines = head(
        "Guards",
        "What is refused until it is allowed by name: `--allow NAME` on the command line, `allow: "
        "[NAME]` in a task. A run in which a guard refused something does the rest, and ends with "
        "4, or with 1 where something else is wrong, too. Those of the ledger need one.",
    )
    rows = ((code(name), guard.what, guard.when) for name, guard in GUARDS.items())
    lines += table(("guard", "refuses", "allow it"), rows)
    return "\n".join(lines).rstrip() + "\n"
