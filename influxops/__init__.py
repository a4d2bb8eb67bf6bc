"""influxops gives every tenant its own InfluxDB 3 database, and keeps it so.

Plugins import from `influxops.plugin`; a face (the command line, the Ansible module) uses
`influxops.config`, `influxops.engine` and `influxops.report`.
"""

from __future__ import annotations

from influxops._version import __version__

__all__ = ["__version__"]
