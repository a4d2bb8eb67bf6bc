"""The InfluxDB 3 target: each tenant's database on one server.

`client.py` speaks HTTP and can be used by itself; `target.py` implements the hooks with it.
"""

from __future__ import annotations

from influxops_influxdb3.plugin import InfluxDB3Target

__all__ = ["InfluxDB3Target"]
