"""What an engine can run, and the guards that a run may be allowed to pass.

Each is imported when it is first named: a command needs one of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influxops.reconcile.files.export import Export
    from influxops.reconcile.files.import_ import Import, find_exports
    from influxops.reconcile.guards import GUARDS
    from influxops.reconcile.move.execute import Drain, Move, Rebalance
    from influxops.reconcile.operation import Operation
    from influxops.reconcile.plan.adopt import Adopt
    from influxops.reconcile.plan.drop_due import DropCopies, DropDue
    from influxops.reconcile.plan.ensure import Drop, Ensure
    from influxops.reconcile.plan.forget import Forget
    from influxops.reconcile.plan.retire import Retire, Unretire

__all__ = [
    "GUARDS",
    "Adopt",
    "Drain",
    "Drop",
    "DropCopies",
    "DropDue",
    "Ensure",
    "Export",
    "Forget",
    "Import",
    "Move",
    "Operation",
    "Rebalance",
    "Retire",
    "Unretire",
    "find_exports",
]

_MODULES = {
    "files.export": ("Export",),
    "files.import_": ("Import", "find_exports"),
    "guards": ("GUARDS",),
    "move.execute": ("Drain", "Move", "Rebalance"),
    "operation": ("Operation",),
    "plan.adopt": ("Adopt",),
    "plan.drop_due": ("DropCopies", "DropDue"),
    "plan.ensure": ("Drop", "Ensure"),
    "plan.forget": ("Forget",),
    "plan.retire": ("Retire", "Unretire"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"influxops.reconcile.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
