"""The InfluxDB 3 target: each tenant's database on one server.

`http/client.py` speaks HTTP and can be used by itself; `plugin.py` implements the hooks with it.
"""

from __future__ import annotations

from influxops_influxdb3.plugin import InfluxDB3Target

__all__ = ["InfluxDB3Target"]
