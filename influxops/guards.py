"""The guards: what is refused until somebody allows it by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from influxops.model import Change, Refusal

#: Each guard, with what it keeps from happening.
GUARDS: Final[Mapping[str, str]] = {
    "unreachable": "create a tenant's database while a target that may hold it cannot be read",
    "shorter-retention": "shorten a retention period, which hides older data at once",
    "empty-source": "take a registry without tenants for granted while tenant databases exist",
    "drop": "drop a tenant's database",
}

_VERBS = {"drop": "dropped", "shorter-retention": "given a shorter retention period"}
#: How many databases a message names; a plan may refuse thousands. What would be dropped is
#: named in full: somebody has to decide about each.
_NAMED = {"drop": None, "shorter-retention": 3}


def changes(guard: str, refused: Sequence[Change]) -> Refusal:
    """Refuse changes.

    Args:
        guard: `drop` or `shorter-retention`.
        refused: The changes.
    """
    most = _NAMED[guard]
    named = [
        f"{change.database} on {change.target}" + (f" ({change.reason})" if change.reason else "")
        for change in refused[:most]
    ]
    if len(named) < len(refused):
        named.append(f"and {len(refused) - len(named)} more")
    what = ", ".join(named)
    tenants = tuple(dict.fromkeys(change.tenant for change in refused))
    return Refusal(guard, f"would be {_VERBS[guard]}: {what}", tenants)


def unreachable(tenants: Sequence[str], targets: Sequence[str]) -> Refusal:
    """Refuse to create what may exist on a target that cannot be read.

    Args:
        tenants: The tenants that have no database on any other target.
        targets: The targets that cannot be read.
    """
    who = "1 tenant" if len(tenants) == 1 else f"{len(tenants)} tenants"
    return Refusal(
        "unreachable",
        f"{who} may have a database on {' or '.join(targets)}, which cannot be read: left alone",
        tuple(tenants),
    )


def empty_source(databases: Sequence[str]) -> Refusal:
    """Refuse to call a run without tenants good.

    Args:
        databases: The tenant databases that the targets hold; at least one.
    """
    count = "1 tenant database" if len(databases) == 1 else f"{len(databases)} tenant databases"
    shown = databases[0] if len(databases) == 1 else f"{databases[0]}, …"
    return Refusal(
        "empty-source",
        f"the sources hold no tenant, but the targets hold {count} ({shown}): "
        "is this the right registry?",
    )
