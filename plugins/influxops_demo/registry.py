"""The demonstration's device registry: a table as a platform has one, with made-up devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg

#: Devices by tenant. The ids are made up; some are short, some are not, as in real registries.
DEVICES: Final[Mapping[str, int]] = {
    "acme": 1_240,
    "alpine-hydro": 310,
    "borealis-wind": 865,
    "brewline": 96,
    "coldchain-24": 1_012,
    "delta-irrigation": 540,
    "fjordtrack": 228,
    "greenhouse-nl": 417,
    "harbor-cranes": 73,
    "metro-lifts": 694,
    "smartmeter-south": 2_180,
    "vineyard-sensors": 151,
}

_TABLE = """
CREATE TABLE device_registry (
    device_id    text PRIMARY KEY,
    tenant_id    text NOT NULL,
    model        text NOT NULL,
    firmware     text NOT NULL,
    serial       bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
)
"""

_DEVICES = """
INSERT INTO device_registry (device_id, tenant_id, model, firmware, created_at, last_seen_at)
SELECT %(tenant)s || '-' || lpad(number::text, 5, '0'), %(tenant)s,
       (ARRAY['TH-200', 'PM-11', 'GW-4G', 'FLOW-3'])[1 + number %% 4],
       '2.' || number %% 7 || '.' || number %% 3,
       now() - number * interval '7 hours',
       CASE WHEN number %% 19 > 0 THEN now() - number %% 60 * interval '1 minute' END
FROM generate_series(1, %(devices)s) AS number
"""


def fill(conninfo: str) -> None:
    """Make the table `device_registry` and all its devices.

    Args:
        conninfo: Where; its user will own the table.
    """
    with psycopg.connect(conninfo) as connection:
        connection.execute(_TABLE)
        connection.cursor().executemany(
            _DEVICES,
            [{"tenant": tenant, "devices": devices} for tenant, devices in DEVICES.items()],
        )
        connection.execute("CREATE INDEX ON device_registry (tenant_id)")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ANALYZE device_registry")
