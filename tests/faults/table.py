"""The table: fault, times injected, what happened, lost, doubled, wrong."""

from __future__ import annotations

from tests.faults.rounds import Result, Row


def table(result: Result) -> str:
    """Return all of it as text."""
    head = f"{'fault':55}{'injected':>9}  {'calls meanwhile: good, not, killed':36}"
    lines = [head + f"{'lost':>5}{'doubled':>8}{'wrong':>6}"]
    for row in sorted(result.rows.values(), key=lambda each: each.group):
        lines.append(_line(row))
    lines += ["", *summary(result)]
    for name in ("lost", "doubled", "wrong", "tracebacks", "secrets"):
        lines += [f"{name}: {each}" for each in getattr(result, name)[:40]]
    return "\n".join(lines)


def _line(row: Row) -> str:
    happened = row.note or f"{row.calls:5}: {row.good:5} {row.refused:5} {row.killed:5}"
    name = f"{row.group}: {row.fault}"
    return f"{name:55}{row.injected:9}  {happened:36}{row.lost:5}{row.doubled:8}{row.wrong:6}"


def summary(result: Result) -> list[str]:
    """Return a few lines about all rounds."""
    calls = ", ".join(f"{door} {number:,}" for door, number in sorted(result.calls.items()))
    return [
        f"seed {result.seed}: {result.injected:,} faults in {result.rounds} rounds, "
        f"{result.seconds / 60:.1f} minutes",
        f"{result.tenants:,} tenants; {result.moves} moves finished, {result.rows_written:,} rows "
        f"acknowledged; calls: {calls}",
        f"lost {len(result.lost)}, doubled {len(result.doubled)}, wrong {len(result.wrong)}, "
        f"tracebacks {len(result.tracebacks)}, secrets {len(result.secrets)}",
    ]
