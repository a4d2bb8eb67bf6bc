"""influxops gives every tenant its own InfluxDB 3 database, and keeps it so.

An application uses `Provisioner`, which is imported when it is first named. Plugins import from
`influxops.plugin`; a face (the command line, the Ansible module) uses `influxops.config`,
`influxops.engine` and `influxops.report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influxops._version import __version__

if TYPE_CHECKING:
    from influxops.errors import TransactionLost as TransactionLost
    from influxops.provisioner import EnsureResult as EnsureResult
    from influxops.provisioner import EnsureStatus as EnsureStatus
    from influxops.provisioner import InvalidRequest as InvalidRequest
    from influxops.provisioner import Provisioner as Provisioner

__all__ = [
    "EnsureResult",
    "EnsureStatus",
    "InvalidRequest",
    "Provisioner",
    "TransactionLost",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in ("EnsureResult", "EnsureStatus", "InvalidRequest", "Provisioner"):
        from influxops import provisioner

        return getattr(provisioner, name)
    if name == "TransactionLost":
        from influxops.errors import TransactionLost

        return TransactionLost
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
